"""Names of starts and ground truth, the towel's shape, and the task's score."""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.task_plugin import Values
from hiwm_yam_pair.geometry import SIDES
from hiwm_yam_pair.scene_names import WARNINGS

Array = NDArray[np.float64]

TOWEL_STARTS = (
    "towel_x_m", "towel_y_m", "towel_yaw_rad", "wrinkle", "wrinkle_from_rad", "wrinkle_phase_rad",
)
STARTS = (*TOWEL_STARTS, "light", "light_from_rad")
# Vertices along x, from the near edge to the far one, and along y, from the right to the left.
ROWS, COLUMNS = 7, 9
LENGTH_M, WIDTH_M = 0.24, 0.30
POINTS = tuple(
    f"towel_point_{i}_{j}_{axis}_m" for i in range(ROWS) for j in range(COLUMNS) for axis in "xyz"
)
HELD = tuple(f"{side}_holds" for side in SIDES)  # 1 while a hand holds the towel
COVERED = "covered_share"  # of the flat towel's area, as seen from above
TRUTH = (*STARTS, *POINTS, *HELD, COVERED, WARNINGS)

# At the end: each far corner within this of its near one, at most this share covered, and low.
CORNERS_M, MOST_COVERED, FLAT_M = 0.04, 0.55, 0.045
# Cloth that is stretched beyond this has torn; a vertex this far below the table went through [m].
TORN, THROUGH_M = 1.6, 0.01
# Progress of the corners falls to nothing over this.
FAR_M = 0.25


def towel_of(truth: Values) -> Array:
    """Return the vertices [ROWS, COLUMNS, 3], m, from ground truth."""
    return np.array([truth[name] for name in POINTS]).reshape(ROWS, COLUMNS, 3)


def corner_gaps(towel: Array) -> Array:
    """Return how far the far corners are from the near ones on the table, left and right [2], m."""
    ends = [-1, 0]  # columns: left, right
    return np.linalg.norm(towel[-1, ends, :2] - towel[0, ends, :2], axis=-1)


def broken(towel: Array) -> bool:
    """Return whether the cloth has torn, or passed through the table: physics not to be trusted.

    In use the cloth stretches by a third at most, where one hand carries it.
    """
    if not np.isfinite(towel).all() or towel[..., 2].min() < -THROUGH_M:
        return True
    return any(
        np.linalg.norm(np.diff(towel, axis=axis), axis=-1).max() > TORN * length / (count - 1)
        for axis, length, count in ((0, LENGTH_M, ROWS), (1, WIDTH_M, COLUMNS))
    )


def covered_share(towel: Array) -> float:
    """Return the area that the towel covers, as a share of the flat one's; cells of 4 mm."""
    cell, fine = 0.004, _finer(towel)
    places = np.stack([fine[:-1] * (1 - u) + fine[1:] * u for u in (0.0, 0.25, 0.5, 0.75)])
    cells = np.floor(places[..., :2] / cell).astype(np.int64).reshape(-1, 2)
    cells -= cells.min(axis=0)
    taken = np.zeros(cells.max(axis=0) + 1, bool)
    taken[cells[:, 0], cells[:, 1]] = True
    return float(taken.sum()) * cell**2 / (LENGTH_M * WIDTH_M)


def _finer(towel: Array) -> Array:
    """Return four rows for one and twelve columns for one, on straight lines between vertices."""
    rows = np.linspace(0, ROWS - 1, 4 * (ROWS - 1) + 1)
    columns = np.linspace(0, COLUMNS - 1, 12 * (COLUMNS - 1) + 1)
    i, j = np.minimum(rows.astype(int), ROWS - 2), np.minimum(columns.astype(int), COLUMNS - 2)
    u, v = (rows - i)[:, None, None], (columns - j)[None, :, None]
    near = towel[i][:, j] * (1 - v) + towel[i][:, j + 1] * v
    far = towel[i + 1][:, j] * (1 - v) + towel[i + 1][:, j + 1] * v
    return np.asarray(near * (1 - u) + far * u)


def score(gaps: Array, covered: float, height_m: float, held: bool) -> float:
    """Return the progress 0..1; 1 is a towel folded in half that no hand holds."""
    if gaps.max() < CORNERS_M and covered < MOST_COVERED and height_m < FLAT_M and not held:
        return 1.0
    near = float(np.clip(1.0 - gaps.mean() / FAR_M, 0.0, 1.0))
    return 0.9 * near
