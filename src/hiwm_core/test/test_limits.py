"""The limits before every world: what passes and what never does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hiwm_core.embodiment import load_embodiment, parse_embodiment
from hiwm_core.limits import Limiter, LimiterState

EMBODIMENT = load_embodiment("planar_bimanual")
LIMITER = Limiter(EMBODIMENT)
STEP = 0.12 / EMBODIMENT.rate_hz
ERROR = EMBODIMENT.actions[0].max_following_error
ARMS = ([0, 1], [2, 3])
ROUNDING = 1e-11

Array = NDArray[np.float64]


def vectors(low: float, high: float) -> st.SearchStrategy[Array]:
    number = st.floats(low, high, allow_nan=False, width=64)
    return st.lists(number, min_size=4, max_size=4).map(np.array)


anything = vectors(-1e300, 1e300) | vectors(-0.3, 0.3)
inside = vectors(-0.18, 0.18)
anywhere = vectors(-0.25, 0.25)
leads = vectors(-ERROR / math.sqrt(2), ERROR / math.sqrt(2))
steps = vectors(-STEP / math.sqrt(2), STEP / math.sqrt(2))


def state(step: Array, sent: Array | None = None) -> LimiterState:
    """Return a state: the last step, and the last target if any."""
    return LimiterState(sent=np.full(4, math.nan) if sent is None else sent, previous_step=step)


@given(requested=anything, measured=inside, sent=anywhere, step=steps)
def test_output_is_finite_in_the_box_and_near_the_arm(
    requested: Array, measured: Array, sent: Array, step: Array
) -> None:
    action = LIMITER.limit(requested, measured, state(step, sent)).action
    assert np.all(np.isfinite(action))
    assert np.all(action >= EMBODIMENT.lower) and np.all(action <= EMBODIMENT.upper)
    for arm in ARMS:
        assert np.linalg.norm((action - measured)[arm]) <= ERROR + ROUNDING


@given(requested=anything, measured=inside, lead=leads, step=steps)
def test_a_target_is_one_step_from_the_last_unless_it_stops_at_the_arm(
    requested: Array, measured: Array, lead: Array, step: Array
) -> None:
    sent = np.clip(measured + lead, EMBODIMENT.lower, EMBODIMENT.upper)
    action = LIMITER.limit(requested, measured, state(step, sent)).action
    for arm in ARMS:
        moved = np.linalg.norm((action - sent)[arm])
        assert moved <= STEP + ROUNDING or np.allclose(action[arm], measured[arm], atol=ROUNDING)


@given(requested=anything, measured=anywhere, sent=anywhere, step=vectors(-1.0, 1.0))
def test_an_arm_outside_the_box_is_never_sent_further_out(
    requested: Array, measured: Array, sent: Array, step: Array
) -> None:
    action = LIMITER.limit(requested, measured, state(step, sent)).action
    assert np.all(action >= np.minimum(EMBODIMENT.lower, measured))
    assert np.all(action <= np.maximum(EMBODIMENT.upper, measured))
    for arm in ARMS:
        assert np.linalg.norm((action - measured)[arm]) <= ERROR + ROUNDING


@given(
    start=inside, requests=st.lists(anything, min_size=1, max_size=20),
    follows=st.floats(0.0, 1.0),
)
def test_an_arm_that_lags_is_neither_outrun_nor_moved_too_fast(
    start: Array, requests: list[Array], follows: float
) -> None:
    position, memory = start, LIMITER.initial_state()
    for requested in requests:
        sent = position if np.isnan(memory.sent).any() else memory.sent
        result = LIMITER.limit(requested, position, memory)
        for arm in ARMS:
            assert np.linalg.norm((result.action - position)[arm]) <= ERROR + ROUNDING
            # Stopping where the arm is, is always allowed.
            stop = np.linalg.norm((result.action - position)[arm]) <= ROUNDING
            if not stop and np.linalg.norm((sent - position)[arm]) <= ERROR:
                assert np.linalg.norm((result.action - sent)[arm]) <= STEP + ROUNDING
        np.testing.assert_array_equal(result.state.sent, result.action)
        position = position + follows * (result.action - position)
        memory = result.state


@given(measured=inside, lead=leads, requested=inside, step=steps)
def test_what_is_in_range_passes_unchanged_and_a_limited_action_passes_again(
    measured: Array, lead: Array, requested: Array, step: Array
) -> None:
    before = state(step, np.clip(measured + lead, EMBODIMENT.lower, EMBODIMENT.upper))
    first = LIMITER.limit(requested, measured, before)
    if not first.limited:
        np.testing.assert_array_equal(first.action, requested)
    if not (first.box_limited or first.following_limited):
        second = LIMITER.limit(first.action, measured, before)
        np.testing.assert_allclose(second.action, first.action, atol=ROUNDING)
        assert not second.limited


@given(measured=anywhere, sent=anywhere, step=vectors(-0.05, 0.05))
def test_holding_the_measured_position_and_the_last_target_is_always_allowed(
    measured: Array, sent: Array, step: Array
) -> None:
    np.testing.assert_array_equal(LIMITER.hold(measured, "test").action, measured)
    held = LIMITER.limit(measured, measured, state(step, sent))
    np.testing.assert_array_equal(held.action, measured)
    near = np.clip(sent, np.minimum(measured, -0.18), np.maximum(measured, 0.18))
    if all(np.linalg.norm((near - measured)[arm]) <= ERROR for arm in ARMS):
        stayed = LIMITER.limit(near, measured, state(step, near))
        np.testing.assert_array_equal(stayed.action, near)


@given(measured=inside, lead=leads, requested=inside, step=steps)
def test_the_quick_test_of_a_target_within_all_bounds_changes_no_bit(
    measured: Array, lead: Array, requested: Array, step: Array
) -> None:
    thorough = Limiter(EMBODIMENT)
    thorough._bounds = tuple(np.zeros_like(squares) for squares in LIMITER._bounds)
    before = state(step, np.clip(measured + lead, EMBODIMENT.lower, EMBODIMENT.upper))
    near = before.sent + 0.3 * step + 0.1 * (requested - before.sent)
    for target in (requested, near, before.sent):
        quick, slow = (one.limit(target, measured, before) for one in (LIMITER, thorough))
        assert quick.action.tobytes() == slow.action.tobytes()
        np.testing.assert_array_equal(quick.state.previous_step, slow.state.previous_step)
        assert quick.note == slow.note


def test_a_blocked_arm_winds_up_no_further_than_the_bound_and_leaves_at_once() -> None:
    blocked, memory = np.zeros(4), LIMITER.initial_state()
    for _ in range(100):
        memory = LIMITER.limit([0.18, 0, 0, 0], blocked, memory).state
    np.testing.assert_allclose(memory.sent, [ERROR, 0, 0, 0], atol=ROUNDING)
    back = LIMITER.limit([-0.18, 0, 0, 0], blocked, LIMITER.at_rest(memory.sent))
    np.testing.assert_allclose(back.action, [ERROR - STEP, 0, 0, 0], atol=ROUNDING)


def test_small_requests_accumulate_until_an_arm_with_a_dead_band_moves() -> None:
    """A servo that ignores errors below 5 mm; targets a millimetre ahead of it never move it."""
    position, memory = np.zeros(4), LIMITER.initial_state()
    for tick in range(20):
        wanted = np.array([0.001 * (tick + 1), 0.0, 0.0, 0.0])
        result = LIMITER.limit(wanted, position, memory)
        memory = result.state
        if result.action[0] - position[0] > 0.005:
            position = result.action - np.array([0.005, 0.0, 0.0, 0.0])
    assert position[0] == pytest.approx(0.015, abs=0.002)


def test_an_arm_that_was_pushed_away_takes_its_target_along() -> None:
    result = LIMITER.limit([0.1, 0, 0, 0], [-0.1, 0, 0, 0], LIMITER.at_rest(np.zeros(4)))
    np.testing.assert_allclose(result.action, [-0.1 + ERROR, 0, 0, 0], atol=ROUNDING)
    assert result.following_limited


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("index", range(4))
def test_a_request_that_is_not_finite_holds_and_names_the_entry(bad: float, index: int) -> None:
    measured = np.array([-0.15, -0.15, 0.15, -0.15])
    requested = measured + 0.01
    requested[index] = bad
    result = LIMITER.limit(requested, measured, state(np.full(4, 0.005)))
    np.testing.assert_array_equal(result.action, measured)
    np.testing.assert_array_equal(result.state.previous_step, np.zeros(4))
    np.testing.assert_array_equal(result.state.sent, measured)
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


def test_slowing_down_is_free_but_turning_is_not() -> None:
    gentle = Limiter(parse_embodiment(
        EMBODIMENT.text.replace("max_acceleration: 1.2", "max_acceleration: 0.1"), "test"
    ))
    before = state(np.array([0.01, 0.0, 0.0, 0.0]), np.zeros(4))
    slower = gentle.limit([0.002, 0, 0, 0], np.zeros(4), before)
    assert not slower.limited
    turned = gentle.limit([0.0, 0.01, 0, 0], np.zeros(4), before)
    assert turned.acceleration_limited
    assert np.linalg.norm(turned.action - [0.01, 0, 0, 0]) == pytest.approx(0.001)


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
