"""Rotations in three dimensions: 6D form, quaternions, rotation vectors, angles.

A 6D rotation is the first two columns of a rotation matrix, column by column (Zhou et al. 2019).
Limits, measured counterparts, handback and deltas use it. Tested by ``test_rotations.py``.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# A column of a rotation matrix has length 1. Shorter ones, or nearly parallel columns, do not say
# which rotation is meant.
_DEGENERATE = 0.1


def wrapped(angle: float) -> float:
    """Return the angle in [-pi, pi), rad."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi


def matrix_from_6d(values: ArrayLike) -> Array:
    """Return the nearest rotation matrix [3, 3] by Gram-Schmidt, the first column first.

    Raises:
        ValueError: a column is not finite or shorter than 0.1, or the columns are nearly parallel.
    """
    first, second = np.asarray(values, dtype=np.float64).reshape(2, 3)
    length = math.hypot(*first)
    if not length > _DEGENERATE or not math.isfinite(length):
        raise ValueError("its first column has no direction")
    x = first / length
    rest = second - float(x @ second) * x
    length = math.hypot(*rest)
    if not length > _DEGENERATE or not math.isfinite(length):
        raise ValueError("its second column has no direction of its own")
    # Floats, since numpy's cross product of two short vectors takes longer than all the rest.
    (a, b, c), (d, e, f) = x.tolist(), (rest / length).tolist()
    return np.array([
        [a, d, b * f - c * e],
        [b, e, c * d - a * f],
        [c, f, a * e - b * d],
    ])


def sixd_from_matrix(matrix: ArrayLike) -> Array:
    """Return the 6D form [6] of a rotation matrix [3, 3]."""
    return np.asarray(matrix, dtype=np.float64)[:, :2].T.reshape(6).copy()


def matrix_from_quaternion(quaternion: ArrayLike) -> Array:
    """Return the rotation matrix [3, 3] of a quaternion [x, y, z, w].

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    values = np.asarray(quaternion, dtype=np.float64)
    length = math.hypot(*values)
    if not length > _DEGENERATE or not math.isfinite(length):
        raise ValueError(f"quaternion {values.tolist()} is not a rotation")
    x, y, z, w = values / length
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])


def quaternion_from_matrix(matrix: ArrayLike) -> Array:
    """Return the unit quaternion [x, y, z, w], w >= 0, of a rotation matrix [3, 3]."""
    m = np.asarray(matrix, dtype=np.float64)
    # Each row is 4 q_i q; the longest has the least cancellation (Shepperd 1978).
    rows = np.array([
        [1 + m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
        [m[0, 1] + m[1, 0], 1 - m[0, 0] + m[1, 1] - m[2, 2], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
        [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 1 - m[0, 0] - m[1, 1] + m[2, 2], m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1 + m[0, 0] + m[1, 1] + m[2, 2]],
    ])
    row = rows[int(np.argmax(np.diag(rows)))]
    quaternion: Array = row / np.linalg.norm(row)
    return -quaternion if quaternion[3] < 0 else quaternion


def matrix_from_vector(vector: ArrayLike) -> Array:
    """Return the rotation matrix [3, 3] by the angle |vector| rad about the vector [3]."""
    v = np.asarray(vector, dtype=np.float64)
    angle = math.hypot(*v)
    half = 0.5 * angle
    scale = 0.5 if angle < 1e-8 else math.sin(half) / angle
    return matrix_from_quaternion([*(scale * v), math.cos(half)])


def vector_from_matrix(matrix: ArrayLike) -> Array:
    """Return the rotation vector [3] of a rotation matrix [3, 3]; its length is in [0, pi] rad."""
    quaternion = quaternion_from_matrix(matrix)
    sine = math.hypot(*quaternion[:3])
    scale = 2.0 if sine < 1e-12 else 2.0 * math.atan2(sine, quaternion[3]) / sine
    vector: Array = scale * quaternion[:3]
    return vector


def yaw_of(matrix: ArrayLike) -> float:
    """Return the yaw of a rotation matrix [3, 3]: the angle of its x axis about z, rad."""
    m = np.asarray(matrix, dtype=np.float64)
    return math.atan2(m[1, 0], m[0, 0])
