"""Message stamps in nanoseconds, for live messages and for messages decoded from a bag."""

from typing import Any


def stamp_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
