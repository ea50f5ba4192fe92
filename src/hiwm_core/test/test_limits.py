"""The limits before every world: what passes and what never does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hiwm_core.embodiment import load_embodiment
from hiwm_core.limits import Limiter, LimiterState

EMBODIMENT = load_embodiment("planar_bimanual")
LIMITER = Limiter(EMBODIMENT)
LEASH = 0.12 / EMBODIMENT.rate_hz
ARMS = ((0, 1), (2, 3))
ROUNDING = 1e-11

Array = NDArray[np.float64]


def vectors(low: float, high: float) -> st.SearchStrategy[Array]:
    number = st.floats(low, high, allow_nan=False, width=64)
    return st.lists(number, min_size=4, max_size=4).map(np.array)


anything = vectors(-1e300, 1e300) | vectors(-0.3, 0.3)
inside = vectors(-0.18, 0.18)
anywhere = vectors(-0.25, 0.25)
steps = vectors(-0.012 / math.sqrt(2), 0.012 / math.sqrt(2))


def state(step: Array) -> LimiterState:
    return LimiterState(previous_step=step)


@given(requested=anything, measured=inside, step=steps)
def test_output_is_finite_in_the_box_and_on_the_leash(
    requested: Array, measured: Array, step: Array
) -> None:
    action = LIMITER.limit(requested, measured, state(step)).action
    assert np.all(np.isfinite(action))
    assert np.all(action >= EMBODIMENT.lower) and np.all(action <= EMBODIMENT.upper)
    for arm in ARMS:
        assert np.linalg.norm((action - measured)[list(arm)]) <= LEASH + ROUNDING


@given(requested=anything, measured=anywhere, step=vectors(-1.0, 1.0))
def test_an_arm_outside_the_box_is_never_sent_further_out(
    requested: Array, measured: Array, step: Array
) -> None:
    action = LIMITER.limit(requested, measured, state(step)).action
    assert np.all(action >= np.minimum(EMBODIMENT.lower, measured))
    assert np.all(action <= np.maximum(EMBODIMENT.upper, measured))
    for arm in ARMS:
        assert np.linalg.norm((action - measured)[list(arm)]) <= LEASH + ROUNDING


@given(start=inside, requests=st.lists(anything, min_size=1, max_size=20))
def test_an_arm_that_follows_never_leaves_the_box_nor_outruns_its_limits(
    start: Array, requests: list[Array]
) -> None:
    position, memory = start, LIMITER.initial_state()
    for requested in requests:
        result = LIMITER.limit(requested, position, memory)
        moved = result.action - position
        free = not result.box_limited
        for arm in ARMS:
            entries = list(arm)
            assert np.linalg.norm(moved[entries]) <= LEASH + ROUNDING
            if free:
                change = moved[entries] - memory.previous_step[entries]
                at_wall = np.any(
                    (result.action == EMBODIMENT.lower) | (result.action == EMBODIMENT.upper)
                )
                assert at_wall or np.linalg.norm(change) <= LEASH + ROUNDING
        position, memory = result.action, result.state


@given(measured=inside, requested=inside, step=steps)
def test_what_is_in_range_passes_unchanged_and_a_limited_action_passes_again(
    measured: Array, requested: Array, step: Array
) -> None:
    first = LIMITER.limit(requested, measured, state(step))
    if not first.limited:
        np.testing.assert_array_equal(first.action, requested)
    second = LIMITER.limit(first.action, measured, state(step))
    np.testing.assert_array_equal(second.action, first.action)
    assert not second.limited


@given(measured=anywhere, step=steps)
def test_requesting_the_measured_position_holds_it(measured: Array, step: Array) -> None:
    np.testing.assert_array_equal(LIMITER.hold(measured, "test").action, measured)
    held = LIMITER.limit(measured, measured, state(step))
    np.testing.assert_allclose(held.action, measured, atol=ROUNDING)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("index", range(4))
def test_a_request_that_is_not_finite_holds_and_names_the_entry(bad: float, index: int) -> None:
    measured = np.array([-0.15, -0.15, 0.15, -0.15])
    requested = measured + 0.01
    requested[index] = bad
    result = LIMITER.limit(requested, measured, state(np.full(4, 0.005)))
    np.testing.assert_array_equal(result.action, measured)
    np.testing.assert_array_equal(result.state.previous_step, np.zeros(4))
    assert result.held and result.limited
    assert EMBODIMENT.actions[index].name in result.reason and "not finite" in result.reason


@pytest.mark.parametrize("requested", [[], [0.0], [0.0] * 5, [[0.0] * 4], ["a"] * 4, None])
def test_a_request_of_another_shape_holds_with_a_reason(requested: object) -> None:
    measured = np.array([-0.15, -0.15, 0.15, -0.15])
    result = LIMITER.limit(requested, measured, LIMITER.initial_state())  # type: ignore[arg-type]
    np.testing.assert_array_equal(result.action, measured)
    assert result.held and result.reason


def test_a_far_target_is_approached_straight_at_full_speed() -> None:
    measured = np.zeros(4)
    result = LIMITER.limit([0.03, 0.04, 0.0, 0.0], measured, LIMITER.initial_state())
    np.testing.assert_allclose(result.action, [0.0072, 0.0096, 0.0, 0.0])
    assert result.velocity_limited and not result.box_limited and not result.held


def test_reversing_at_full_speed_takes_more_than_one_tick() -> None:
    result = LIMITER.limit(
        [-0.1, 0.0, 0.0, 0.0], np.zeros(4), state(np.array([0.012, 0.0, 0.0, 0.0]))
    )
    assert result.acceleration_limited
    np.testing.assert_allclose(result.action, np.zeros(4), atol=ROUNDING)


def test_one_arm_does_not_slow_the_other() -> None:
    result = LIMITER.limit([0.1, 0.0, 0.005, 0.0], np.zeros(4), LIMITER.initial_state())
    np.testing.assert_allclose(result.action, [0.012, 0.0, 0.005, 0.0])


def test_arguments_are_not_changed() -> None:
    requested, measured, step = np.full(4, 0.1), np.zeros(4), np.full(4, -0.005)
    LIMITER.limit(requested, measured, state(step))
    np.testing.assert_array_equal(requested, np.full(4, 0.1))
    np.testing.assert_array_equal(measured, np.zeros(4))
    np.testing.assert_array_equal(step, np.full(4, -0.005))


@pytest.mark.parametrize("measured", [[0.0] * 3, [math.nan] * 4])
def test_an_unusable_measured_position_is_the_callers_error(measured: list[float]) -> None:
    with pytest.raises(ValueError, match="measured position"):
        LIMITER.limit([0.0] * 4, measured, LIMITER.initial_state())


@pytest.mark.parametrize("seconds", [0.0, -0.1, math.nan, math.inf])
def test_an_unusable_tick_length_is_the_callers_error(seconds: float) -> None:
    with pytest.raises(ValueError, match="dt"):
        LIMITER.limit([0.0] * 4, [0.0] * 4, LIMITER.initial_state(), seconds)
