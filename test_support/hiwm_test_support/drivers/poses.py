"""Drivers that take poses of a tool, and drivers that take joint states as targets."""

import math
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import JointState

from hiwm_core.embodiment import Embodiment
from hiwm_core.robots.outputs import Output
from hiwm_core.rotations import (
    matrix_from_quaternion,
    matrix_from_vector,
    quaternion_from_matrix,
    vector_from_matrix,
)
from hiwm_test_support.controllers.cartesian import PoseInput
from hiwm_test_support.drivers.body import Body
from hiwm_test_support.drivers.outputs import Joints

Array = NDArray[np.float64]


class PoseOutput:
    """A tool that goes to the last pose, with a lag."""

    active = True  # it is its driver that is started or stopped

    def __init__(
        self, node: Node, output: Output, embodiment: Embodiment, body: Body, *, lag_s: float
    ) -> None:
        self._node, self._output, self._body, self._lag_s = node, output, body, lag_s
        self._input = PoseInput(frame=output.frame)
        group = embodiment.group(output.group)
        speeds = embodiment.max_velocity[group.slice]
        leads = embodiment.max_following_error[group.slice]
        period_s = 1.0 / embodiment.rate_hz
        self._steps = np.array([speeds[0], speeds[-1]]) * period_s  # m, rad
        self._leads = np.array([leads[0], leads[-1]])
        self._last: tuple[Array, Array] | None = None
        self.received: list[tuple[Array, Array]] = []  # every pose that was in force
        node.create_subscription(PoseStamped, output.topic, self._receive, 10)

    def activate(self) -> None:
        """Nothing to activate."""

    def deactivate(self) -> None:
        """Nothing to deactivate."""

    def update(self, now: float, dt: float) -> None:
        """Move towards the last pose."""
        self._body.errors += self._input.warnings
        self._input.warnings.clear()
        if self._input.target is None:
            return
        here = self._body.poses[self._output.group]
        step, turn = _way(here, self._input.target)
        sizes = np.array([np.linalg.norm(step), np.linalg.norm(turn)])
        self._body.lead = max(self._body.lead, float(np.max(sizes / self._leads)))
        if self._body.frozen:
            return
        share = 1.0 - math.exp(-dt / self._lag_s)
        turned = matrix_from_vector(share * turn) @ matrix_from_quaternion(here[1])
        self._body.poses[self._output.group] = (
            here[0] + share * step, quaternion_from_matrix(turned)
        )

    def _receive(self, message: PoseStamped) -> None:
        point, turn = message.pose.position, message.pose.orientation
        target = (
            np.array([point.x, point.y, point.z]), np.array([turn.x, turn.y, turn.z, turn.w])
        )
        if not self._input.receive(
            frame=message.header.frame_id, position=target[0], quaternion=target[1],
            publishers=self._node.count_publishers(self._output.topic),
        ):
            return
        if self._last is not None:
            sizes = np.minimum(
                _sizes(self._last, target), _sizes(self._body.poses[self._output.group], target)
            )
            self._body.step = max(self._body.step, float(np.max(sizes / self._steps)))
        self._last = target
        self.received.append(target)


class JointStateOutput:
    """Joints that follow joint states by index, as PiPER's driver does."""

    active = True

    def __init__(self, node: Node, output: Output, joints: Joints) -> None:
        self._joints = joints
        self._target: Array | None = None
        node.create_subscription(JointState, output.topic, self._receive, 10)

    def activate(self) -> None:
        """Nothing to activate."""

    def deactivate(self) -> None:
        """Nothing to deactivate."""

    def update(self, now: float, dt: float) -> None:
        """Move towards the last target."""
        if self._target is not None:
            self._joints.move(self._target, dt)

    def _receive(self, message: Any) -> None:
        if len(message.position) != len(self._joints.names):
            self._joints.body.errors.append(f"{len(message.position)} positions")
            return
        self._target = np.array(message.position)
        self._joints.received(self._joints.names, self._target)


def turn_between(start: Array, end: Array) -> float:
    """Return the angle between two quaternions [4], rad."""
    turn = matrix_from_quaternion(end) @ matrix_from_quaternion(start).T
    return float(np.linalg.norm(vector_from_matrix(turn)))


def _way(start: tuple[Array, Array], end: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the step [3] m and the rotation vector [3] rad from one pose to another."""
    turn = matrix_from_quaternion(end[1]) @ matrix_from_quaternion(start[1]).T
    return end[0] - start[0], vector_from_matrix(turn)


def _sizes(start: tuple[Array, Array], end: tuple[Array, Array]) -> Array:
    return np.array([np.linalg.norm(part) for part in _way(start, end)])
