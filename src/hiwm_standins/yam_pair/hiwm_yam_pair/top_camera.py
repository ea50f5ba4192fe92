"""Where the top camera's pixels lie on the table. It looks straight down, with perspective."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

TOP_M = (0.34, 0.0, 0.86)  # in the table frame; up in the picture is x, left is y
TOP_FOV_DEG = 29.0
_HALF = math.tan(math.radians(TOP_FOV_DEG) / 2)


def metres_per_pixel(size: int, height_m: float = 0.0) -> float:
    """Return the width of a pixel on a plane above the table [m], for images [size, size]."""
    return 2 * _HALF * (TOP_M[2] - height_m) / size


def to_table(rows: ArrayLike, columns: ArrayLike, size: int, height_m: float = 0.0) -> Array:
    """Return x, y [..., 2] of pixels' middles on a plane above the table, m."""
    scale = metres_per_pixel(size, height_m)
    x = TOP_M[0] + (size / 2 - 0.5 - np.asarray(rows, dtype=np.float64)) * scale
    y = TOP_M[1] + (size / 2 - 0.5 - np.asarray(columns, dtype=np.float64)) * scale
    return np.stack([x, y], axis=-1)


def to_pixels(places: ArrayLike, size: int, height_m: float = 0.0) -> Array:
    """Return row and column [..., 2] of places [..., 2] on a plane; pixels' middles are whole."""
    scale = metres_per_pixel(size, height_m)
    return size / 2 - 0.5 - (np.asarray(places, dtype=np.float64) - TOP_M[:2]) / scale
