"""Interbotix X-series: a group's joints by order, or one joint by name."""

from typing import Any

from builtin_interfaces.msg import Time

from hiwm_core.robots.outputs import Output
from hiwm_robot.adapters import Array


class JointGroupAdapter:
    """JointGroupCommand."""

    def __init__(self, output: Output, interface: Any, control_period_s: float) -> None:
        self._message = interface(name=output.group_name)

    def message(self, values: Array, stamp: Time) -> Any:
        """Return the command of the group [N]."""
        self._message.cmd = values.tolist()
        return self._message


class JointSingleAdapter:
    """JointSingleCommand."""

    def __init__(self, output: Output, interface: Any, control_period_s: float) -> None:
        self._message = interface(name=output.entries[0].driver)

    def message(self, values: Array, stamp: Time) -> Any:
        """Return the command of the joint [1]."""
        self._message.cmd = float(values[0])
        return self._message
