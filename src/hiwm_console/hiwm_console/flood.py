"""Limits on how much a connection may say, and refusals that are logged once each."""

from collections import Counter
from collections.abc import Callable

# A page sends 30 drive messages and 30 acknowledgements a second at most; twice that, and bursts.
MOST_A_SECOND = 120.0
BURST = 240.0
# A page that sends on regardless is cut off after this many refused messages. They are forgotten at
# this rate, so that a page is not cut off for what it sent an hour ago.
PATIENCE = 2000
FORGOTTEN_A_SECOND = 10.0


class Bucket:
    """Lets `rate` events a second through, and `burst` at once. Steady seconds are passed in."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._level, self._at = burst, now

    def take(self, now: float) -> bool:
        """Return whether one more event fits."""
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


class Refusals:
    """Counts what was refused and says each kind of it once.

    Args:
        log: called with a line for people.
    """

    # Kinds kept apart; beyond them all are one, so that nobody fills the log with inventions.
    MOST_KINDS = 100

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._counts: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Everything refused so far."""
        return self._counts.total()

    def note(self, reason: str) -> None:
        """Take note of one refusal."""
        if reason not in self._counts and len(self._counts) >= self.MOST_KINDS:
            reason = "of many other kinds"
        self._counts[reason] += 1
        if self._counts[reason] == 1:
            self._log(f"refused: {reason} (said once, counted on /diagnostics)")
