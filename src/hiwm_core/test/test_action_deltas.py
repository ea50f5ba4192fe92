"""Displacements and absolute targets: each from the other, for every kind of group."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas, DeltaBase
from hiwm_core.errors import ConfigError
from hiwm_core.rotations import matrix_from_6d, matrix_from_vector, sixd_from_matrix
from hiwm_test_support.robots import mixed_robot

Array = NDArray[np.float64]

ROBOT = mixed_robot()
HOME = np.array(ROBOT.home)
TURN, GRIPPER, YAW = slice(3, 9), 9, 13
vectors = st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3).map(np.array)
changes = st.lists(st.floats(-1.0, 1.0), min_size=16, max_size=16).map(np.array)


def displacement(values: Array) -> Array:
    values = values.copy()
    values[6:9] = 0.0
    return values


@pytest.mark.parametrize("turning", ["frame", "tip"])
@given(change=changes, turn=vectors)
def test_the_displacement_between_two_targets_leads_from_one_to_the_other(
    turning: str, change: Array, turn: Array
) -> None:
    deltas = ActionDeltas(ROBOT, turning)  # type: ignore[arg-type]
    start = HOME.copy()
    start[TURN] = sixd_from_matrix(matrix_from_vector(turn))
    end = deltas.moved(start, displacement(change))
    np.testing.assert_allclose(deltas.between(start, end), displacement(change), atol=1e-7)
    np.testing.assert_allclose(deltas.moved(start, deltas.between(start, end)), end, atol=1e-7)


def test_rotations_turn_about_the_axes_of_the_frame_or_of_the_tip() -> None:
    start, turn = HOME.copy(), np.zeros(16)
    start[TURN] = sixd_from_matrix(matrix_from_vector([0, 0, math.pi / 2]))
    turn[3] = math.pi / 2  # about x
    for turning, z_axis in (("frame", [0, -1, 0]), ("tip", [1, 0, 0])):
        end = ActionDeltas(ROBOT, turning).moved(start, turn)  # type: ignore[arg-type]
        np.testing.assert_allclose(matrix_from_6d(end[TURN])[:, 2], z_axis, atol=1e-12)


def test_small_turns_add_up_without_drift() -> None:
    deltas, at, turn = ActionDeltas(ROBOT), HOME, np.zeros(16)
    turn[3:6] = [0.001, 0.002, -0.001]
    for _ in range(1000):
        at = deltas.moved(at, turn)
    expected = matrix_from_vector([1.0, 2.0, -1.0])
    np.testing.assert_allclose(matrix_from_6d(at[TURN]), expected, atol=1e-9)
    np.testing.assert_allclose(sixd_from_matrix(matrix_from_6d(at[TURN])), at[TURN], atol=1e-12)


def test_a_yaw_wraps_and_its_displacement_is_the_short_way() -> None:
    start, turn = HOME.copy(), np.zeros(16)
    start[YAW], turn[YAW] = 3.0, 0.3
    end = ActionDeltas(ROBOT).moved(start, turn)
    assert end[YAW] == pytest.approx(3.3 - 2 * math.pi)
    assert ActionDeltas(ROBOT).between(start, end)[YAW] == pytest.approx(0.3)


def test_each_part_is_shortened_to_its_own_length() -> None:
    change = displacement(np.full(16, 1.0))
    short = ActionDeltas(ROBOT).shortened(change, ROBOT.max_following_error)
    assert np.linalg.norm(short[:3]) == pytest.approx(0.06)
    assert np.linalg.norm(short[3:6]) == pytest.approx(0.4)
    assert short[GRIPPER] == 1.0 and short[YAW] == pytest.approx(0.4)
    assert short[14:].tolist() == pytest.approx([0.02, 0.2])


def test_displacements_start_from_the_last_target_or_by_group_from_the_measured_position() -> None:
    sent, measured = HOME + 0.01, HOME - 0.01
    np.testing.assert_array_equal(DeltaBase(ROBOT).start(sent, measured), sent)
    np.testing.assert_array_equal(DeltaBase(ROBOT).start([], measured), measured)
    start = DeltaBase(ROBOT, ["lift", "right"]).start(sent, measured)
    np.testing.assert_array_equal(start[10:], measured[10:])
    np.testing.assert_array_equal(start[:10], sent[:10])
    with pytest.raises(ConfigError, match="left_arm.*left_gripper"):
        DeltaBase(ROBOT, ["left_arm"])


def test_another_length_is_the_callers_error() -> None:
    with pytest.raises(ValueError, match="16"):
        ActionDeltas(ROBOT).moved(HOME, np.zeros(3))
