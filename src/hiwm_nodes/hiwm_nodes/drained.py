"""Subscriptions that do not wake the executor: their messages are read when they are wanted."""

import time
from collections.abc import Iterator
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

# Between two looks for a message.
_CHECK_S = 0.005


class Drained(CallbackGroup):
    """A group that the executor does not wait on, except while it is awake.

    Robots publish joint states at hundreds of hertz. Waking up for each would cost more than the
    rest of a bridge.

    Attributes:
        awake: callbacks run as usual. After a change call the executor's `wake`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.awake = False

    def can_execute(self, entity: Any) -> bool:
        """Return whether the executor waits on it."""
        return self.awake

    def beginning_execution(self, entity: Any) -> bool:
        """Return whether the executor may run its callback."""
        return self.awake

    def ending_execution(self, entity: Any) -> None:
        """Do nothing: callbacks do not exclude each other."""


def waiting(subscription: Subscription, *, raw: bool = False) -> Iterator[Any]:
    """Yield the messages that have come since the last look, oldest first; `raw`: as bytes."""
    with subscription.handle:
        while (
            taken := subscription.handle.take_message(subscription.msg_type, raw)
        ) is not None:
            yield taken[0]


def messages(
    node: Node, kind: Any, topic: str, profile: QoSProfile, timeout_s: float
) -> Iterator[Any]:
    """Yield what arrives on a topic within a time, by a subscription of its own.

    It needs no executor, so nodes may wait for a message while they start.
    """
    subscription = node.create_subscription(
        kind, topic, lambda message: None, profile, callback_group=Drained()
    )
    handle = subscription.handle
    end = time.monotonic() + timeout_s
    try:
        while time.monotonic() < end:
            with handle:
                taken = handle.take_message(kind, False)
            if taken is None:
                time.sleep(_CHECK_S)
            else:
                yield taken[0]
    finally:
        node.destroy_subscription(subscription)
