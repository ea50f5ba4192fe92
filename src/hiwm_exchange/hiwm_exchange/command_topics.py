"""What a recorded command topic asks for, in the entries of the action array.

The inverse of the bridge's adapters. Times count from the arrival of a message. Twists give a
speed and not a target, and goals of gripper actions are not on a topic: for their entries, the next
measured state is the action.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.robots.outputs import Output
from hiwm_core.rotations import matrix_from_quaternion, sixd_from_matrix, yaw_of

Targets = list[tuple[int, float]]  # entry of the action array, target
Points = list[tuple[float, Targets]]  # time since the message's arrival, s, and its targets


@dataclass(frozen=True)
class Track:
    """The targets of one entry, K of them."""

    times_s: NDArray[np.float64]  # [K] since the message arrived; 0 for a target without a time
    values: NDArray[np.float64]  # [K] finite

    def at(self, after_s: float) -> float:
        """Return the target at a time: linear between two; the first before, the last behind."""
        return float(np.interp(after_s, self.times_s, self.values))

    @property
    def end_s(self) -> float:
        """Time of the last target, s."""
        return float(self.times_s[-1])


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
        self._read = _READERS[output.adapter](self)

    @property
    def silence_after_s(self) -> float:
        """How long the output's controller follows a target that no other follows, s."""
        return self._output.silence_after_s

    def tracks(self, message: Any) -> dict[int, Track]:
        """Return what a message asks for, by entry of the action array.

        Entries that it does not name, and targets that are not finite, are left out.
        """
        found: dict[int, list[tuple[float, float]]] = {}
        for after_s, targets in self._read(message):
            for entry, value in targets:
                if np.isfinite(value):
                    found.setdefault(entry, []).append((after_s, value))
        return {entry: Track(*np.array(points).T) for entry, points in found.items()}

    def joints(self, names: list[str], values: Any) -> Targets:
        """Return the targets of named joints, in the embodiment's units."""
        found: Targets = []
        for name, value in zip(names, values, strict=False):
            if name in self._by_driver:
                i, entry = self._by_driver[name]
                found.append((i, entry.embodied(float(value))))
        return found

    def trajectory(self, message: Any) -> Points:
        """Return the points of a JointTrajectory with their times, s."""
        names = list(message.joint_names)
        return [
            (point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec,
             self.joints(names, point.positions))
            for point in message.points
        ]

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


def _at_once(read: Callable[[Any], Targets]) -> Callable[[Any], Points]:
    """Return a reader of messages whose targets have no time."""
    return lambda message: [(0.0, read(message))]


_READERS: dict[str, Callable[[CommandTopic], Callable[[Any], Points]]] = {
    "joint_trajectory": lambda topic: topic.trajectory,
    "float64_multi_array": lambda topic: _at_once(topic.array),
    "joint_state": lambda topic: _at_once(topic.state),
    "joint_group_command": lambda topic: _at_once(topic.group_command),
    "joint_single_command": lambda topic: _at_once(topic.single_command),
    "pose_stamped": lambda topic: _at_once(topic.pose),
}


def has_targets(output: Output) -> bool:
    """Return whether an output's topic carries absolute targets."""
    return output.adapter in _READERS
