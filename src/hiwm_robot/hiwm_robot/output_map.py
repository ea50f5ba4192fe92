"""One output's part of the action array, and the numbers that its adapter sends.

Joints become the driver's units, end-effector targets become poses, or twists that follow them.
Tested by ``test_output_map.py``.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.robot_config import RobotConfig
from hiwm_core.robots.outputs import Output
from hiwm_core.rotations import (
    matrix_from_6d,
    matrix_from_quaternion,
    matrix_from_vector,
    quaternion_from_matrix,
)

Array = NDArray[np.float64]


class OutputMap:
    """Maps the entries of one output.

    Args:
        embodiment: the action array.
        output: checked against the embodiment.

    Attributes:
        entries: places in the action array [N].
    """

    def __init__(self, embodiment: Embodiment, output: Output) -> None:
        self._output = output
        self._group: ActionGroup | None = None
        if output.group:
            self._group = group = embodiment.group(output.group)
            self._deltas = ActionDeltas(_alone(embodiment, group))
            self.entries = np.arange(group.start, group.start + group.size)
        else:
            places = {name: i for i, name in enumerate(embodiment.action_joints) if name}
            self.entries = np.array([places[entry.joint] for entry in output.entries])
        maps = [entry.gripper for entry in output.entries]
        self._shut = np.array([0.0 if one is None else one.shut for one in maps])
        self._span = np.array([1.0 if one is None else one.span for one in maps])
        speeds = embodiment.max_velocity[self.entries]
        self._linear_speed = float(speeds[:3].min()) if self._group else 0.0
        self._turn_speed = float(speeds[3:].min()) if len(speeds) > 3 and self._group else 0.0

    def between(self, start: Array, goal: Array, share: float) -> Array:
        """Return the values [N] at a share of the way from a start to a goal; rotations turn.

        Raises:
            ValueError: a 6D rotation is degenerate.
        """
        if self._group is None:
            return start + share * (goal - start)
        return self._deltas.moved(start, share * self._deltas.between(start, goal))

    def message_values(self, values: Array, measured: Array, zero: bool) -> Array:
        """Return what the adapter sends.

        Args:
            values: the output's target [N], embodiment units.
            measured: where its entries are [N].
            zero: a twist of zero, whatever the target.

        Returns:
            Joints in the driver's units [N]; a pose as position and quaternion [7]; or a twist,
            linear and angular [6].
        """
        if self._output.drives in ("joints", "gripper"):
            return self._shut + values * self._span
        if self._output.drives == "pose":
            rotation = quaternion_from_matrix(self._rotation(values))
            return np.concatenate([values[:3], rotation])
        return np.zeros(6) if zero else self._twist(values, measured)

    def _rotation(self, values: Array) -> Array:
        """Return the rotation matrix that a group's entries command."""
        assert self._group is not None
        if self._group.rotation == "6d":
            return matrix_from_6d(values[3:])
        fixed = matrix_from_quaternion(self._output.orientation or (0.0, 0.0, 0.0, 1.0))
        if self._group.rotation == "yaw":
            turned: Array = matrix_from_vector([0.0, 0.0, values[3]]) @ fixed
            return turned
        return fixed

    def _twist(self, values: Array, measured: Array) -> Array:
        """Return the speed towards a target, within the embodiment's velocity limits."""
        assert self._group is not None
        way = self._deltas.between(measured, values)
        turn: Array = np.zeros(3)
        if self._group.rotation == "6d":
            turn = way[3:6]
        elif self._group.rotation == "yaw":
            turn[2] = way[3]
        gain = self._output.gain_per_s
        linear = _bounded(gain * way[:3], self._linear_speed)
        angular = _bounded(gain * turn, self._turn_speed)
        if self._output.tool_axes:
            to_tool = matrix_from_6d(measured[3:]).T
            linear, angular = to_tool @ linear, to_tool @ angular
        scale = self._output.full_scale
        if scale is not None:
            linear = np.clip(linear / scale.linear_m_per_s, -1.0, 1.0)
            angular = np.clip(angular / scale.rotational_rad_per_s, -1.0, 1.0)
        return np.concatenate([linear, angular])


def holds_last(robot: RobotConfig, embodiment: Embodiment) -> NDArray[np.bool_]:
    """Return the entries [A] whose hold is the last target; the others hold the measured one.

    An output that stops sending is among the others: its arm may move meanwhile.
    """
    result = np.zeros(embodiment.action_dim, bool)
    for output in robot.outputs.values():
        if output.silence == "hold_last":
            result[OutputMap(embodiment, output).entries] = True
    return result


def _alone(embodiment: Embodiment, group: ActionGroup) -> Embodiment:
    """Return an embodiment that has one group only."""
    return replace(
        embodiment, groups=(replace(group, start=0),), actions=embodiment.actions[group.slice]
    )


def _bounded(vector: Array, longest: float) -> Array:
    length = math.hypot(*vector)
    return vector if length <= longest else vector * (longest / length)
