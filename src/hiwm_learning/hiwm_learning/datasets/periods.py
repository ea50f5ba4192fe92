"""One control period per training set: other segments are refused, or resampled on request.

Tested by test_datasets_periods.py.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from threading import Lock

from hiwm_core.bags import Segment
from hiwm_core.bags.resample import resampled_path, segment_period
from hiwm_core.control_period import APART, ControlPeriod
from hiwm_core.errors import BagError


class OnePeriod:
    """Accepts segments of one control period. Thread-safe.

    Args:
        resample_hz: resample every segment to this rate; None refuses mixed rates.
    """

    def __init__(self, resample_hz: float | None = None) -> None:
        self._resample_hz = resample_hz
        self._lock = Lock()
        self._first: tuple[Segment, ControlPeriod] | None = None
        self._seen: list[ControlPeriod] = []

    def admit(self, segment: Segment) -> Segment:
        """Return the segment, resampled if requested.

        Raises:
            BagError: its period differs from the others' (the error names both), or its rate is
                too low to resample.
        """
        return self.admit_path([segment])[0]

    def admit_path(self, path: Sequence[Segment]) -> list[Segment]:
        """Return the segments of a path through the tree, resampled together if requested.

        Raises:
            BagError: as `admit`.
        """
        if self._resample_hz is not None:
            path = resampled_path(path, 1.0 / self._resample_hz)
        for segment in path:
            self._check(segment)
        return list(path)

    def _check(self, segment: Segment) -> None:
        period = segment_period(segment)
        with self._lock:
            self._first = self._first or (segment, period)
            first, others = self._first
            self._seen.append(period)
        if not period.alike(others):
            slowest = max(period.seconds, others.seconds)
            raise BagError(
                f"a control period of {period}; {first.path} has {others}",
                where=str(segment.path),
                remedy=f"use bags of one control period, or resample all with "
                f"--resample-to {1.0 / slowest:.3g} (periods differ if their ratio is {APART:g} "
                "or more)",
            )

    @property
    def seconds(self) -> float:
        """Nominal period of the accepted segments, s."""
        return statistics.median(period.nominal_s for period in self._seen)


def add_resample_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that resamples bags to one control rate."""
    parser.add_argument(
        "--resample-to", type=_rate, metavar="HZ",
        help="resample every segment to this control rate; without it, segments of different "
        "control periods are refused",
    )


def _rate(text: str) -> float:
    rate = float(text)
    if not 0.0 < rate < math.inf:
        raise argparse.ArgumentTypeError("give a rate above 0, in control steps per second")
    return rate
