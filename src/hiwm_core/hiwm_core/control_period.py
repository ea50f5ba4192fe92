"""The control period: how long one step lasts, of a recording, of what learned from it, of a world.

A policy plans targets a period apart and a world model learnt what a period does, so neither is
worth anything at another one. In imagination and in lock-step a step stands for the embodiment's
period, however long the clock took. On a robot in real time the stamps of its ticks tell.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import parse_embodiment
from hiwm_core.errors import CheckpointError, ConfigError

# Periods further apart than this factor are different. Medians of one controller scatter by a few
# per cent; 10 and 12 Hz are told apart.
APART = 1.15
# Fewer intervals say nothing of a controller.
LEAST_INTERVALS = 10
UNKNOWN = -1.0  # in lineage and stores


@dataclass(frozen=True, kw_only=True)
class ControlPeriod:
    """Seconds from one step to the next. Measured values are `UNKNOWN` where nothing was."""

    nominal_s: float
    median_s: float = UNKNOWN
    p5_s: float = UNKNOWN
    p95_s: float = UNKNOWN

    @property
    def seconds(self) -> float:
        """What one step lasted: measured where it was, else nominal."""
        return self.median_s if self.median_s > 0.0 else self.nominal_s

    def alike(self, other: "ControlPeriod") -> bool:
        """Return whether steps of both may be mixed."""
        return alike(self.nominal_s, other.nominal_s) and alike(self.seconds, other.seconds)

    def __str__(self) -> str:
        text = _text(self.nominal_s)
        return f"{text}, measured {_text(self.median_s)}" if self.median_s > 0.0 else text


def alike(one_s: float, other_s: float) -> bool:
    """Return whether two periods count as one."""
    return max(one_s, other_s) <= APART * min(one_s, other_s)


def nominal_period(kind: str, rate: float, embodiment_yaml: str) -> float:
    """Return the period a world is commanded at, s; `UNKNOWN` without a readable embodiment.

    Args:
        kind: of the world, imagination or hardware.
        rate: of its world_info. In imagination it only paces; 0 is lock-step.
        embodiment_yaml: its text.
    """
    if kind == "hardware" and rate > 0.0:
        return 1.0 / rate
    try:
        return 1.0 / parse_embodiment(embodiment_yaml, "world_info").rate_hz
    except ConfigError:
        return UNKNOWN


def measured_period(
    nominal_s: float, stamps_ns: Sequence[int] | NDArray[np.int64],
    steps: Sequence[int] | NDArray[np.int64],
) -> ControlPeriod:
    """Return the period of ticks, measured from their stamps where there are enough of them.

    Args:
        nominal_s: commanded.
        stamps_ns: [T] of a robot's ticks.
        steps: [T]; intervals count between consecutive ones.
    """
    intervals: NDArray[np.float64] = np.diff(np.asarray(stamps_ns, np.int64)).astype(float) * 1e-9
    # A clock that was set back says nothing.
    intervals = intervals[(np.diff(np.asarray(steps, np.int64)) == 1) & (intervals > 0.0)]
    if len(intervals) < LEAST_INTERVALS:
        return ControlPeriod(nominal_s=nominal_s)
    p5, median, p95 = (round(float(q), 6) for q in np.quantile(intervals, (0.05, 0.5, 0.95)))
    return ControlPeriod(nominal_s=nominal_s, median_s=median, p5_s=p5, p95_s=p95)


def require_period(trained_s: float, world_s: float, what: str, where: str) -> None:
    """Raise CheckpointError where something learnt at one period would run at another.

    Args:
        trained_s: of what it learnt from.
        world_s: of the world.
        what: it is, for the message.
        where: its file.
    """
    if not alike(trained_s, world_s):
        raise CheckpointError(
            f"the {what} learnt from steps of {_text(trained_s)}, the world's are "
            f"{_text(world_s)}", where=where,
            remedy=f"run a robot at {1.0 / trained_s:.3g} ticks/s (world/set_rate), or build the "
            f"data again with --resample-to {1.0 / world_s:.3g} and train",
        )


def _text(seconds: float) -> str:
    if not seconds > 0.0 or not math.isfinite(seconds):
        return "unknown"
    return f"{seconds:.3f} s ({1.0 / seconds:.3g} Hz)"
