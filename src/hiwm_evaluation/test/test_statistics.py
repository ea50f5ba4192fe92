"""The interval that goes with every success rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_evaluation.statistics import wilson_interval


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
def test_an_interval_holds_the_rate_mirrors_and_stays_in_range(
    data: st.DataObject, trials: int, confidence: float
) -> None:
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials, confidence)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    mirrored = wilson_interval(trials - successes, trials, confidence)
    assert mirrored == pytest.approx((1.0 - high, 1.0 - low), abs=1e-9)


def test_no_trials_say_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("counts", [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(*counts)


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, confidence)
