"""Interlocks: topics that must report a fine value. Not an emergency stop.

The first value that is not fine trips the bridge; a value that is fine again does not release it.
Tested by ``test_interlocks.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hiwm_core.robots.safety import FineRange, Interlock


@dataclass(frozen=True, kw_only=True)
class _Seen:
    value: object
    at: float  # steady clock [s]


class Interlocks:
    """The newest value of each interlock.

    Args:
        interlocks: of the robot file, by name.
    """

    def __init__(self, interlocks: Mapping[str, Interlock]) -> None:
        self._interlocks = interlocks
        self._seen: dict[str, _Seen] = {}

    def receive(self, name: str, value: object, now: float) -> None:
        """Record a value; now is the steady clock [s]."""
        self._seen[name] = _Seen(value=value, at=now)

    def problem(self, now: float) -> str:
        """Return which interlocks are not fine, or an empty string.

        A topic that was never heard is not fine: its driver may be missing.
        """
        problems = (self._one(name, lock, now) for name, lock in self._interlocks.items())
        return "; ".join(problem for problem in problems if problem)

    def _one(self, name: str, lock: Interlock, now: float) -> str:
        seen = self._seen.get(name)
        if seen is None:
            hint = "; if its driver does not latch it, set latched: false" if lock.latched else ""
            return f"interlock {name}: nothing on {lock.topic} yet{hint}"
        if lock.stale_after_s is not None and now - seen.at > lock.stale_after_s:
            return f"interlock {name}: nothing on {lock.topic} for over {lock.stale_after_s:g} s"
        if lock.is_fine(seen.value):
            return ""
        fine = lock.fine
        wanted = (
            f"{fine.lower:g} to {fine.upper:g}" if isinstance(fine, FineRange)
            else " or ".join(str(value) for value in fine)
        )
        return f"interlock {name}: {lock.topic} {lock.field} is {seen.value}, not {wanted}"
