"""A leader's tip that leads the tip of a robot: forward kinematics of the leader's own URDF.

A rotation is followed as a rotation vector from where the follower was when it began to follow, and
continues beyond half a turn. Pure. Tested by ``test_led_tip.py``.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.kinematics import LinkPose, load_model
from hiwm_core.rotations import (
    matrix_from_6d,
    matrix_from_vector,
    sixd_from_matrix,
    vector_from_matrix,
    yaw_of,
)
from hiwm_teleop.leader.joint_angles import JointAngle
from hiwm_teleop.leader.leader_file import ArmFile, TipFile

Array = NDArray[np.float64]


class LedTip:
    """The tip of one leader arm, and the end effector that it leads.

    Args:
        arm: of the device file, with a tip.
        tip: of that arm.
        embodiment: of the world.
        where: file and field, for messages.

    Raises:
        ConfigError: the robot has no such end effector, or the URDF does not fit the arm.
    """

    def __init__(self, arm: ArmFile, tip: TipFile, embodiment: Embodiment, where: str) -> None:
        self.group = _end_effector(embodiment, tip.drives, where)
        model = load_model(tip.urdf, where)
        self._joints = tuple(name for name in arm.joints if name in model.joints)
        self._pose = LinkPose(model, link=tip.link, joints=self._joints, where=where)
        self._arm = arm
        self._base_m = np.array(tip.base_m)
        self._base = matrix_from_vector([0.0, 0.0, tip.base_yaw_rad])
        self._tool = matrix_from_vector(tip.tool_turn_rad)
        self._scale = tip.scale
        self._from = np.eye(3)  # rotations are followed from here
        self._last: Array | None = None  # rotation channels

    @property
    def channels(self) -> int:
        """Numbers that are followed: x, y, z, and one or three of the rotation."""
        return {"none": 3, "yaw": 4, "6d": 6}[self.group.rotation]

    def begin(self, action: Array) -> None:
        """Begin to follow with the follower at [A]."""
        if self.group.rotation == "6d":
            self._from = matrix_from_6d(action[self.group.rotation_slice])
        self._last = self.following(action)[3:]

    def leading(self, angles: Mapping[str, JointAngle]) -> Array:
        """Return the leader's channels, m and rad.

        Args:
            angles: of the leader's joints.
        """
        pose = self._pose.pose([
            self._arm.joints[name].scale * angles[name].rad + self._arm.joints[name].offset_rad
            for name in self._joints
        ])
        position = self._base_m + self._scale * self._base @ pose.position
        rotation = self._base @ pose.rotation @ self._tool
        if self.group.rotation == "none":
            return position
        if self.group.rotation == "yaw":
            turn = np.array([yaw_of(rotation)])
            if self._last is not None:
                turn += math.tau * np.round((self._last - turn) / math.tau)
        else:
            turn = vector_from_matrix(rotation @ self._from.T)
            if self._last is not None:
                turn = _nearest_turn(turn, self._last)
        self._last = turn
        return np.concatenate([position, turn])

    def following(self, action: Array) -> Array:
        """Return the channels of the follower at [A]."""
        values = action[self.group.slice]
        if self.group.rotation != "6d":
            return values.copy()
        turn = vector_from_matrix(matrix_from_6d(values[3:]) @ self._from.T)
        return np.concatenate([values[:3], turn])

    def put(self, channels: Array, action: Array) -> None:
        """Set the end effector's entries of an action [A] to channels."""
        if self.group.rotation == "6d":
            turned = matrix_from_vector(channels[3:]) @ self._from
            channels = np.concatenate([channels[:3], sixd_from_matrix(turned)])
        action[self.group.slice] = channels


def _end_effector(embodiment: Embodiment, name: str, where: str) -> ActionGroup:
    groups = [group for group in embodiment.groups if group.kind == "ee_position"]
    for group in groups:
        if group.name == name:
            return group
    raise ConfigError(
        f"embodiment {embodiment.name} has no end effector {name!r}", where=f"{where}.drives",
        remedy=f"it has {', '.join(group.name for group in groups) or 'none'}: correct drives, or "
        "let the leader's joints drive the robot's",
    )


def _nearest_turn(vector: Array, to: Array) -> Array:
    """Return the rotation vector of the same rotation that is nearest to another vector."""
    length = float(np.linalg.norm(vector))
    if length < 1e-9:
        return vector
    axis = vector / length
    turns = [axis * (length + math.tau * k) for k in (-2, -1, 0, 1, 2)]
    return min(turns, key=lambda turn: float(np.linalg.norm(turn - to)))
