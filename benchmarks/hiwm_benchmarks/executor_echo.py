"""A node that returns every message, under the executor NAME.

    python -m hiwm_benchmarks.executor_echo NAME

Its entities are as many as those of the arbiter: five subscriptions, three timers and a service,
besides those of every node.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import rclpy
from hiwm_interfaces.srv import ControlRequest
from rclpy.executors import SingleThreadedExecutor
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from hiwm_nodes import qos
from hiwm_nodes.executor import KeptWaitSetExecutor

OURS = "ours"
EXECUTORS: dict[str, Callable[[], Any]] = {
    OURS: KeptWaitSetExecutor, "single": SingleThreadedExecutor, "events": EventsExecutor,
}
QUIET_TOPICS = 4
TIMER_PERIODS_S = (0.1, 0.5, 1.0)


class EchoNode(Node):
    """Publishes each message again, with the time of its callback as a second number."""

    def __init__(self) -> None:
        super().__init__("echo")
        self._publisher = self.create_publisher(JointState, "answer", qos.TICK)
        self.create_subscription(JointState, "question", self._on_question, qos.TICK)
        for i in range(QUIET_TOPICS):
            self.create_subscription(JointState, f"quiet_{i}", lambda _: None, qos.TICK)
        for period in TIMER_PERIODS_S:
            self.create_timer(period, lambda: None)
        self.create_service(ControlRequest, "request", lambda _, response: response)

    def _on_question(self, message: JointState) -> None:
        message.velocity = [time.perf_counter()]
        self._publisher.publish(message)


def main() -> None:
    """Spin until killed."""
    rclpy.init()
    executor = EXECUTORS[sys.argv[1]]()
    executor.add_node(EchoNode())
    try:
        executor.spin()
    finally:
        os._exit(0)  # nothing is left to close


if __name__ == "__main__":
    main()
