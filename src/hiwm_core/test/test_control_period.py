"""Commanded and measured periods, and which count as equal."""

import numpy as np
import pytest

from hiwm_core.control_period import (
    UNKNOWN,
    ControlPeriod,
    alike,
    measured_period,
    require_period,
)
from hiwm_core.errors import CheckpointError


def test_the_period_is_measured_if_there_are_enough_stamps() -> None:
    rng = np.random.default_rng(0)
    steps = np.arange(60)
    stamps = (1e9 + 2e8 * steps + rng.uniform(0, 5e6, 60)).astype(np.int64)
    stamps[30:] -= 3600 * 10**9  # a clock that was set back
    stamps[40:] += 10**10  # a pause
    found = measured_period(0.1, stamps, steps)
    assert found.median_s == pytest.approx(0.2, abs=0.003) and found.seconds == found.median_s
    assert 0.19 < found.p5_s <= found.median_s <= found.p95_s < 0.21
    few = measured_period(0.1, stamps[:10], steps[:10])
    assert (few.median_s, few.seconds) == (UNKNOWN, 0.1)
    # Every other step was lost: no interval is known.
    assert measured_period(0.1, stamps, 2 * steps).median_s == UNKNOWN


@pytest.mark.parametrize(("one_hz", "other_hz", "same"), [
    (10, 10, True), (10, 10.5, True), (10, 12, False), (10, 20, False), (10, 8, False),
])
def test_periods_that_count_as_equal(one_hz: float, other_hz: float, same: bool) -> None:
    assert alike(1 / one_hz, 1 / other_hz) is same
    assert alike(1 / other_hz, 1 / one_hz) is same
    one = ControlPeriod(nominal_s=0.1, median_s=1 / one_hz)
    assert one.alike(ControlPeriod(nominal_s=0.1, median_s=1 / other_hz)) is same


def test_a_model_trained_at_another_period_is_refused_with_both_named() -> None:
    require_period(0.1, 0.102, "policy", "p.safetensors")
    with pytest.raises(CheckpointError, match="0.100 s \\(10 Hz\\).*0.200 s \\(5 Hz\\)") as caught:
        require_period(0.1, 0.2, "policy", "p.safetensors")
    assert "--resample-to 5" in str(caught.value)
