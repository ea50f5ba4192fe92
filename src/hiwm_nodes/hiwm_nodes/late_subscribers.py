"""Detects subscribers that may have missed a world's present tick.

A lock-step world waits for the command of its present tick. A node that joins in the meantime has
not received the tick, so the world publishes it again, with its stamp. The nodes that a world was
launched with miss no tick (`hiwm_nodes.listening`).
"""

import time
from collections.abc import Callable, Sequence

from rclpy.publisher import Publisher

# A subscriber is counted before it receives: at 1.5 s recorders still missed messages. Most receive
# within the first of these times after they are counted.
REPEATS_S = (0.3, 1.0, 3.0)


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
        self._due: list[float] = []  # times of repeats, latest first

    def joined(self) -> bool:
        """Return whether the present tick should be published again; call it a few times a second.

        True when a subscriber has joined, and `REPEATS_S` after the last one.
        """
        count = sum(publisher.get_subscription_count() for publisher in self._publishers)
        now, before, self._count = self._now(), self._count, count
        if count > before:
            self._due = [now + after for after in reversed(REPEATS_S)]
            return True
        if self._due and now >= self._due[-1]:
            self._due.pop()
            return True
        return False
