"""Joint targets for ros2_control's controllers, and for drivers that take joint states."""

import array
from typing import Any

from builtin_interfaces.msg import Duration, Time
from trajectory_msgs.msg import JointTrajectoryPoint

from hiwm_core.robots.outputs import Output
from hiwm_robot.adapters import Array


class JointTrajectoryAdapter:
    """One point for a joint trajectory controller, reached after time_from_start.

    The header's stamp stays zero, which means "start now" whatever the controller's clock.
    """

    def __init__(self, output: Output, interface: Any, control_period_s: float) -> None:
        nanoseconds = round(output.point_seconds(control_period_s) * 1e9)
        self._point = JointTrajectoryPoint(
            time_from_start=Duration(
                sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000
            )
        )
        self._message = interface(
            joint_names=[entry.driver for entry in output.entries], points=[self._point]
        )

    def message(self, values: Array, stamp: Time) -> Any:
        """Return the trajectory to joint positions [N]."""
        self._point.positions = array.array("d", values)
        return self._message


class Float64MultiArrayAdapter:
    """Plain targets for a forward command controller, in the output's order."""

    def __init__(self, output: Output, interface: Any, control_period_s: float) -> None:
        self._message = interface()

    def message(self, values: Array, stamp: Time) -> Any:
        """Return the targets [N]."""
        self._message.data = array.array("d", values)
        return self._message


class JointStateAdapter:
    """Targets as joint states, with names; some drivers read them by index."""

    def __init__(self, output: Output, interface: Any, control_period_s: float) -> None:
        self._message = interface(name=[entry.driver for entry in output.entries])

    def message(self, values: Array, stamp: Time) -> Any:
        """Return the targets [N]."""
        self._message.header.stamp = stamp
        self._message.position = array.array("d", values)
        return self._message
