"""How well one world predicts another: success rates of the same policies in both.

Tested by ``test_agreement.py``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core import rank_statistics

Rates = NDArray[np.float64]  # [N], one per policy
Statistic = Callable[[Rates, Rates], float]

# Enough for percentile intervals to be stable to their last printed digit.
RESAMPLES = 5000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic and its percentile bootstrap interval; NaN where undefined."""

    value: float
    low: float
    high: float
    undefined: int  # resamples without a value of the statistic, left out of the interval


def pearson(imagined: ArrayLike, real: ArrayLike) -> float:
    """Return Pearson's correlation, -1..1; NaN if either side is constant.

    Raises:
        ValueError: not two lists of equal length with two or more finite numbers.
    """
    x, y = _paired(imagined, real)
    # Subtracting the mean of equal values can leave a rounding error.
    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return math.nan
    # Scaled first, so that squares of tiny deviations do not underflow.
    dx = (x - x.mean()) / np.ptp(x)
    dy = (y - y.mean()) / np.ptp(y)
    correlation = float(dx @ dy / math.sqrt(float(dx @ dx) * float(dy @ dy)))
    return min(1.0, max(-1.0, correlation))


def spearman(imagined: ArrayLike, real: ArrayLike) -> float:
    """Return Spearman's rank correlation, -1..1; NaN if either side is constant.

    Raises:
        ValueError: as in `pearson`.
    """
    return rank_statistics.spearman(*_paired(imagined, real))


def mean_maximum_rank_violation(imagined: ArrayLike, real: ArrayLike) -> float:
    """Return MMRV, the cost in real success rate of wrong ranks in imagination, 0..1, 0 is best.

    ::

        violation(i, j) = |real_i - real_j| [(imagined_i < imagined_j) != (real_i < real_j)]
        MMRV = 1/N sum_i max_j violation(i, j)

    Source: X. Li et al., "Evaluating Real-World Robot Manipulation Policies in Simulation"
    (SIMPLER), arXiv 2405.05941. As there, a tie only in imagination is a violation for the policy
    that is worse in reality.

    Raises:
        ValueError: not two lists of equal length with two or more finite numbers.
    """
    x, y = _paired(imagined, real)
    wrong = (x[:, None] < x[None, :]) != (y[:, None] < y[None, :])
    return float(np.mean(np.max(np.abs(y[:, None] - y[None, :]) * wrong, axis=1)))


def bootstrap_estimate(
    statistic: Statistic, imagined: ArrayLike, real: ArrayLike, *, seed: int,
    confidence: float = 0.95, resamples: int = RESAMPLES,
) -> Estimate:
    """Return a statistic with its percentile bootstrap interval over policies.

    Source: B. Efron and R. Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3.
    A resample that draws one policy N times has no correlation; it is left out and counted.

    Args:
        statistic: of two lists of rates, for example `pearson`.
        imagined: rates [N] in imagination.
        real: rates [N] of the same policies in reality.
        seed: of the resamples; equal seeds give equal intervals.
        confidence: between 0 and 1.
        resamples: number of resamples.

    Raises:
        ValueError: as in the statistic, or confidence is out of range.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence}: use a value between 0 and 1")
    x, y = _paired(imagined, real)
    draws = np.random.default_rng(seed).integers(0, len(x), (resamples, len(x)))
    values = np.array([statistic(x[draw], y[draw]) for draw in draws])
    defined = values[~np.isnan(values)]
    tails = [50.0 * (1.0 - confidence), 50.0 * (1.0 + confidence)]
    low, high = np.percentile(defined, tails) if len(defined) else (math.nan, math.nan)
    return Estimate(
        value=statistic(x, y), low=float(low), high=float(high),
        undefined=int(resamples - len(defined)),
    )


def _paired(imagined: ArrayLike, real: ArrayLike) -> tuple[Rates, Rates]:
    x, y = np.asarray(imagined, np.float64), np.asarray(real, np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ValueError(
            f"rates of shapes {x.shape} and {y.shape}: give one rate per policy, for two or more"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a rate is not finite: leave out policies without trials")
    return x, y
