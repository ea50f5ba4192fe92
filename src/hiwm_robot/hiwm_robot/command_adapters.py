"""Targets as messages for a robot's controllers: one adapter per message type."""

import array
from typing import Any, Protocol

import numpy as np
from builtin_interfaces.msg import Duration
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.robots.outputs import Output


class CommandAdapter(Protocol):
    """Turns a target into a controller's message."""

    message_type: Any

    def message(self, action: NDArray[np.float64]) -> Any:
        """Return the message for a target [A]; it may be the same object each time."""


class JointTrajectoryAdapter:
    """One point for a joint trajectory controller, reached after time_from_start.

    The header's stamp stays zero, which means "start now" whatever the controller's clock.
    """

    message_type = JointTrajectory

    def __init__(self, embodiment: Embodiment, output: Output) -> None:
        nanoseconds = round(output.point_seconds(1.0 / embodiment.rate_hz) * 1e9)
        self._point = JointTrajectoryPoint(
            time_from_start=Duration(
                sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000
            )
        )
        self._message = JointTrajectory(
            joint_names=list(embodiment.joint_names), points=[self._point]
        )

    def message(self, action: NDArray[np.float64]) -> JointTrajectory:
        """Return the trajectory to a target [A]."""
        self._point.positions = array.array("d", action)
        return self._message


class Float64MultiArrayAdapter:
    """Plain targets for a forward command controller, in the embodiment's order."""

    message_type = Float64MultiArray

    def __init__(self, embodiment: Embodiment, output: Output) -> None:
        self._message = Float64MultiArray()

    def message(self, action: NDArray[np.float64]) -> Float64MultiArray:
        """Return the targets [A]."""
        self._message.data = array.array("d", action)
        return self._message


_ADAPTERS: dict[str, type[JointTrajectoryAdapter] | type[Float64MultiArrayAdapter]] = {
    "joint_trajectory": JointTrajectoryAdapter,
    "float64_multi_array": Float64MultiArrayAdapter,
}


def command_adapter(embodiment: Embodiment, output: Output) -> CommandAdapter:
    """Return the adapter of an output.

    Raises:
        ConfigError: the bridge has no such adapter yet.
    """
    if output.adapter not in _ADAPTERS:
        raise ConfigError(
            f"the bridge cannot send {output.adapter} yet", where=f"output {output.address}",
            remedy=f"use one of {', '.join(_ADAPTERS)}",
        )
    return _ADAPTERS[output.adapter](embodiment, output)
