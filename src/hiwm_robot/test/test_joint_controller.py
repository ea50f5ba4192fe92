"""A controller follows valid commands in time and ignores invalid ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_robot.joint_controller import JointController

NAMES = ("a", "b")
HOME = (0.1, -0.1)
positions = st.lists(st.floats(-1, 1), min_size=2, max_size=2)


def controller() -> JointController:
    return JointController(NAMES, HOME)


def test_holds_home_before_any_command() -> None:
    joints = controller()
    assert joints.jumps and joints.bends(3.0, 3.1, 0.01) == []
    np.testing.assert_array_equal(joints.target(3.1), HOME)


@given(positions, st.floats(0.01, 2.0), st.floats(0.0, 1.0))
def test_trajectory_is_a_straight_line_in_time(
    goal: list[float], seconds: float, share: float
) -> None:
    joints = controller()
    assert joints.follow(NAMES, [(goal, seconds)], 5.0) == ""
    at = joints.target(5.0 + share * seconds)
    np.testing.assert_allclose(at, HOME + share * (np.array(goal) - HOME), atol=1e-9)
    np.testing.assert_array_equal(joints.target(5.0 + seconds + 1.0), goal)


def test_a_new_trajectory_starts_where_the_old_one_is() -> None:
    joints = controller()
    joints.follow(NAMES, [((1.1, -0.1), 1.0)], 0.0)
    joints.follow(NAMES, [((0.1, -0.1), 1.0)], 0.5)
    np.testing.assert_allclose(joints.target(0.5), (0.6, -0.1))
    np.testing.assert_allclose(joints.target(1.0), (0.35, -0.1))


def test_positions_follow_the_messages_joint_order() -> None:
    joints = controller()
    assert joints.follow(("b", "a"), [((2.0, 1.0), 0.1)], 0.0) == ""
    np.testing.assert_array_equal(joints.target(1.0), (1.0, 2.0))


def test_bends_are_where_the_trajectory_has_a_point_in_whole_steps() -> None:
    joints = controller()
    joints.follow(NAMES, [((0.2, 0.0), 0.039), ((0.0, 0.0), 0.08), ((0.0, 0.0), 0.0999)], 0.0)
    assert not joints.jumps
    np.testing.assert_allclose(joints.bends(0.0, 0.1, 0.004), [0.04, 0.08])
    assert joints.bends(0.2, 0.3, 0.004) == []


def test_forward_command_applies_at_once() -> None:
    joints = controller()
    assert joints.jump((0.5, 0.5), 0.0) == ""
    assert joints.jumps and joints.bends(0.0, 0.1, 0.004) == []
    np.testing.assert_array_equal(joints.target(0.0), (0.5, 0.5))


@pytest.mark.parametrize(
    ("names", "points"),
    [
        (("a", "c"), [((0.0, 0.0), 0.1)]),
        (("a",), [((0.0,), 0.1)]),
        (NAMES, []),
        (NAMES, [((0.0, 0.0, 0.0), 0.1)]),
        (NAMES, [((float("nan"), 0.0), 0.1)]),
        (NAMES, [((0.0, float("inf")), 0.1)]),
        (NAMES, [((0.0, 0.0), 0.2), ((0.0, 0.0), 0.1)]),
    ],
)
def test_bad_trajectory_is_refused_and_the_target_stays(
    names: tuple[str, ...], points: list[tuple[tuple[float, ...], float]]
) -> None:
    joints = controller()
    joints.follow(NAMES, [((0.3, 0.3), 0.1)], 0.0)
    assert joints.follow(names, points, 1.0)
    np.testing.assert_array_equal(joints.target(2.0), (0.3, 0.3))


@pytest.mark.parametrize("values", [(0.0,), (0.0, float("nan")), ()])
def test_bad_forward_command_is_refused(values: tuple[float, ...]) -> None:
    joints = controller()
    assert joints.jump(values, 0.0)
    np.testing.assert_array_equal(joints.target(1.0), HOME)


def test_reset_forgets_the_trajectory() -> None:
    joints = controller()
    joints.follow(NAMES, [((0.3, 0.3), 0.1)], 0.0)
    joints.reset()
    np.testing.assert_array_equal(joints.target(1.0), HOME)
