"""How well one world foretells another: success rates of the same policies in both.

Held by ``test_agreement.py``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core import rank_statistics

Rates = NDArray[np.float64]  # [N], one a policy
Statistic = Callable[[Rates, Rates], float]

# Enough that the ends of a percentile interval move by less than their last printed digit.
RESAMPLES = 5000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic and its percentile bootstrap interval; NaN where it is not defined."""

    value: float
    low: float
    high: float
    undefined: int  # resamples in which the statistic does not exist, left out of the interval


def pearson(imagined: ArrayLike, real: ArrayLike) -> float:
    """Return Pearson's correlation, -1..1; NaN when either side does not vary.

    Raises:
        ValueError: not two lists of the same length, of two or more finite numbers.
    """
    x, y = _paired(imagined, real)
    # Equal values can leave a rounding error behind when their mean is subtracted.
    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return math.nan
    # Scaled first, so that squares of tiny deviations do not vanish.
    dx = (x - x.mean()) / np.ptp(x)
    dy = (y - y.mean()) / np.ptp(y)
    correlation = float(dx @ dy / math.sqrt(float(dx @ dx) * float(dy @ dy)))
    return min(1.0, max(-1.0, correlation))


def spearman(imagined: ArrayLike, real: ArrayLike) -> float:
    """Return Spearman's rank correlation, -1..1; NaN when either side does not vary.

    Raises:
        ValueError: as `pearson` does.
    """
    return rank_statistics.spearman(*_paired(imagined, real))


def mean_maximum_rank_violation(imagined: ArrayLike, real: ArrayLike) -> float:
    """Return MMRV: how much of the real rate a wrong order in imagination hides, 0..1, 0 is best.

    ::

        violation(i, j) = |real_i - real_j| [(imagined_i < imagined_j) != (real_i < real_j)]
        MMRV = 1/N sum_i max_j violation(i, j)

    Source: X. Li et al., "Evaluating Real-World Robot Manipulation Policies in Simulation"
    (SIMPLER), arXiv 2405.05941. As there, policies tied in imagination alone count as violated
    for the one that is worse in reality.

    Raises:
        ValueError: not two lists of the same length, of two or more finite numbers.
    """
    x, y = _paired(imagined, real)
    wrong = (x[:, None] < x[None, :]) != (y[:, None] < y[None, :])
    return float(np.mean(np.max(np.abs(y[:, None] - y[None, :]) * wrong, axis=1)))


def bootstrap_estimate(
    statistic: Statistic, imagined: ArrayLike, real: ArrayLike, *, seed: int,
    confidence: float = 0.95, resamples: int = RESAMPLES,
) -> Estimate:
    """Return a statistic with its percentile bootstrap interval, policies drawn with replacement.

    Source: B. Efron and R. Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3.
    A resample that draws one policy N times has no correlation; such are left out and counted.

    Args:
        statistic: of two lists of rates, for example `pearson`.
        imagined: rates [N] in imagination; `real` those of the same policies.
        real: see `imagined`.
        seed: draws the resamples; the same one gives the same interval.
        confidence: share between 0 and 1.
        resamples: how many.

    Raises:
        ValueError: as the statistic does, or a confidence that cannot be.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence}: use a share between 0 and 1")
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
            f"rates of shapes {x.shape} and {y.shape}: give both of the same two or more policies"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a rate is not finite: leave policies without trials out")
    return x, y
