"""One output's part of the action array, and the numbers that its adapter sends.

Joints become the driver's units, end-effector targets become poses, or twists that follow them.
Tested by ``test_output_map.py``.
"""

import math

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.robot_config import RobotConfig
from hiwm_core.robots.outputs import Output
from hiwm_core.rotations import (
    matrix_from_6d,
    matrix_from_quaternion,
    matrix_from_vector,
    quaternion_from_matrix,
    vector_from_matrix,
    wrapped,
)

Array = NDArray[np.float64]


class OutputMap:
    """Maps the entries of one output.

    Args:
        embodiment: the action array.
        output: checked against the embodiment.

    Attributes:
        entries: places in the action array [N].
        yaws: [N] bool, entries that turn, so that -pi and pi are one place.
    """

    def __init__(self, embodiment: Embodiment, output: Output) -> None:
        self._output = output
        self._group: ActionGroup | None = None
        if output.group:
            self._group = group = embodiment.group(output.group)
            self.entries = np.arange(group.start, group.start + group.size)
        else:
            places = {name: i for i, name in enumerate(embodiment.action_joints) if name}
            self.entries = np.array([places[entry.joint] for entry in output.entries])
        self.yaws = np.zeros(len(self.entries), bool)
        if self._group is not None and self._group.rotation == "yaw":
            self.yaws[3] = True
        maps = [entry.gripper for entry in output.entries]
        self._shut = np.array([0.0 if one is None else one.shut for one in maps])
        self._span = np.array([1.0 if one is None else one.span for one in maps])
        speeds = embodiment.max_velocity[self.entries]
        self._linear_speed = float(speeds[:3].min()) if self._group else 0.0
        self._turn_speed = float(speeds[3:].min()) if len(speeds) > 3 and self._group else 0.0

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
        turn: Array = np.zeros(3)
        if self._group.rotation == "6d":
            turn = vector_from_matrix(matrix_from_6d(values[3:]) @ matrix_from_6d(measured[3:]).T)
        elif self._group.rotation == "yaw":
            turn[2] = wrapped(float(values[3] - measured[3]))
        gain = self._output.gain_per_s
        linear = _bounded(gain * (values[:3] - measured[:3]), self._linear_speed)
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


def _bounded(vector: Array, longest: float) -> Array:
    length = math.hypot(*vector)
    return vector if length <= longest else vector * (longest / length)
