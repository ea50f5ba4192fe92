"""Limits of end effectors with rotation, grippers and joints: tested like positions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hiwm_core.embodiment import parse_embodiment
from hiwm_core.limits import Limiter, LimiterState
from hiwm_core.rotations import (
    matrix_from_6d,
    matrix_from_vector,
    sixd_from_matrix,
    vector_from_matrix,
    wrapped,
)
from hiwm_test_support.robots import MIXED_TEXT, mixed_robot

Array = NDArray[np.float64]

ROBOT = mixed_robot()
LIMITER = Limiter(ROBOT)
HOME = np.array(ROBOT.home)
TURN, GRIPPER, YAW, COLUMN, WRIST = slice(3, 9), 9, 13, 14, 15
TURN_STEP, TURN_ERROR = 0.15, 0.4
ROUNDING = 1e-7

angles = st.floats(-3.0, 3.0)
vectors = st.lists(angles, min_size=3, max_size=3).map(np.array)
near = st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=3).map(np.array)


def with_turn(rotation: Array, base: Array = HOME) -> Array:
    action = base.copy()
    action[TURN] = sixd_from_matrix(rotation)
    return action


def angle(one: Array, other: Array) -> float:
    return math.hypot(*vector_from_matrix(matrix_from_6d(one) @ matrix_from_6d(other).T))


def last(sent: Array, turn: Array | None = None, step: tuple[int, float] | None = None
         ) -> LimiterState:
    steps = np.zeros(16)
    if turn is not None:
        steps[3:6] = turn
    if step is not None:
        steps[step[0]] = step[1]
    return LimiterState(sent=sent, previous_step=steps)


@given(wanted=vectors, measured=vectors, lead=near, step=near)
def test_a_rotation_turns_by_its_limit_and_leads_by_its_error(
    wanted: Array, measured: Array, lead: Array, step: Array
) -> None:
    here = matrix_from_vector(measured)
    sent = with_turn(matrix_from_vector(lead) @ here)
    result = LIMITER.limit(with_turn(matrix_from_vector(wanted)), with_turn(here), last(sent, step))
    turned = matrix_from_6d(result.action[TURN])
    np.testing.assert_allclose(sixd_from_matrix(turned), result.action[TURN], atol=1e-9)
    assert angle(result.action[TURN], with_turn(here)[TURN]) <= TURN_ERROR + ROUNDING
    moved = angle(result.action[TURN], sent[TURN])
    stopped = angle(result.action[TURN], with_turn(here)[TURN]) < ROUNDING
    assert moved <= TURN_STEP + ROUNDING or stopped
    others = [i for i in range(16) if not 3 <= i < 9]
    np.testing.assert_array_equal(result.action[others], HOME[others])


@given(wanted=vectors, measured=vectors)
def test_an_arm_that_follows_reaches_any_rotation(wanted: Array, measured: Array) -> None:
    goal, here = matrix_from_vector(wanted), with_turn(matrix_from_vector(measured))
    memory = LIMITER.initial_state()
    for _ in range(30):  # half a turn at 0.15 rad a step, with acceleration
        result = LIMITER.limit(with_turn(goal), here, memory)
        here, memory = result.action, result.state
    assert angle(here[TURN], sixd_from_matrix(goal)) < 1e-6
    assert not LIMITER.limit(with_turn(goal), here, memory).limited


@given(step=near)
def test_a_rotation_in_range_passes_to_the_last_bit(step: Array) -> None:
    wanted = with_turn(matrix_from_vector(0.3 * step))
    result = LIMITER.limit(wanted, HOME, LIMITER.initial_state())
    assert not result.limited
    np.testing.assert_array_equal(result.action, wanted)


def test_a_rotation_that_is_not_orthonormal_is_made_so() -> None:
    wanted = HOME.copy()
    wanted[TURN] = [2.0, 0.0, 0.0, 0.1, 1.0, 0.0]
    np.testing.assert_allclose(
        LIMITER.limit(wanted, HOME, LIMITER.initial_state()).action, HOME, atol=1e-12
    )


@pytest.mark.parametrize("turn", [[0.0] * 6, [1, 0, 0, 1, 0, 0]])
def test_a_degenerate_rotation_holds_with_the_reason(turn: list[float]) -> None:
    wanted = HOME + 0.01
    wanted[TURN] = turn
    result = LIMITER.limit(wanted, HOME, LIMITER.initial_state())
    np.testing.assert_array_equal(result.action, HOME)
    assert result.held and "left_turn" in result.reason and "degenerate" in result.reason


@given(measured=angles, lead=st.floats(-0.3, 0.3), wanted=st.floats(-3.1, 3.1))
def test_a_yaw_takes_the_short_way_round(measured: float, lead: float, wanted: float) -> None:
    here, sent, goal = HOME.copy(), HOME.copy(), HOME.copy()
    here[YAW], sent[YAW], goal[YAW] = measured, wrapped(measured + lead), wanted
    result = LIMITER.limit(goal, here, last(sent))
    yaw = result.action[YAW]
    assert -math.pi <= yaw <= math.pi
    assert abs(wrapped(yaw - measured)) <= 0.4 + ROUNDING
    assert abs(wrapped(yaw - sent[YAW])) <= 0.15 + ROUNDING or yaw == pytest.approx(measured)
    before, after = abs(wrapped(wanted - sent[YAW])), abs(wrapped(wanted - yaw))
    assert after <= before + ROUNDING


def test_a_yaw_with_limits_does_not_wrap() -> None:
    text = MIXED_TEXT.replace("lower: -3.1416, upper: 3.1416", "lower: -3.0, upper: 3.0")
    limiter = Limiter(parse_embodiment(text, "test"))
    here, goal = HOME.copy(), HOME.copy()
    here[YAW], goal[YAW] = 2.9, -2.9
    assert limiter.limit(goal, here, limiter.initial_state()).action[YAW] == pytest.approx(2.75)


@given(
    index=st.sampled_from([GRIPPER, COLUMN, WRIST]), wanted=st.floats(-10, 10),
    lead=st.floats(-1, 1), step=st.floats(-0.2, 0.2), where=st.floats(0, 1),
)
def test_grippers_and_joints_are_limited_like_positions(
    index: int, wanted: float, lead: float, step: float, where: float
) -> None:
    entry = ROBOT.actions[index]
    here, sent, goal = HOME.copy(), HOME.copy(), HOME.copy()
    here[index] = entry.lower + where * (entry.upper - entry.lower)
    sent[index] = np.clip(
        here[index] + lead * entry.max_following_error, entry.lower, entry.upper
    )
    goal[index] = wanted
    result = LIMITER.limit(goal, here, last(sent, step=(index, step)))
    value = result.action[index]
    assert entry.lower <= value <= entry.upper
    assert abs(value - here[index]) <= entry.max_following_error + 1e-9
    assert abs(value - sent[index]) <= 0.1 * entry.max_velocity + 1e-9 or (
        value == pytest.approx(here[index])
    )


def test_a_gripper_on_an_object_keeps_its_target() -> None:
    """It is open by 0.6, was told to shut, and stays told so: it must not drop the object."""
    held, sent = HOME.copy(), HOME.copy()
    held[GRIPPER], sent[GRIPPER] = 0.6, 0.0
    result = LIMITER.limit(sent, held, last(sent))
    assert result.action[GRIPPER] == 0.0 and not result.limited
