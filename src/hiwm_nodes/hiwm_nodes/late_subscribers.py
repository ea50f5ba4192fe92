"""Detects subscribers that may have missed a world's present tick.

A lock-step world waits for the command of its present tick. A node that joins in the meantime has
not received the tick, so the world publishes it again, with its stamp. An imagined world delays its
first tick until the nodes of a graph, which start within seconds of each other, have joined.
"""

import time
from collections.abc import Callable, Sequence

from rclpy.publisher import Publisher

# A subscriber is counted before it receives: at 1.5 s recorders still missed messages.
SETTLE_S = 3.0


class LateSubscribers:
    """Counts the subscribers of some publishers.

    Args:
        publishers: those of the world's observation.
        now: steady clock, s.
    """

    def __init__(
        self, publishers: Sequence[Publisher], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._publishers = publishers
        self._now = now
        self._count = 0
        self._changed = now()
        self._settles: float | None = None

    def joined(self) -> bool:
        """Return whether the present tick should be published again; call it a few times a second.

        True when a subscriber has joined, and once more `SETTLE_S` after the last one.
        """
        count = sum(publisher.get_subscription_count() for publisher in self._publishers)
        now, before, self._count = self._now(), self._count, count
        if count != before:
            self._changed = now
        if count > before:
            self._settles = now + SETTLE_S
            return True
        if self._settles is not None and now >= self._settles:
            self._settles = None
            return True
        return False

    def settled(self, seconds: float) -> bool:
        """Return whether there are subscribers and, as of `joined`, none came or left lately."""
        return self._count > 0 and self._now() - self._changed >= seconds
