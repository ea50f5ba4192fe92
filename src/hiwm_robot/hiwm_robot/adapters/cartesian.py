"""Poses and twists of an end effector."""

from typing import Any

from builtin_interfaces.msg import Time

from hiwm_core.robots.outputs import Output
from hiwm_robot.adapters import Array


class PoseStampedAdapter:
    """PoseStamped in the controller's frame."""

    def __init__(self, output: Output, interface: Any, control_period_s: float) -> None:
        self._message = interface()
        self._message.header.frame_id = output.frame

    def message(self, values: Array, stamp: Time) -> Any:
        """Return a pose: x, y, z [m] and quaternion x, y, z, w, [7]."""
        self._message.header.stamp = stamp
        pose = self._message.pose
        pose.position.x, pose.position.y, pose.position.z = values[:3].tolist()
        orientation = pose.orientation
        orientation.x, orientation.y, orientation.z, orientation.w = values[3:].tolist()
        return self._message


class TwistAdapter:
    """Twist without stamp and frame."""

    def __init__(self, output: Output, interface: Any, control_period_s: float) -> None:
        self._message = interface()

    def message(self, values: Array, stamp: Time) -> Any:
        """Return a twist: linear and angular x, y, z, [6]."""
        _set_twist(self._message, values)
        return self._message


class TwistStampedAdapter:
    """TwistStamped in the controller's frame; a stale stamp stops MoveIt Servo."""

    def __init__(self, output: Output, interface: Any, control_period_s: float) -> None:
        self._message = interface()
        self._message.header.frame_id = output.frame

    def message(self, values: Array, stamp: Time) -> Any:
        """Return a twist: linear and angular x, y, z, [6]."""
        self._message.header.stamp = stamp
        _set_twist(self._message.twist, values)
        return self._message


def _set_twist(twist: Any, values: Array) -> None:
    twist.linear.x, twist.linear.y, twist.linear.z = values[:3].tolist()
    twist.angular.x, twist.angular.y, twist.angular.z = values[3:].tolist()
