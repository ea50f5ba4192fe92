"""The T of Push-T: its outline, signed distance, and how much of the goal it covers.

The shape is that of Chi et al. (Diffusion Policy, arXiv 2303.04137): a bar of 4 x 1 units over a
stem of 1 x 3. The object frame sits at the centre of mass, the bar on the +y side.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Distance from the joint line of bar and stem down to the centre of mass, in units:
# (4 * 0.5 + 3 * -1.5) / 7.
CENTRE_Y = (4 * 0.5 + 3 * -1.5) / 7

# The two rectangles, (x_min, x_max, y_min, y_max) in units, object frame.
BAR = (-2.0, 2.0, -CENTRE_Y, 1.0 - CENTRE_Y)
STEM = (-0.5, 0.5, -3.0 - CENTRE_Y, -CENTRE_Y)

# Outline, counter-clockwise, in units, object frame.
OUTLINE = np.array(
    [(-2, 1), (-2, 0), (-0.5, 0), (-0.5, -3), (0.5, -3), (0.5, 0), (2, 0), (2, 1)], dtype=float
) - np.array([0.0, CENTRE_Y])

# Area sampled on a grid of this many points a unit: the coverage is good to about half a percent.
_GRID = 12


def rotation(yaw: float) -> Array:
    """Return the 2 x 2 matrix that turns object-frame vectors into the table frame."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s], [s, c]])


def to_table(points: Array, pose: Array) -> Array:
    """Return object-frame points [N, 2] (m) in the table frame, for a pose [x, y, yaw]."""
    return np.asarray(points @ rotation(float(pose[2])).T + np.asarray(pose)[:2])


def to_object(points: Array, pose: Array) -> Array:
    """Return table-frame points [N, 2] (m) in the object frame."""
    return np.asarray((np.asarray(points) - np.asarray(pose)[:2]) @ rotation(float(pose[2])))


def outline(pose: Array, unit_m: float) -> Array:
    """Return the corners [8, 2] of a T at a pose, table frame, m."""
    return to_table(OUTLINE * unit_m, pose)


def inside(points: Array, unit_m: float) -> NDArray[np.bool_]:
    """Return which object-frame points [N, 2] (m) lie in the T."""
    p = np.asarray(points) / unit_m
    within = np.zeros(len(p), dtype=bool)
    for x0, x1, y0, y1 in (BAR, STEM):
        within |= (p[:, 0] >= x0) & (p[:, 0] <= x1) & (p[:, 1] >= y0) & (p[:, 1] <= y1)
    return within


def signed_distance(points: Array, unit_m: float) -> Array:
    """Return the distance (m) of object-frame points [N, 2] to the outline, negative inside."""
    p = np.asarray(points, dtype=float)
    a = OUTLINE * unit_m
    b = np.roll(a, -1, axis=0)
    edge = b - a
    offset = p[:, None, :] - a[None]
    along = np.clip((offset * edge).sum(-1) / (edge**2).sum(-1), 0.0, 1.0)
    distance = np.linalg.norm(offset - along[..., None] * edge, axis=-1).min(axis=1)
    signed: Array = np.where(inside(p, unit_m), -distance, distance)
    return signed


def _samples() -> Array:
    step = 1.0 / _GRID
    points = []
    for x0, x1, y0, y1 in (BAR, STEM):
        xs = np.arange(x0 + step / 2, x1, step)
        ys = np.arange(y0 + step / 2, y1, step)
        points.append(np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2))
    return np.concatenate(points)


_SAMPLES = _samples()


def coverage(pose: Array, goal: Array, unit_m: float) -> float:
    """Return the share of the goal T that a T at `pose` covers, 0..1."""
    table = to_table(_SAMPLES * unit_m, goal)
    return float(inside(to_object(table, pose), unit_m).mean())


def wrap(angle: float) -> float:
    """Return an angle in [-pi, pi)."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
