"""The ramp from a person's last target to the plan."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_control.handback import HandbackRamp

numbers = st.floats(-1.0, 1.0)


@given(
    start=st.tuples(numbers, numbers), planned=st.tuples(numbers, numbers), ticks=st.integers(0, 12)
)
def test_no_step_exceeds_an_equal_share_of_the_gap(
    start: tuple[float, float], planned: tuple[float, float], ticks: int
) -> None:
    ramp = HandbackRamp(start, ticks)
    targets = [np.array(start)]
    while not ramp.done:
        targets.append(ramp.blend(planned))
    targets.append(np.array(planned))
    assert len(targets) == ticks + 2
    share = np.abs(np.subtract(planned, start)) / (ticks + 1)
    steps = np.abs(np.diff(np.array(targets), axis=0))
    assert np.all(steps <= share + 1e-12)


def test_a_moving_plan_is_followed_and_met() -> None:
    ramp = HandbackRamp([0.0], 4)
    plans = [1.0, 1.1, 1.2, 1.3]
    targets = [float(ramp.blend([value])[0]) for value in plans]
    assert targets == pytest.approx([0.2, 0.44, 0.72, 1.04])
    assert ramp.done
    np.testing.assert_array_equal(ramp.blend([1.4]), [1.4])


def test_the_start_is_copied() -> None:
    start = np.zeros(2)
    ramp = HandbackRamp(start, 1)
    start[:] = 9.0
    np.testing.assert_array_equal(ramp.blend([1.0, 1.0]), [0.5, 0.5])
