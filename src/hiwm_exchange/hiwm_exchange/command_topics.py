"""What a recorded command topic asks for, in the entries of the action array.

The inverse of the bridge's adapters. Twists say a speed and no target, and the goals of gripper
actions are no topic: for their entries, the next measured state is the action.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.robots.outputs import Output
from hiwm_core.rotations import matrix_from_quaternion, sixd_from_matrix, yaw_of

Targets = list[tuple[int, float]]  # entry of the action array, target


class CommandTopic:
    """Reads the messages of one output of a robot file.

    Args:
        output: with a topic that carries targets (`has_targets`).
        embodiment: the order of the action array.
    """

    def __init__(self, output: Output, embodiment: Embodiment) -> None:
        self._output, self._embodiment = output, embodiment
        joints = {entry.joint: i for i, entry in enumerate(embodiment.actions) if entry.joint}
        self._by_driver = {
            entry.driver: (joints[entry.joint], entry)
            for entry in output.entries if entry.joint in joints
        }
        self._order = [entry.driver for entry in output.entries]
        self._group: ActionGroup | None = embodiment.group(output.group) if output.group else None
        self._read: Callable[[Any], Targets] = _READERS[output.adapter](self)

    def targets(self, message: Any) -> Targets:
        """Return what a message asks for; entries that it does not name are left out."""
        return self._read(message)

    def joints(self, names: list[str], values: Any) -> Targets:
        """Return the targets of named joints, in the embodiment's units."""
        found: Targets = []
        for name, value in zip(names, values, strict=False):
            if name in self._by_driver:
                i, entry = self._by_driver[name]
                found.append((i, entry.embodied(float(value))))
        return found

    def trajectory(self, message: Any) -> Targets:
        """Return the end of a JointTrajectory."""
        if not len(message.points):
            return []
        return self.joints(list(message.joint_names), message.points[-1].positions)

    def array(self, message: Any) -> Targets:
        """Return a Float64MultiArray, in the output's order."""
        return self.joints(self._order, message.data)

    def state(self, message: Any) -> Targets:
        """Return a JointState; without names, in the output's order."""
        return self.joints(list(message.name) or self._order, message.position)

    def group_command(self, message: Any) -> Targets:
        """Return a JointGroupCommand, in the output's order."""
        return self.joints(self._order, message.cmd)

    def single_command(self, message: Any) -> Targets:
        """Return a JointSingleCommand."""
        return self.joints(self._order, [message.cmd])

    def pose(self, message: Any) -> Targets:
        """Return a PoseStamped as position and the group's rotation."""
        assert self._group is not None
        at, turn = message.pose.position, message.pose.orientation
        values = [at.x, at.y, at.z]
        if self._group.rotation != "none":
            rotation = matrix_from_quaternion([turn.x, turn.y, turn.z, turn.w])
            if self._group.rotation == "yaw":
                fixed = matrix_from_quaternion(self._output.orientation or (0.0, 0.0, 0.0, 1.0))
                values.append(yaw_of(rotation @ fixed.T))
            else:
                values += sixd_from_matrix(rotation).tolist()
        return [(self._group.start + i, float(value)) for i, value in enumerate(values)]


_READERS: dict[str, Callable[[CommandTopic], Callable[[Any], Targets]]] = {
    "joint_trajectory": lambda topic: topic.trajectory,
    "float64_multi_array": lambda topic: topic.array,
    "joint_state": lambda topic: topic.state,
    "joint_group_command": lambda topic: topic.group_command,
    "joint_single_command": lambda topic: topic.single_command,
    "pose_stamped": lambda topic: topic.pose,
}


def has_targets(output: Output) -> bool:
    """Return whether an output's topic carries absolute targets."""
    return output.adapter in _READERS


def apply_targets(commanded: NDArray[np.float64], targets: Targets) -> None:
    """Enter targets into an array [A]; values that are not finite are left out."""
    for entry, value in targets:
        if np.isfinite(value):
            commanded[entry] = value
