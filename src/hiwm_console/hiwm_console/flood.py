"""Rate limits for connections, and refusals that are logged once each."""

from collections import Counter
from collections.abc import Callable

# A headset's page sends at most 100 drive messages a second, and 60 acknowledgements of frames if
# four cameras run at 15 Hz. Other pages send far fewer.
MOST_A_SECOND = 200.0
BURST = 400.0
# A page that keeps sending is disconnected after this many refused messages. They are forgotten at
# this rate, so that a page is not disconnected for what it sent an hour ago.
PATIENCE = 2000
FORGOTTEN_A_SECOND = 10.0


class Bucket:
    """Token bucket: allows `rate` events a second and bursts of `burst`; takes steady seconds."""

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
    """Counts refusals and logs each kind once.

    Args:
        log: called with a log line.
    """

    # Number of kinds counted separately; further ones share a counter, so that nobody can fill the
    # log with invented kinds.
    MOST_KINDS = 100

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._counts: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Number of refusals so far."""
        return self._counts.total()

    def note(self, reason: str) -> None:
        """Count one refusal."""
        if reason not in self._counts and len(self._counts) >= self.MOST_KINDS:
            reason = "many other kinds"
        self._counts[reason] += 1
        if self._counts[reason] == 1:
            self._log(f"refused: {reason} (logged once, counted on /diagnostics)")
