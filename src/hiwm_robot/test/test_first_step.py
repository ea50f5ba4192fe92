"""First actions of an epoch: jumps are refused, and commands blend in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.embodiment import load_embodiment
from hiwm_core.robots.safety import Activation, Jump
from hiwm_core.rotations import matrix_from_6d, matrix_from_vector, sixd_from_matrix
from hiwm_robot.first_step import FirstStep
from hiwm_test_support.robots import mixed_robot

MIXED = mixed_robot()
HOME = np.array(MIXED.home)
NAMES = [entry.name for entry in MIXED.actions]
PLANAR = load_embodiment("planar_bimanual")


def bounds(**jump: float) -> FirstStep:
    return FirstStep(MIXED, Activation(jump=Jump(**jump), ramp_s=1.0))


def with_turn(vector: list[float]) -> np.ndarray:
    action = HOME.copy()
    action[3:9] = sixd_from_matrix(matrix_from_vector(vector))
    return action


@pytest.mark.parametrize(
    ("name", "step", "bound", "words"),
    [
        ("left_x", 0.06, {"m": 0.05}, ["left_x", "0.06 m", "0.05 m"]),
        ("column", 0.06, {"m": 0.05}, ["column"]),
        ("wrist", 0.4, {"rad": 0.3}, ["wrist", "rad", "activation.jump"]),
        ("left_gripper", -0.5, {"ratio": 0.2}, ["left_gripper", "0.5 at once, over"]),
    ],
)
def test_a_first_step_beyond_its_bound_is_refused_by_name(
    name: str, step: float, bound: dict[str, float], words: list[str]
) -> None:
    action = HOME.copy()
    action[NAMES.index(name)] += step
    problem = bounds(**bound).problem(action, HOME)
    for word in words:
        assert word in problem
    assert not bounds().problem(action, HOME)
    action[NAMES.index(name)] -= 0.9 * step
    assert not bounds(**bound).problem(action, HOME)


def test_a_rotation_is_bounded_by_its_angle() -> None:
    assert "0.4 rad" in bounds(rad=0.3).problem(with_turn([0.0, 0.4, 0.0]), HOME)
    assert not bounds(rad=0.3).problem(with_turn([0.0, 0.2, 0.0]), HOME)


def test_yaw_takes_the_short_way_round() -> None:
    yaw = NAMES.index("right_yaw")
    start, action = HOME.copy(), HOME.copy()
    start[yaw], action[yaw] = 3.1, -3.1
    first = bounds(rad=0.3)
    assert not first.problem(action, start)
    halfway = first.ramped(action, start, 0.5)[yaw]
    assert abs(abs(halfway) - np.pi) < 0.01


@settings(max_examples=50, deadline=None)
@given(
    share=st.floats(0.0, 2.0), step=st.floats(-0.3, 0.3),
    turn=st.tuples(*[st.floats(-1.0, 1.0)] * 3),
)
def test_the_ramp_goes_from_the_measured_state_to_the_action(
    share: float, step: float, turn: tuple[float, float, float]
) -> None:
    action = with_turn(list(turn))
    action[0] += step
    blended = bounds().ramped(action, HOME, share)
    part = min(share, 1.0)
    assert blended[0] - HOME[0] == pytest.approx(part * step)
    rotation = matrix_from_6d(blended[3:9])
    expected = matrix_from_vector(part * np.array(turn))
    np.testing.assert_allclose(rotation, expected, atol=1e-7)


def test_without_bounds_and_ramp_every_action_is_unchanged() -> None:
    first = FirstStep(PLANAR, Activation())
    action, measured = np.full(4, 0.1), np.zeros(4)
    assert not first.problem(action, measured)
    assert first.ramped(action, measured, 0.0) is action
