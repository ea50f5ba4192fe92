"""The arms at their table in MuJoCo: the part of a scene that tasks share.

Below the bridge this simulates the robot and its surroundings; see `hiwm_core.task_plugin.Scene`.
"""

import logging
from abc import ABC, abstractmethod

import mujoco
import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.mujoco_scene import MujocoScene
from hiwm_core.task_plugin import Values
from hiwm_yam_pair.geometry import FINGER_OPEN_M, SIDES, arm_joints, gripper
from hiwm_yam_pair.kinematics import home_joints
from hiwm_yam_pair.mjcf import Options, scene_xml

Array = NDArray[np.float64]

# MuJoCo counts its warnings; its own handler also writes a file into the working directory.
mujoco.set_mju_user_warning(logging.getLogger(__name__).warning)


class PairScene(MujocoScene, ABC):
    """Arms, servos and cameras. A task adds what lies on the table.

    Joints are in rad, and grippers in ratios.

    Args:
        embodiment: one of the pair's; gives the order of the joints, home and the cameras.
        options: of the model, with the task's bodies.
        render_size: default width and height of images, px.
    """

    def __init__(self, embodiment: Embodiment, options: Options, render_size: int) -> None:
        model = mujoco.MjModel.from_xml_string(scene_xml(options))
        known = {name: (name, 1.0) for side in SIDES for name in arm_joints(side)}
        known |= {gripper(side): (f"{side}_finger1", FINGER_OPEN_M) for side in SIDES}
        chosen = [known[name] for name in embodiment.joint_names]
        super().__init__(
            model, joints=[name for name, _ in chosen], scale=[scale for _, scale in chosen],
            actuators=[model.actuator(name).id for name in embodiment.joint_names],
            camera=embodiment.cameras[0].name, render_size=render_size, shadows=False,
        )
        self._mirrored = np.array([
            model.joint(f"{side}_finger2").qposadr[0] for side in SIDES
        ])
        home = home_joints(embodiment)
        self._home = np.array([home[name] for name in embodiment.joint_names])
        self._grippers = [embodiment.joint_names.index(gripper(side)) for side in SIDES]
        self._sites = [model.site(f"{side}_tip").id for side in SIDES]
        self.set_target(self._home)

    def place(self, start: Values) -> dict[str, float]:
        """Set a start, with the arms at home and everything at rest; return it."""
        mujoco.mj_resetData(self.model, self.data)
        self.hold(self._home)
        self.data.qpos[self._mirrored] = self._home[self._grippers] * FINGER_OPEN_M
        self._arrange(start)
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        self.data.time = 0.0
        return dict(start)

    @abstractmethod
    def _arrange(self, start: Values) -> None:
        """Put the task's things where a start says, and let them settle."""

    @property
    @abstractmethod
    def truth(self) -> dict[str, float]:
        """Ground truth, by the names of the task."""

    @property
    def warnings(self) -> int:
        """MuJoCo's warnings since `place`; after one, the physics are not to be trusted."""
        return int(sum(self.data.warning.number))

    def tip(self, side: str) -> tuple[Array, Array]:
        """Return position [3] and rotation [3, 3] of a tip in the table frame."""
        site = self._sites[SIDES.index(side)]
        return self.data.site_xpos[site].copy(), self.data.site_xmat[site].reshape(3, 3).copy()
