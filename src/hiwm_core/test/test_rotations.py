"""Rotations: each form against the others, and what has no rotation is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hiwm_core.rotations import (
    matrix_from_6d,
    matrix_from_quaternion,
    matrix_from_vector,
    quaternion_from_matrix,
    sixd_from_matrix,
    vector_from_matrix,
    wrapped,
    yaw_of,
)

vectors = st.lists(st.floats(-1.8, 1.8), min_size=3, max_size=3).map(np.array)


@given(vector=vectors)
def test_forms_agree(vector: NDArray[np.float64]) -> None:
    matrix = matrix_from_vector(vector)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)
    np.testing.assert_allclose(matrix_from_6d(sixd_from_matrix(matrix)), matrix, atol=1e-12)
    quaternion = quaternion_from_matrix(matrix)
    np.testing.assert_allclose(matrix_from_quaternion(-quaternion), matrix, atol=1e-12)
    if math.hypot(*vector) < math.pi:
        np.testing.assert_allclose(vector_from_matrix(matrix), vector, atol=1e-7)


def test_known_rotations() -> None:
    quarter = matrix_from_vector([0, 0, math.pi / 2])
    np.testing.assert_allclose(quarter, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(sixd_from_matrix(quarter), [0, 1, 0, -1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(
        quaternion_from_matrix(quarter), [0, 0, math.sqrt(0.5), math.sqrt(0.5)], atol=1e-12
    )
    assert yaw_of(quarter) == pytest.approx(math.pi / 2)
    for axis in np.eye(3):
        half = matrix_from_vector(math.pi * axis)
        assert math.hypot(*vector_from_matrix(half)) == pytest.approx(math.pi)
        np.testing.assert_allclose(matrix_from_vector(vector_from_matrix(half)), half, atol=1e-9)


def test_6d_is_made_orthonormal() -> None:
    np.testing.assert_allclose(matrix_from_6d([2, 0, 0, 5, 3, 0]), np.eye(3), atol=1e-12)


@pytest.mark.parametrize("values", [
    [0, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0.01, 0], [1, 0, 0, -2, 0, 0],
    [math.inf, 0, 0, 0, 1, 0], [math.nan] * 6,
])
def test_a_degenerate_6d_rotation_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="column"):
        matrix_from_6d(values)


def test_a_quaternion_of_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match="quaternion"):
        matrix_from_quaternion([0, 0, 0, 0])


@pytest.mark.parametrize(("angle", "expected"), [
    (0.5, 0.5), (math.pi + 0.1, 0.1 - math.pi), (-math.pi, -math.pi), (7.0, 7.0 - 2 * math.pi),
])
def test_angles_wrap(angle: float, expected: float) -> None:
    assert wrapped(angle) == pytest.approx(expected)
