"""The intervals of success rates and of their differences."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_evaluation.statistics import (
    PairedCounts,
    difference_interval,
    paired_difference_interval,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Published values of the Wilson score interval at 95 %.
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_known_intervals(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(data=st.data(), trials=st.integers(1, 500), confidence=st.floats(0.5, 0.999))
def test_an_interval_contains_the_rate_mirrors_and_stays_in_range(
    data: st.DataObject, trials: int, confidence: float
) -> None:
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials, confidence)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    mirrored = wilson_interval(trials - successes, trials, confidence)
    assert mirrored == pytest.approx((1.0 - high, 1.0 - low), abs=1e-9)


def test_without_trials_the_interval_is_everything() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("counts", [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(*counts)


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, confidence)


# Table II of Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10.
@pytest.mark.parametrize(
    ("first", "second", "interval"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((6, 7), (2, 7), (0.0582, 0.8062)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ],
)
def test_published_differences_of_independent_trials(
    first: tuple[int, int], second: tuple[int, int], interval: tuple[float, float]
) -> None:
    assert difference_interval(first, second) == pytest.approx(interval, abs=5.1e-5)


# Table III of Newcombe, Statistics in Medicine 17 (1998), 2635-2650, method 10; and the example of
# Fagerland, Lydersen and Laake, "Statistical Analysis of Contingency Tables" (2017), chapter 8.
@pytest.mark.parametrize(
    ("cells", "interval"),
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        ((20, 12, 2, 16), (0.0562, 0.3292)),
        ((36, 14, 0, 0), (0.1528, 0.4167)),
        ((18, 14, 0, 18), (0.1441, 0.3963)),
        ((1, 97, 1, 1), (0.8736, 0.9850)),
        ((0, 30, 0, 0), (0.8395, 1.0)),
        ((54, 0, 0, 0), (-0.0664, 0.0664)),
        ((27, 0, 0, 27), (-0.0351, 0.0351)),
        ((59, 6, 16, 80), (-0.1186, -0.0046)),
    ],
)
def test_published_differences_of_paired_trials(
    cells: tuple[int, int, int, int], interval: tuple[float, float]
) -> None:
    assert paired_difference_interval(paired(*cells)) == pytest.approx(interval, abs=1e-4)


def paired(both: int, first_only: int, second_only: int, neither: int) -> PairedCounts:
    return PairedCounts(
        both=both, first_only=first_only, second_only=second_only, neither=neither
    )


RATES = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
CELLS = st.tuples(*[st.integers(0, 60)] * 4).filter(any)


@given(first=RATES, second=RATES)
def test_a_difference_lies_within_turns_its_sign_and_mirrors(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    low, high = difference_interval(first, second)
    difference = first[0] / first[1] - second[0] / second[1]
    assert -1.0 <= low <= difference + 1e-12 and difference - 1e-12 <= high <= 1.0
    assert difference_interval(second, first) == pytest.approx((-high, -low), abs=1e-12)
    failures = [(n - k, n) for k, n in (first, second)]
    assert difference_interval(*failures) == pytest.approx((-high, -low), abs=1e-9)


@given(cells=CELLS)
def test_a_paired_difference_lies_within_turns_its_sign_and_mirrors(
    cells: tuple[int, int, int, int]
) -> None:
    both, one, other, neither = cells
    counts = paired(*cells)
    low, high = paired_difference_interval(counts)
    assert -1.0 <= low <= counts.difference + 1e-12
    assert counts.difference - 1e-12 <= high <= 1.0
    turned = paired_difference_interval(paired(both, other, one, neither))
    assert turned == pytest.approx((-high, -low), abs=1e-12)
    mirrored = paired_difference_interval(paired(neither, other, one, both))
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


@given(n=st.integers(1, 40))
def test_pairs_that_always_agree_have_narrower_intervals_than_independent_trials(n: int) -> None:
    low, high = paired_difference_interval(paired(n, 0, 0, n))
    free_low, free_high = difference_interval((n, 2 * n), (n, 2 * n))
    assert high - low <= free_high - free_low
    assert low < 0.0 < high


def test_without_pairs_the_interval_is_everything() -> None:
    assert paired_difference_interval(paired(0, 0, 0, 0)) == (-1.0, 1.0)
    assert math.isnan(paired(0, 0, 0, 0).difference)
    assert difference_interval((0, 0), (3, 4)) == (-1.0, 1.0)


def test_impossible_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="not be negative"):
        paired_difference_interval(paired(1, -1, 0, 3))
