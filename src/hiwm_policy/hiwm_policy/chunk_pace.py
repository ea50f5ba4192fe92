"""When a moving arm needs its next chunk, and when its policy is too slow for it. No ROS.

A robot in real time does not wait. So the next chunk is planned while the last one is executed,
early enough to arrive before its end. A question goes with a new tick. If its answer takes between
L and L + 1 ticks, the last chunk still answers L ticks after that one, and the next question goes
with the tick after. So a chunk of H actions lasts until the next one if ``2 * L + 2 <= H``. A
slower policy makes the arm stop and go. Tested by `test_policies_pace.py`.
"""

import math
from collections import deque

# Latencies remembered; the longest of them is expected again.
_REMEMBERED = 8
# Chunks among which a second one that came too late means that the policy is too slow. A single
# late answer may be a moment's trouble in a network.
_AMONG = 4
# A robot that has stood still for so long is not waiting any more: its policy is lost, s.
PATIENCE_S = 1.0


class ChunkPace:
    """Tells how much of a chunk to execute, from measured latencies.

    Args:
        horizon: actions of a chunk.
        execute: actions to execute before the next chunk, if the policy is fast enough.
        period_s: time of one action, s.
    """

    def __init__(self, horizon: int, execute: int, period_s: float) -> None:
        self._horizon = horizon
        self._execute = execute
        self._period = period_s
        self._latencies: deque[float] = deque(maxlen=_REMEMBERED)
        self._in_time: deque[bool] = deque(maxlen=_AMONG)

    @property
    def ahead(self) -> int:
        """Return ticks to expect between a question and its answer."""
        return self._ticks(max(self._latencies, default=0.0))

    @property
    def execute(self) -> int:
        """Return the number of actions after which to ask for the next chunk, at least 1."""
        return max(1, min(self._execute, self._horizon - 1 - self.ahead))

    @property
    def bound_s(self) -> float:
        """Return the latency from which on the arm would stop and go, s."""
        return (self._horizon // 2) * self._period

    def answered(self, seconds: float, *, in_time: bool) -> None:
        """Record an answer: its latency, s, and whether it came before the arm had to wait."""
        self._latencies.append(seconds)
        self._in_time.append(in_time)

    def forget(self) -> None:
        """Start anew, after a pause: the server may have been replaced."""
        self._latencies.clear()
        self._in_time.clear()

    def too_slow(self, waited_s: float) -> bool:
        """Return whether to pause: the arm has waited at the end of a chunk for so long, s."""
        return waited_s > PATIENCE_S or self._in_time.count(False) > 1

    def reason(self, latency_s: float) -> str:
        """Return why the session pauses, and what helps.

        Args:
            latency_s: of the newest answer, or the time waited for it so far, s.
        """
        return (
            f"too slow for a moving robot: {latency_s:.2f} s for a plan, but a chunk of "
            f"{self._horizon} actions at {1.0 / self._period:.3g} Hz leaves {self.bound_s:.2f} s: "
            "use a faster policy or longer chunks, or slow the robot down (world/set_rate)"
        )

    def _ticks(self, seconds: float) -> int:
        return math.floor(seconds / self._period + 1e-9)
