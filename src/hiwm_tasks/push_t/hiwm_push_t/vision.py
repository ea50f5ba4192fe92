"""Finds the T and both pushers in a camera image, as a person would.

The scripted operator relies on it, so it uses only the image's colours and the known shape of the
T. `overlap` tells how far the result can be trusted: it is the overlap of the blue pixels with a
rigid T at the pose found, and low for a frame in which the T has melted. test_vision.py tests the
accuracy on drawn and on rendered images.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_push_t import shape

Array = NDArray[np.float64]

# Share of a colour's full strength below which a pixel is noise, not the edge of something.
_NOISE = 0.12
_TINT = 0.35
# Least strength (of 255) of a colour for it to be on the table at all.
_LEAST_STRENGTH = 30.0
# Overlap below which the pose from the moments is doubted and all orientations are tried.
_DOUBT = 0.85
# Orientations tried in doubt. Eight steps of 45 degrees are within reach of the refinement.
_TRIES = 8
# Farthest pixel of the T from its centre of mass, in units: the foot of the stem, with a margin.
_REACH = 3.1
# A refinement ends at a change below this share of its probing step, which is 0.3 pixels.
_CLOSE = 0.1
# Pushers are looked for again in a window of this many radii, so that stray pixels do not pull.
_WINDOW = 2.2


@dataclass(frozen=True, kw_only=True)
class TableSight:
    """What was found in one image, table frame.

    `object_pose` is [x m, y m, yaw rad], or None where no T is in sight. `overlap`, 0..1, is how
    well a rigid T fits what was seen. `pushers` is [left_x, left_y, right_x, right_y] in m, NaN
    where a pusher is not in sight.
    """

    object_pose: Array | None
    overlap: float
    pushers: Array


class TableVision:
    """Finds the T (blue), the left pusher (red) and the right one (green) from above.

    Args:
        view_m: width and height of the table the camera sees, m, centred on the table's origin.
        unit_m: unit length of the T, m.
        pusher_radius_m: radius of a pusher, m.
    """

    def __init__(
        self, view_m: tuple[float, float], unit_m: float, pusher_radius_m: float = 0.012
    ) -> None:
        self._view = view_m
        self._unit = unit_m
        self._radius = pusher_radius_m

    def look(self, image: NDArray[np.uint8], prior: Array | None = None) -> TableSight:
        """Return what is in an image.

        Args:
            image: rgb8, [H, W, 3], x to the right and y up.
            prior: pose of the T a frame ago, tried first where the colours' moments mislead.
        """
        rgb = image.astype(np.int16)
        red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
        height, width = image.shape[:2]
        x = ((np.arange(width) + 0.5) / width - 0.5) * self._view[0]
        y = (0.5 - (np.arange(height) + 0.5) / height) * self._view[1]
        # Ranks of the strength that stands for "fully this colour": well inside a T, a pusher.
        pixel = (self._view[0] / width) * (self._view[1] / height)
        rank_t = max(1, int(0.3 * 7 * self._unit**2 / pixel))
        rank_p = max(1, int(0.3 * np.pi * self._radius**2 / pixel))
        # The goal may be drawn in a faint tint: weak colour is not a pusher's edge either.
        discs = [
            _share(red - np.maximum(green, blue), rank_p, _TINT),
            _share(green - np.maximum(red, blue), rank_p, _TINT),
        ]
        pushers = np.concatenate([self._find_disc(disc, x, y) for disc in discs])
        # Where a pusher is seen, nothing is known of the T beneath it.
        known = np.ones((height, width))
        for disc in discs:
            if disc is not None:
                known[disc > 0] = 0.0
        share = _share(blue - np.maximum(red, green), rank_t)
        pose, overlap = self._find_t(share, known, x, y, prior)
        return TableSight(object_pose=pose, overlap=overlap, pushers=pushers)

    def _find_disc(self, share: Array | None, x: Array, y: Array) -> Array:
        if share is None:
            return np.full(2, np.nan)
        # Only strong pixels say where to look, so that faint noise all over does not.
        centre = _centroid(np.where(share > 0.5, share, 0.0), x, y)
        for _ in range(2):
            columns, rows = _within(_WINDOW * self._radius, centre, x, y)
            near = share[rows, columns]
            if not near.any():
                # Far blobs of one colour, and nothing between: stay with the strongest pixel.
                row, column = np.unravel_index(int(share.argmax()), share.shape)
                centre = np.array([x[column], y[row]])
                continue
            centre = _centroid(near, x[columns], y[rows])
        return centre

    def _find_t(
        self, share: Array | None, known: Array, x: Array, y: Array, prior: Array | None
    ) -> tuple[Array | None, float]:
        if share is None:
            return None, 0.0
        # A frame ago the T was close by, and mostly that settles it.
        starts = [] if prior is None else [np.array(prior, dtype=float)]
        best, best_overlap = np.zeros(3), -1.0
        for start in (*starts, None):
            if start is None:
                start = _pose_of_moments(share, x, y)
            pose, overlap = self._refine(share, known, x, y, start)
            if overlap > best_overlap:
                best, best_overlap = pose, overlap
            if best_overlap >= _DOUBT:
                return best, best_overlap
        centre = best[:2]
        for turn in np.arange(_TRIES) * 2 * np.pi / _TRIES:
            pose, overlap = self._refine(share, known, x, y, np.array([*centre, turn]))
            if overlap > best_overlap:
                best, best_overlap = pose, overlap
        return best, best_overlap

    def _refine(
        self, share: Array, known: Array, x: Array, y: Array, start: Array, rounds: int = 15
    ) -> tuple[Array, float]:
        """Return the pose near `start` whose drawn T differs least from `share`, and overlap.

        Gauss-Newton on the pixels around the T; the drawn T has edges one pixel soft, so its
        derivative exists everywhere an edge is.
        """
        pose = start.copy()
        pixel = abs(x[1] - x[0])
        delta = np.array([0.3 * pixel, 0.3 * pixel, 0.3 * pixel / (1.5 * self._unit)])
        steps = np.vstack([np.zeros(3), np.diag(delta)])
        for _ in range(rounds):
            columns, rows = _within(_REACH * self._unit, pose, x, y)
            xs, ys = x[columns][None], y[rows][:, None]
            seen, weight = share[rows, columns], known[rows, columns]
            if seen.size == 0:
                break
            # The pose itself and one moved in each direction, in one go.
            drawn, *moved = self._draw(pose + steps, xs, ys, pixel)
            slope = ((np.stack(moved) - drawn) * weight).reshape(3, -1) / delta[:, None]
            gram = slope @ slope.T + 1e-9 * np.eye(3)
            change = np.linalg.solve(gram, slope @ (seen - drawn).ravel())
            # A long step is a guess beyond the edges that suggested it.
            change = np.clip(change, -8 * delta, 8 * delta)
            pose = pose + change
            if (np.abs(change) < _CLOSE * delta).all():
                break
        pose[2] = shape.wrap(pose[2])
        columns, rows = _within(_REACH * self._unit, pose, x, y)
        drawn = np.zeros_like(share)
        xs, ys = x[columns][None], y[rows][:, None]
        drawn[rows, columns] = self._draw(pose[None], xs, ys, pixel)[0] * known[rows, columns]
        share = share * known
        union = float(np.maximum(share, drawn).sum())
        return pose, float(np.minimum(share, drawn).sum()) / max(union, 1e-9)

    def _draw(self, poses: Array, x: Array, y: Array, pixel: float) -> Array:
        """Return the share of each pixel a T fills at each of [n, 3] poses, [n, rows, columns]."""
        px, py, yaw = poses.T[:, :, None, None]
        c, s = np.cos(yaw), np.sin(yaw)
        u = (x - px) * c + (y - py) * s
        v = (y - py) * c - (x - px) * s
        # Width of a pixel seen along a turned edge.
        soft = pixel * np.maximum(np.abs(c) + np.abs(s), 1.0) * 0.9
        bar, stem = shape.BAR, shape.STEM
        # The stem is drawn up to the middle of the bar: no seam where the two meet.
        return np.maximum(
            self._box(u, v, bar, soft), self._box(u, v, (*stem[:3], bar[2] + 0.5), soft)
        )

    def _box(self, u: Array, v: Array, sides: tuple[float, ...], soft: Array) -> Array:
        x0, x1, y0, y1 = (side * self._unit for side in sides)
        across = 0.5 + ((x1 - x0) / 2 - np.abs(u - (x0 + x1) / 2)) / soft
        along = 0.5 + ((y1 - y0) / 2 - np.abs(v - (y0 + y1) / 2)) / soft
        filled: Array = across.clip(0.0, 1.0) * along.clip(0.0, 1.0)
        return filled


def _share(strength: NDArray[np.int16], rank: int, noise: float = _NOISE) -> Array | None:
    """Return how much of each pixel is of a colour, 0..1, or None where none is.

    The strength of the `rank`-th strongest pixel counts as all of it: edges mix linearly.
    """
    # Counted, not sorted: most pixels are equal, which is the worst case of a partition.
    counts = np.bincount(strength.ravel().clip(0))[::-1]
    full = float(counts.size - 1 - np.searchsorted(counts.cumsum(), rank))
    if full < _LEAST_STRENGTH:
        return None
    share = np.clip(strength / full, 0.0, 1.0)
    share[share < noise] = 0.0
    return share


def _within(reach: float, centre: Array, x: Array, y: Array) -> tuple[slice, slice]:
    """Return the columns and rows nearer than `reach` to a centre along each axis."""
    columns = np.flatnonzero(np.abs(x - centre[0]) < reach)
    rows = np.flatnonzero(np.abs(y - centre[1]) < reach)
    if not columns.size or not rows.size:
        return slice(0, 0), slice(0, 0)
    return slice(columns[0], columns[-1] + 1), slice(rows[0], rows[-1] + 1)


def _centroid(share: Array, x: Array, y: Array) -> Array:
    total = share.sum()
    centre: Array = np.array([share.sum(axis=0) @ x, share.sum(axis=1) @ y]) / total
    return centre


def _pose_of_moments(share: Array, x: Array, y: Array) -> Array:
    """Return the pose the first three moments of a T suggest.

    A T is longest along its stem, and its stem is the thin, far end: the third moment along the
    long axis points away from the bar.
    """
    rows, columns = np.nonzero(share)
    weight = share[rows, columns]
    weight = weight / weight.sum()
    px, py = x[columns], y[rows]
    cx, cy = float(weight @ px), float(weight @ py)
    dx, dy = px - cx, py - cy
    xx, yy, xy = weight @ dx**2, weight @ dy**2, weight @ (dx * dy)
    axis = 0.5 * np.arctan2(2 * xy, xx - yy)
    along = dx * np.cos(axis) + dy * np.sin(axis)
    if weight @ along**3 > 0:
        axis += np.pi
    # `axis` points at the bar, the object's +y.
    return np.array([cx, cy, shape.wrap(float(axis) - np.pi / 2)])
