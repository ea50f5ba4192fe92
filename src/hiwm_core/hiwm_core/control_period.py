"""The control period: the duration of one step in recordings, trained models and worlds.

A policy plans targets one period apart, and a world model has learned the effect of one period, so
neither is valid at another period. In imagination and in lock-step, a step represents the
embodiment's period, whatever time it takes. On a robot in real time, the period is measured from
the stamps of the ticks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.errors import CheckpointError

# Periods that differ by more than this factor are different. Medians of one controller scatter by a
# few per cent; 10 and 12 Hz must be distinguished.
APART = 1.15
# Fewer intervals are not a reliable measurement.
LEAST_INTERVALS = 10
UNKNOWN = -1.0  # in lineage and stores


@dataclass(frozen=True, kw_only=True)
class ControlPeriod:
    """Seconds from one step to the next. Values that were not measured are `UNKNOWN`."""

    nominal_s: float
    median_s: float = UNKNOWN
    p5_s: float = UNKNOWN
    p95_s: float = UNKNOWN

    @property
    def seconds(self) -> float:
        """Duration of one step: measured if known, else nominal."""
        return self.median_s if self.median_s > 0.0 else self.nominal_s

    def alike(self, other: "ControlPeriod") -> bool:
        """Return whether steps of both may be mixed."""
        return alike(self.nominal_s, other.nominal_s) and alike(self.seconds, other.seconds)

    def __str__(self) -> str:
        text = _text(self.nominal_s)
        return f"{text}, measured {_text(self.median_s)}" if self.median_s > 0.0 else text


def alike(one_s: float, other_s: float) -> bool:
    """Return whether two periods count as equal."""
    return max(one_s, other_s) <= APART * min(one_s, other_s)


def measured_period(
    nominal_s: float, stamps_ns: Sequence[int] | NDArray[np.int64],
    steps: Sequence[int] | NDArray[np.int64],
) -> ControlPeriod:
    """Return the period of ticks, measured from their stamps if there are enough.

    Args:
        nominal_s: the commanded period.
        stamps_ns: [T] stamps of a robot's ticks.
        steps: [T]; only intervals between consecutive steps are used.
    """
    intervals: NDArray[np.float64] = np.diff(np.asarray(stamps_ns, np.int64)).astype(float) * 1e-9
    # Intervals in which the clock was set back are not used.
    intervals = intervals[(np.diff(np.asarray(steps, np.int64)) == 1) & (intervals > 0.0)]
    if len(intervals) < LEAST_INTERVALS:
        return ControlPeriod(nominal_s=nominal_s)
    p5, median, p95 = (round(float(q), 6) for q in np.quantile(intervals, (0.05, 0.5, 0.95)))
    return ControlPeriod(nominal_s=nominal_s, median_s=median, p5_s=p5, p95_s=p95)


def require_period(trained_s: float, world_s: float, what: str, where: str) -> None:
    """Raise CheckpointError if a model trained at one period would run at another.

    Args:
        trained_s: period of its training data.
        world_s: period of the world.
        what: kind of model, for the message.
        where: its file.
    """
    if not alike(trained_s, world_s):
        raise CheckpointError(
            f"the {what} was trained at {_text(trained_s)}, but the world runs at "
            f"{_text(world_s)}", where=where,
            remedy=f"run a robot at {1.0 / trained_s:.3g} ticks/s (world/set_rate), or rebuild "
            f"the data with --resample-to {1.0 / world_s:.3g} and train again",
        )


def _text(seconds: float) -> str:
    if not seconds > 0.0 or not math.isfinite(seconds):
        return "unknown"
    return f"{seconds:.3f} s ({1.0 / seconds:.3g} Hz)"
