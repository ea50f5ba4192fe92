"""Goals of gripper action servers. Both kinds often share the name gripper_cmd."""

from typing import Any

from builtin_interfaces.msg import Time

from hiwm_core.robots.outputs import Output
from hiwm_robot.adapters import Array


class GripperCommandAdapter:
    """control_msgs/GripperCommand: one position, with the largest effort."""

    def __init__(self, output: Output, interface: Any, control_period_s: float) -> None:
        self._interface = interface
        self._max_effort = output.max_effort

    def message(self, values: Array, stamp: Time) -> Any:
        """Return the goal to a position [1]."""
        goal = self._interface.Goal()
        goal.command.position = float(values[0])
        goal.command.max_effort = self._max_effort
        return goal


class ParallelGripperCommandAdapter:
    """control_msgs/ParallelGripperCommand: a joint state with one joint."""

    def __init__(self, output: Output, interface: Any, control_period_s: float) -> None:
        self._interface = interface
        self._joint = output.entries[0].driver
        self._effort = [output.max_effort] if output.max_effort else []

    def message(self, values: Array, stamp: Time) -> Any:
        """Return the goal to a position [1]."""
        goal = self._interface.Goal()
        goal.command.name = [self._joint]
        goal.command.position = [float(values[0])]
        goal.command.effort = self._effort
        return goal
