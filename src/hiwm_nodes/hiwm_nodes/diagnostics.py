"""Rates, latencies and ages on /diagnostics, once a second."""

import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Diagnostics:
    """Publishes a node's status every second, and at once when level or message changes.

    Args:
        node: the node to report on.
        values: called before each message for the current key-value pairs.
    """

    def __init__(self, node: Node, values: Callable[[], dict[str, object]] | None = None) -> None:
        self._node = node
        self._values = values
        self._level = OK
        self._message = "running"
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady clock on purpose: a stopped simulation must not silence diagnostics.
        from rclpy.clock import Clock, ClockType

        self._timer = node.create_timer(
            1.0, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def report(self, level: bytes, message: str) -> None:
        """Set level and message; publish at once if either changed."""
        if (level, message) != (self._level, self._message):
            self._level, self._message = level, message
            self.publish()

    def publish(self) -> None:
        """Publish the status."""
        status = DiagnosticStatus(
            level=self._level, name=self._node.get_fully_qualified_name(), message=self._message
        )
        values = self._values() if self._values else {}
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


class RateMeter:
    """Events per second over about the last second, on the steady clock."""

    def __init__(self) -> None:
        self._count = 0
        self._since = time.monotonic()
        self._rate = 0.0

    def count(self) -> None:
        """Count one event."""
        self._count += 1

    @property
    def rate(self) -> float:
        """Events per second."""
        elapsed = time.monotonic() - self._since
        if elapsed >= 1.0:
            self._rate = self._count / elapsed
            self._count = 0
            self._since = time.monotonic()
        return self._rate
