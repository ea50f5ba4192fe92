"""The ramp from a person's last target to the plan."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_control.handback import HandbackRamp
from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.rotations import (
    matrix_from_6d,
    matrix_from_vector,
    sixd_from_matrix,
    vector_from_matrix,
)
from hiwm_test_support.robots import joint_arm, mixed_robot

TWO = ActionDeltas(joint_arm("x", "y"))

numbers = st.floats(-1.0, 1.0)


@given(
    start=st.tuples(numbers, numbers), planned=st.tuples(numbers, numbers), ticks=st.integers(0, 12)
)
def test_no_step_exceeds_an_equal_share_of_the_gap(
    start: tuple[float, float], planned: tuple[float, float], ticks: int
) -> None:
    ramp = HandbackRamp(start, ticks, TWO)
    targets = [np.array(start)]
    while not ramp.done:
        targets.append(ramp.blend(planned))
    targets.append(np.array(planned))
    assert len(targets) == ticks + 2
    share = np.abs(np.subtract(planned, start)) / (ticks + 1)
    steps = np.abs(np.diff(np.array(targets), axis=0))
    assert np.all(steps <= share + 1e-12)


def test_a_moving_plan_is_followed_and_met() -> None:
    ramp = HandbackRamp([0.0], 4, ActionDeltas(joint_arm("x")))
    plans = [1.0, 1.1, 1.2, 1.3]
    targets = [float(ramp.blend([value])[0]) for value in plans]
    assert targets == pytest.approx([0.2, 0.44, 0.72, 1.04])
    assert ramp.done
    np.testing.assert_array_equal(ramp.blend([1.4]), [1.4])


def test_the_start_is_copied() -> None:
    start = np.zeros(2)
    ramp = HandbackRamp(start, 1, TWO)
    start[:] = 9.0
    np.testing.assert_array_equal(ramp.blend([1.0, 1.0]), [0.5, 0.5])


def test_rotations_turn_about_one_axis_at_a_constant_rate() -> None:
    robot = mixed_robot()
    start, goal = np.array(robot.home), np.array(robot.home)
    goal[3:9] = sixd_from_matrix(matrix_from_vector([0.0, 1.6, 0.0]))
    start[13], goal[13] = 3.0, -3.0  # a yaw: the short way is through pi
    ramp = HandbackRamp(start, 3, ActionDeltas(robot))
    for share in (0.25, 0.5, 0.75):
        target = ramp.blend(goal)
        turned = vector_from_matrix(matrix_from_6d(target[3:9]))
        np.testing.assert_allclose(turned, [0.0, 1.6 * share, 0.0], atol=1e-9)
        gap = 2 * np.pi - 6.0
        assert np.cos(target[13] - 3.0 - share * gap) == pytest.approx(1.0)
    assert ramp.done


def test_a_degenerate_plan_is_left_to_the_limits() -> None:
    robot = mixed_robot()
    goal = np.zeros(robot.action_dim)
    ramp = HandbackRamp(robot.home, 3, ActionDeltas(robot))
    np.testing.assert_array_equal(ramp.blend(goal), goal)
