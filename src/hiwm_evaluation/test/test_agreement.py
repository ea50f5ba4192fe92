"""Correlations and rank violations between two worlds, and their intervals."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hiwm_evaluation.agreement import (
    Statistic,
    bootstrap_estimate,
    mean_maximum_rank_violation,
    pearson,
    spearman,
)

# Rates of RT-2-X, RT-1 (converged, 15 %), RT-1-X, RT-1 (begin) and Octo as published with SIMPLER
# (simpler_env/utils/metrics.py, arXiv 2405.05941): real, and simulated with visual matching.
COKE_REAL = [0.907, 0.853, 0.920, 0.760, 0.133, 0.293]
COKE_SIMULATED = [0.787, 0.857, 0.710, 0.567, 0.027, 0.170]
NEAR_REAL = [0.733, 0.633, 0.583, 0.450, 0.017, 0.350]
NEAR_SIMULATED = [0.779, 0.442, 0.354, 0.317, 0.050, 0.042]

# Multiples of 1/50, as rates are, so that ties and orders are exact.
RATE = st.integers(0, 50).map(lambda count: count / 50)
POLICIES = st.lists(st.tuples(RATE, RATE), min_size=2, max_size=9)


def test_mmrv_of_the_policies_of_simpler() -> None:
    # By hand: RT-1 (15 %) is ahead of the converged one by .067 and of RT-2-X by .013 in reality
    # and behind both in simulation, RT-2-X ahead of the converged one by .054; the rest is right.
    assert mean_maximum_rank_violation(COKE_SIMULATED, COKE_REAL) == pytest.approx(
        (0.054 + 0.067 + 0.067) / 6
    )
    # Octo and RT-1 (begin), .333 apart, are swapped.
    assert mean_maximum_rank_violation(NEAR_SIMULATED, NEAR_REAL) == pytest.approx(2 * 0.333 / 6)


def test_pearson_of_anscombe() -> None:
    # The first set of Anscombe, "Graphs in statistical analysis", The American Statistician 27
    # (1973): r = 0.81642.
    x = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
    assert pearson(x, y) == pytest.approx(0.81642, abs=5e-6)


def test_spearman_without_and_with_ties() -> None:
    # Without ties 1 - 6 sum d^2 / (n (n^2 - 1)) holds: d^2 sum to 194, n = 10, so -29/165.
    x = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
    y = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    assert spearman(x, y) == pytest.approx(-29 / 165)
    # By hand: ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4, products sum to 4.5, squares to 4.5 and 5.
    assert spearman([1, 2, 2, 3], [1, 3, 2, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5.0))


def test_mmrv_by_hand() -> None:
    # The first two are in the wrong order and 0.4 apart, the third is right: (0.4 + 0.4 + 0) / 3.
    assert mean_maximum_rank_violation([0.6, 0.5, 0.9], [0.2, 0.6, 0.8]) == pytest.approx(0.8 / 3)
    # A tie in imagination is a violation only for the worse one: (0.4 + 0) / 2.
    assert mean_maximum_rank_violation([0.5, 0.5], [0.2, 0.6]) == pytest.approx(0.2)


@given(policies=POLICIES, scale=st.floats(0.1, 10.0), shift=st.floats(-5.0, 5.0))
def test_pearson_is_bounded_symmetric_and_independent_of_scale(
    policies: list[tuple[float, float]], scale: float, shift: float
) -> None:
    x, y = np.array(policies).T
    r = pearson(x, y)
    assume(not math.isnan(r))
    assert -1.0 <= r <= 1.0
    assert pearson(y, x) == pytest.approx(r, abs=1e-9)
    assert pearson(scale * x + shift, y) == pytest.approx(r, abs=1e-6)
    assert pearson(-x, y) == pytest.approx(-r, abs=1e-9)


@given(policies=POLICIES)
def test_spearman_depends_only_on_order(policies: list[tuple[float, float]]) -> None:
    x, y = np.array(policies).T
    rho = spearman(x, y)
    assume(not math.isnan(rho))
    assert -1.0 <= rho <= 1.0
    assert spearman(np.exp(3.0 * x), y**3) == pytest.approx(rho, abs=1e-12)
    assert spearman(x, x) == pytest.approx(1.0)


@given(policies=POLICIES, seed=st.integers(0, 99))
def test_mmrv_is_bounded_and_depends_only_on_the_order_in_imagination(
    policies: list[tuple[float, float]], seed: int
) -> None:
    x, y = np.array(policies).T
    mmrv = mean_maximum_rank_violation(x, y)
    assert 0.0 <= mmrv <= np.ptp(y) + 1e-12
    assert mean_maximum_rank_violation(np.exp(x), y) == mmrv
    order = np.random.default_rng(seed).permutation(len(x))
    assert mean_maximum_rank_violation(x[order], y[order]) == pytest.approx(mmrv)
    assert mean_maximum_rank_violation(y**3, y) == 0.0


@given(policies=POLICIES, seed=st.integers(0, 99))
def test_an_interval_repeats_and_stays_in_range(
    policies: list[tuple[float, float]], seed: int
) -> None:
    x, y = np.array(policies).T
    for statistic, least in ((pearson, -1.0), (spearman, -1.0), (mean_maximum_rank_violation, 0.0)):
        estimate = bootstrap_estimate(statistic, x, y, seed=seed, resamples=50)
        again = bootstrap_estimate(statistic, x, y, seed=seed, resamples=50)
        assert repr(again) == repr(estimate)
        if estimate.undefined < 50:
            assert least <= estimate.low <= estimate.high <= 1.0
        else:
            assert math.isnan(estimate.low) and math.isnan(estimate.high)


def test_resamples_without_a_correlation_are_left_out_and_counted() -> None:
    # Of two policies half the resamples are one policy twice; in the others r is 1.
    estimate = bootstrap_estimate(pearson, [0.2, 0.8], [0.3, 0.7], seed=0)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1.0, 1.0, 1.0))
    assert 2300 < estimate.undefined < 2700


def test_the_bootstrap_finds_the_spread_of_a_mean() -> None:
    # Of N values the bootstrap distribution of a mean is close to normal with std / sqrt(N).
    x = np.random.default_rng(5).normal(size=400)
    estimate = bootstrap_estimate(Statistic(lambda a, b: a.mean(axis=1)), x, x, seed=1)
    half = 1.96 * x.std() / 20.0
    assert estimate.low == pytest.approx(x.mean() - half, abs=0.006)
    assert estimate.high == pytest.approx(x.mean() + half, abs=0.006)


def test_rates_that_do_not_vary_have_no_correlation() -> None:
    assert math.isnan(pearson([0.1, 0.1, 0.1], [0.1, 0.2, 0.3]))
    assert math.isnan(spearman([0.1, 0.2], [0.5, 0.5]))


@pytest.mark.parametrize(
    ("x", "y"), [([1], [1]), ([1, 2], [1]), ([[1, 2]], [[1, 2]]), ([1, math.nan], [1, 2])]
)
def test_rates_that_are_not_paired_are_refused(x: list[float], y: list[float]) -> None:
    for statistic in (pearson, spearman, mean_maximum_rank_violation):
        with pytest.raises(ValueError, match="rate"):
            statistic(x, y)


def test_an_impossible_confidence_is_refused() -> None:
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_estimate(pearson, [0, 1], [0, 1], seed=0, confidence=1.0)
