"""Joint controllers of a simulated robot: they check a command, then follow it in time.

There are two kinds, as in ros2_control. A trajectory runs from the present target through its
points. A forward command sets the target at once. Both hold the last target forever. An invalid
command is refused as a whole and leaves the target unchanged.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class JointController:
    """Targets of the joints over time.

    Args:
        joint_names: joints in the order of the targets, [A].
        home: initial targets, [A].
    """

    def __init__(self, joint_names: Sequence[str], home: Sequence[float]) -> None:
        self._names = tuple(joint_names)
        self._home = np.array(home, dtype=np.float64)
        self.reset()

    def reset(self) -> None:
        """Hold home, and forget the command being followed."""
        # Remaining waypoints: time [s] and target, in order of time.
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
            The reason for a refusal, or an empty string.
        """
        if sorted(names) != sorted(self._names):
            return f"joints are {list(names)}, expected {list(self._names)}"
        if not points:
            return "trajectory has no points"
        order = [list(names).index(name) for name in self._names]
        ahead: list[tuple[float, Array]] = []
        last = 0.0
        for positions, seconds in points:
            problem = self._problem(positions)
            if problem:
                return problem
            if seconds < last or (ahead and seconds == last):
                return f"time_from_start {seconds} s follows {last} s"
            last = seconds
            ahead.append((now + seconds, np.array(positions, dtype=np.float64)[order]))
        self._from = (now, self.target(now))
        self._ahead = ahead
        self._jump = False
        return ""

    def jump(self, values: Sequence[float], now: float) -> str:
        """Set targets [A] at once; return the reason for a refusal, or an empty string."""
        problem = self._problem(values)
        if problem:
            return problem
        self._from = (now, np.array(values, dtype=np.float64))
        self._ahead = []
        self._jump = True
        return ""

    def target(self, now: float) -> Array:
        """Return the target [A] at a time at or after the last command."""
        start, value = self._from
        for end, target in self._ahead:
            if now < end:
                return value + (now - start) / (end - start) * (target - value)
            start, value = end, target
        return value.copy()

    @property
    def jumps(self) -> bool:
        """Whether the target is set at once, or rests; else it moves in straight lines."""
        return self._jump or not self._ahead

    def bends(self, start: float, end: float, step: float) -> list[float]:
        """Return the times [s] between two times at which the trajectory bends.

        Args:
            start: [s]
            end: [s]
            step: of the physics [s]; times are rounded to a whole number of steps from the start.
        """
        if self._jump:
            return []
        counts = {round((time - start) / step) for time, _ in self._ahead if start < time < end}
        last = round((end - start) / step)
        return [start + count * step for count in sorted(counts) if 0 < count < last]

    def _problem(self, values: Sequence[float]) -> str:
        if len(values) != len(self._names):
            return f"{len(values)} values for {len(self._names)} joints"
        if not np.all(np.isfinite(np.asarray(values, dtype=np.float64))):
            return f"values are not finite: {list(values)}"
        return ""
