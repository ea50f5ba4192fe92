"""The start of a takeover: nothing jumps, nothing is lost, the latency is measured."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_teleop.takeover import BLEND_IN_S, BlendIn, TakeoverTimes


@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.booleans()), max_size=40))
def test_a_velocity_ramps_up_from_zero_at_each_takeover(
    script: list[tuple[float, bool]]
) -> None:
    blend, now, since = BlendIn(), 100.0, None
    for wait, in_control in script:
        now += wait
        share = blend.scale(now, in_control)
        if not in_control:
            since = None
            assert share == 0.0
            continue
        since = now if since is None else since
        assert share == pytest.approx(min((now - since) / BLEND_IN_S, 1.0))


def test_most_of_the_first_second_of_a_correction_moves_the_arm() -> None:
    blend = BlendIn()
    shares = [blend.scale(i * 0.01, True) for i in range(100)]
    assert sum(shares) / 100 > 0.8


def test_the_time_runs_from_the_press_to_the_first_frame_of_the_person() -> None:
    times = TakeoverTimes()
    assert math.isnan(times.quantile(0.5))
    for begun, frames in ((0.0, [0.05, 0.12]), (10.0, [10.02, 10.3])):
        times.deadman(True, False, begun)
        times.deadman(True, False, begun + 0.01)
        times.frame(False, frames[0])
        times.deadman(True, True, frames[0])
        times.frame(True, frames[1])
        times.frame(True, frames[1] + 0.1)
        times.deadman(False, True, frames[1] + 0.2)
    assert times.quantile(0.0) == pytest.approx(0.12)
    assert times.quantile(1.0) == pytest.approx(0.3)


def test_a_press_released_before_it_took_effect_is_not_timed() -> None:
    times = TakeoverTimes()
    times.deadman(True, False, 0.0)
    times.deadman(False, False, 0.1)
    times.frame(True, 0.2)
    times.deadman(True, True, 0.3)
    times.frame(True, 0.4)
    assert math.isnan(times.quantile(0.5))
