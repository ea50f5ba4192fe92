"""Statistics of trials: success rates and their differences, with intervals.

Tested by ``test_statistics.py``. ``agreement.py`` has the agreement of worlds over policies.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

Interval = tuple[float, float]  # low, high


@dataclass(frozen=True, kw_only=True)
class PairedCounts:
    """Outcomes of trials that were run twice, from equal starts with equal seeds."""

    both: int  # succeeded both times
    first_only: int
    second_only: int
    neither: int

    @property
    def trials(self) -> int:
        """Number of pairs."""
        return self.both + self.first_only + self.second_only + self.neither

    @property
    def difference(self) -> float:
        """Rate of the first minus rate of the second, -1..1; NaN without pairs."""
        return (self.first_only - self.second_only) / self.trials if self.trials else math.nan


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of a success rate, both ends in 0..1.

    Formula: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927). Without trials the interval is (0, 1).

    Raises:
        ValueError: counts or confidence out of range.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials are impossible")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence}: use a value between 0 and 1")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    rate = successes / trials
    scale = 1.0 + z * z / trials
    middle = (rate + z * z / (2.0 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1.0 - rate) / trials + (z / (2.0 * trials)) ** 2)
    # With no or only successes one end is exactly 0 or 1; rounding must not exceed it.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == trials else min(1.0, middle + half)
    return low, high


def difference_interval(
    first: tuple[int, int], second: tuple[int, int], confidence: float = 0.95
) -> Interval:
    """Return the interval of rate(first) - rate(second) of independent trials, in -1..1.

    Method 10 of R. G. Newcombe, "Interval estimation for the difference between independent
    proportions: comparison of eleven methods", Statistics in Medicine 17 (1998), 873-890.

    Args:
        first: successes and trials. Without trials of either, the interval is (-1, 1).
        second: successes and trials.
        confidence: between 0 and 1.

    Raises:
        ValueError: counts or confidence out of range.
    """
    return _square_and_add(first, second, 0.0, confidence)


def paired_difference_interval(counts: PairedCounts, confidence: float = 0.95) -> Interval:
    """Return the interval of rate(first) - rate(second) of paired trials, in -1..1.

    Method 10 of R. G. Newcombe, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", Statistics in Medicine 17 (1998), 2635-2650: Wilson intervals
    of the two rates, combined with the continuity-corrected correlation of the pairs.

    Raises:
        ValueError: counts or confidence out of range.
    """
    if min(counts.both, counts.first_only, counts.second_only, counts.neither) < 0:
        raise ValueError(f"{counts}: counts must not be negative")
    first = counts.both + counts.first_only
    second = counts.both + counts.second_only
    n = counts.trials
    margins = first * (n - first) * second * (n - second)
    covariance = float(counts.both * counts.neither - counts.first_only * counts.second_only)
    if covariance > 0.0:
        covariance = max(covariance - n / 2.0, 0.0)
    correlation = covariance / math.sqrt(margins) if margins else 0.0
    return _square_and_add((first, n), (second, n), correlation, confidence)


def _square_and_add(
    first: tuple[int, int], second: tuple[int, int], correlation: float, confidence: float
) -> Interval:
    low_1, high_1 = wilson_interval(*first, confidence)
    low_2, high_2 = wilson_interval(*second, confidence)
    if first[1] == 0 or second[1] == 0:
        return -1.0, 1.0
    rate_1, rate_2 = first[0] / first[1], second[0] / second[1]

    def distance(one: float, other: float) -> float:
        square = one * one - 2.0 * correlation * one * other + other * other
        return math.sqrt(max(0.0, square))

    difference = rate_1 - rate_2
    low = difference - distance(rate_1 - low_1, high_2 - rate_2)
    high = difference + distance(high_1 - rate_1, rate_2 - low_2)
    return max(-1.0, low), min(1.0, high)
