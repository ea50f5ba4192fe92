"""What a robot's joint controllers do with a command: check it, then follow it in time.

Two kinds, as ros2_control has them: a trajectory is followed from the present target through its
points; a forward command is the target from now on. Either holds its last target for ever, and
a command that cannot be followed is refused whole, leaving the target as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of time with one target."""

    seconds: float
    target: Array  # [A], m or rad, reached at the end of the stretch when ramp, else at once
    ramp: bool


class JointController:
    """Targets of the joints over time.

    Args:
        joint_names: joints in the order of the targets, [A].
        home: targets to begin with, [A].
    """

    def __init__(self, joint_names: Sequence[str], home: Sequence[float]) -> None:
        self._names = tuple(joint_names)
        self._home = np.array(home, dtype=np.float64)
        self.reset()

    def reset(self) -> None:
        """Hold home, forgetting what was being followed."""
        # Waypoints still ahead: time [s] and target, in order of time.
        self._ahead: list[tuple[float, Array]] = []
        self._from: tuple[float, Array] = (0.0, self._home.copy())
        self._jump = False

    def follow(
        self, names: Sequence[str], points: Sequence[tuple[Sequence[float], float]], now: float
    ) -> str:
        """Follow a trajectory from the present target.

        Args:
            names: joints in the order of each point's positions.
            points: positions and time from start [s] of each.
            now: the controller's time [s].

        Returns:
            Why it was refused; empty when it is followed.
        """
        if sorted(names) != sorted(self._names):
            return f"joints {list(names)} where {list(self._names)} are controlled"
        if not points:
            return "trajectory without points"
        order = [list(names).index(name) for name in self._names]
        ahead: list[tuple[float, Array]] = []
        last = 0.0
        for positions, seconds in points:
            problem = self._problem(positions)
            if problem:
                return problem
            if seconds < last or (ahead and seconds == last):
                return f"time_from_start {seconds} s after {last} s"
            last = seconds
            ahead.append((now + seconds, np.array(positions, dtype=np.float64)[order]))
        self._from = (now, self.target(now))
        self._ahead = ahead
        self._jump = False
        return ""

    def jump(self, values: Sequence[float], now: float) -> str:
        """Take targets [A] at once; returns why they were refused, or an empty string."""
        problem = self._problem(values)
        if problem:
            return problem
        self._from = (now, np.array(values, dtype=np.float64))
        self._ahead = []
        self._jump = True
        return ""

    def target(self, now: float) -> Array:
        """Return the target [A] at a time not before the last command."""
        start, value = self._from
        for end, target in self._ahead:
            if now < end:
                return value + (now - start) / (end - start) * (target - value)
            start, value = end, target
        return value.copy()

    def segments(self, start: float, end: float) -> list[Segment]:
        """Return the targets between two times [s], split where the trajectory bends."""
        if self._jump or not self._ahead:
            return [Segment(seconds=end - start, target=self._from[1].copy(), ramp=False)]
        times = [start, *(t for t, _ in self._ahead if start < t < end), end]
        return [
            Segment(seconds=right - left, target=self.target(right), ramp=True)
            for left, right in zip(times[:-1], times[1:], strict=True)
        ]

    def _problem(self, values: Sequence[float]) -> str:
        if len(values) != len(self._names):
            return f"{len(values)} values for {len(self._names)} joints"
        if not np.all(np.isfinite(np.asarray(values, dtype=np.float64))):
            return f"values that are not finite: {list(values)}"
        return ""
