"""The arms at their table in MuJoCo: the part of a scene that tasks share.

Below the bridge this simulates the robot and its surroundings; see `hiwm_core.task_plugin.Scene`.
"""

import atexit
import logging
from abc import ABC, abstractmethod

import mujoco
import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import Values
from hiwm_yam_pair.geometry import FINGER_OPEN_M, SIDES, arm_joints, gripper
from hiwm_yam_pair.kinematics import home_joints
from hiwm_yam_pair.mjcf import Options, scene_xml

Array = NDArray[np.float64]

# MuJoCo counts its warnings; its own handler also writes a file into the working directory.
mujoco.set_mju_user_warning(logging.getLogger(__name__).warning)


class PairScene(ABC):
    """Arms, servos and cameras. A task adds what lies on the table.

    Args:
        embodiment: one of the pair's; gives the order of the joints, home and the cameras.
        options: of the model, with the task's bodies.
        render_size: default width and height of images, px.
    """

    def __init__(self, embodiment: Embodiment, options: Options, render_size: int) -> None:
        self._render_size = render_size
        self._camera = embodiment.cameras[0].name
        self.model = mujoco.MjModel.from_xml_string(scene_xml(options))
        self.data = mujoco.MjData(self.model)
        self.timestep_s = float(self.model.opt.timestep)
        self._renderers: dict[int, mujoco.Renderer] = {}
        known = {name: (name, 1.0) for side in SIDES for name in arm_joints(side)}
        known |= {gripper(side): (f"{side}_finger1", FINGER_OPEN_M) for side in SIDES}
        chosen = [known[name] for name in embodiment.joint_names]
        self._scale = np.array([scale for _, scale in chosen])  # joint positions to qpos
        self._qpos = np.array([self.model.joint(name).qposadr[0] for name, _ in chosen])
        self._qvel = np.array([self.model.joint(name).dofadr[0] for name, _ in chosen])
        self._ctrl = np.array([
            self.model.actuator(name).id for name in embodiment.joint_names
        ])
        self._mirrored = np.array([
            self.model.joint(f"{side}_finger2").qposadr[0] for side in SIDES
        ])
        home = home_joints(embodiment)
        self._home = np.array([home[name] for name in embodiment.joint_names])
        self._grippers = [embodiment.joint_names.index(gripper(side)) for side in SIDES]
        self._target = self._home.copy()
        self._sites = [self.model.site(f"{side}_tip").id for side in SIDES]

    def place(self, start: Values) -> dict[str, float]:
        """Set a start, with the arms at home and everything at rest; return it."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._qpos] = self._home * self._scale
        self.data.qpos[self._mirrored] = self._home[self._grippers] * FINGER_OPEN_M
        self._target = self._home.copy()
        self.data.ctrl[self._ctrl] = self._target * self._scale
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
    def joint_positions(self) -> Array:
        """Measured joints [J] in the embodiment's order: rad, and ratios of grippers."""
        return np.array(self.data.qpos[self._qpos] / self._scale)

    @property
    def joint_velocities(self) -> Array:
        """Measured joint velocities [J], rad/s, and ratios per s of grippers."""
        return np.array(self.data.qvel[self._qvel] / self._scale)

    @property
    def warnings(self) -> int:
        """MuJoCo's warnings since `place`; after one, the physics are not to be trusted."""
        return int(sum(self.data.warning.number))

    def tip(self, side: str) -> tuple[Array, Array]:
        """Return position [3] and rotation [3, 3] of a tip in the table frame."""
        site = self._sites[SIDES.index(side)]
        return self.data.site_xpos[site].copy(), self.data.site_xmat[site].reshape(3, 3).copy()

    def set_target(self, target: Array) -> None:
        """Set the servos' targets [J]; they apply at the next `advance`."""
        self._target = np.asarray(target, dtype=float).copy()

    def advance(self, seconds: float, ramp: bool = True) -> None:
        """Advance the physics by a multiple of the timestep; see `Scene.advance`."""
        steps = round(seconds / self.timestep_s)
        start, goal = self.data.ctrl[self._ctrl].copy(), self._target * self._scale
        for step in range(steps):
            share = (step + 1) / steps if ramp else 1.0
            self.data.ctrl[self._ctrl] = start + share * (goal - start)
            mujoco.mj_step(self.model, self.data)

    def render(self, size: int | None = None, camera: str = "") -> NDArray[np.uint8]:
        """Return a camera's image, rgb [size, size, 3]; of the embodiment's first if unnamed.

        Images are rendered at double size and averaged, which is faster than multisampling.
        """
        size = size or self._render_size
        if size not in self._renderers:
            renderer = mujoco.Renderer(self.model, 2 * size, 2 * size)
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
            self._renderers[size] = renderer
            # Close it before the interpreter closes EGL's display, or its destructor fails.
            atexit.register(renderer.close)
        renderer = self._renderers[size]
        renderer.update_scene(self.data, camera=camera or self._camera)
        return _halved(renderer.render())

    def close(self) -> None:
        """Free the renderers while their display still exists."""
        for renderer in self._renderers.values():
            renderer.close()


def _halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the rounded means [H / 2, W / 2, 3] of squares of 2 by 2 pixels [H, W, 3]."""
    rows = pixels[0::2].astype(np.uint16) + pixels[1::2]
    return np.asarray((rows[:, 0::2] + rows[:, 1::2] + 2) >> 2, np.uint8)
