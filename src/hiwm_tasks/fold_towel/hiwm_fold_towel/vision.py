"""Finds the towel's corners in the picture of the top camera.

Colours tell the towel's front and back from the table and the arms. Nothing is remembered between
pictures: what is hidden follows from the towel's known length.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.task_plugin import Image
from hiwm_fold_towel.names import LENGTH_M, WIDTH_M, Array
from hiwm_yam_pair.pictures import hidden_by_arms
from hiwm_yam_pair.top_camera import metres_per_pixel, to_pixels, to_table

Mask = NDArray[np.bool_]

# Shares of the flat towel's area: less is none of the side, or none of the towel.
_SIDE, _TOWEL = 0.04, 0.25
# With less of the front than this, the near edge is under the flap.
_NEAR_HIDDEN = 0.14
# A corner is the outermost place ahead and sideways. Beside a folded corner, ahead counts more.
_SIDEWAYS = 0.4
_CREASE_M = 0.018  # of the towel's length that a crease takes
# A straight edge: least pixels and length, and how far its pixels are off a line at most [m]. With
# more turn than this between a flap's edge and the one below, one corner alone is folded.
_EDGE_PX, _EDGE_SPAN_M, _EDGE_OFF_M, _EDGE_TURN_RAD = 12, 0.10, 0.012, 0.45


@dataclass(frozen=True, kw_only=True)
class TowelSight:
    """What a picture shows."""

    far: Array  # [2, 2], m, left and right corner of the edge that is carried, at `height_m`
    near: Array  # [2, 2], m, the corners that they are laid onto
    covered: float  # share of the flat towel's area
    flap: float  # share of the flat towel's area that shows its back
    resting: tuple[bool, bool]  # whether the far corners lie where those of the flat towel do


def look(image: Image, height_m: float = 0.0) -> TowelSight | None:
    """Return what an image [S, S, 3] of the top camera shows; None: too little of a towel.

    Args:
        image: rgb.
        height_m: of the far corners, while hands carry them.
    """
    front, back = sides(image)
    size = len(image)
    flat = LENGTH_M * WIDTH_M / metres_per_pixel(size) ** 2
    front_share, back_share = float(front.sum() / flat), float(back.sum() / flat)
    if front_share + back_share < _TOWEL:
        return None
    resting = (False, False)
    far = _corners(front, 1.0) if back_share < _SIDE else _corners(back, -1.0, height_m)
    if front_share > _NEAR_HIDDEN:
        arms = hidden_by_arms(image)
        found = _edge(front, front | back, front | back, arms)
        near = _corners(front, -1.0) if found is None else found
        edge = (near[0] - near[1]) / max(float(np.linalg.norm(near[0] - near[1])), 1e-6)
        ahead = np.array([edge[1], -edge[0]])
        if back_share >= _SIDE:
            flap = _edge(back, back, front | back, arms, height_m, near)
            far = _one_folded(front, back, far, edge) if flap is None else flap
        # Arms hide far corners while they take them. The near edge says where they lie.
        flat_far = near + LENGTH_M * ahead
        inside = -ahead + np.array([[-1.0], [1.0]]) * edge
        lies = [_share_near(front, place, 0.018) > 0.6 for place in flat_far + 0.035 * inside]
        far = np.where(np.array(lies)[:, None], flat_far, far)
        left, right = (_share_near(front, at, 0.009) > 0.5 for at in flat_far + 0.014 * inside)
        resting = (left, right)
    else:
        near = _hidden(_corners(front | back, 1.0), far)
    return TowelSight(
        far=far, near=near, covered=front_share + back_share, flap=back_share, resting=resting
    )


def sides(frames: Image) -> tuple[Mask, Mask]:
    """Return where frames [..., H, W, 3] show the towel's front and its back."""
    red, green, blue = (frames[..., i] + np.float32(1.0) for i in range(3))
    front = (blue > 1.6 * red) & (blue > 1.25 * green)
    return front, (red > 2.2 * blue) & (red > 1.15 * green)


def _places(mask: Mask, height_m: float = 0.0) -> Array:
    """Return where a mask's pixels lie on a plane above the table, [N, 2], m."""
    rows, columns = np.nonzero(mask)
    return to_table(rows, columns, len(mask), height_m)


def _share_near(mask: Mask, place: Array, reach_m: float) -> float:
    """Return the share of a mask within reach of a place on the table [2]."""
    rows, columns = np.indices(mask.shape)
    near = np.linalg.norm(to_table(rows, columns, len(mask)) - place, axis=-1) < reach_m
    return float(mask[near].mean()) if near.any() else 0.0


def _edge(
    side: Mask, beyond: Mask, towel: Mask, arms: Mask, height_m: float = 0.0,
    below: Array | None = None,
) -> Array | None:
    """Return the left and right end of a side's edge towards the arms, [2, 2]; None: no such.

    Hands hide the ends while they take them. But the edge is straight, and as long as the towel is
    wide.

    Args:
        side: what it is the edge of.
        beyond: what may not lie beyond the edge.
        towel: front and back.
        arms: what they hide.
        height_m: of the edge above the table.
        below: [2, 2], ends of the edge that it is laid onto.
    """
    covered = np.roll(beyond | arms, -1, axis=0)
    covered[-1] = True
    places = _places(side & ~covered, height_m)
    away, along = places.T
    for _ in range(2):
        if len(along) < _EDGE_PX or np.ptp(along) < _EDGE_SPAN_M:
            return None
        slope, at = _line(along, away)
        on = np.abs(away - slope * along - at) < _EDGE_OFF_M
        along, away = along[on], away[on]
    turn = np.arctan(slope)
    if below is not None:
        turn -= np.arctan2(*(below[0] - below[1]))
    if abs(turn) > _EDGE_TURN_RAD:
        return None
    length = WIDTH_M / float(np.hypot(1.0, slope))
    right, left = float(along.min()), float(along.max())
    right_hidden, left_hidden = (
        _arm_near(arms, np.array([slope * y + at, y]), height_m) for y in (right, left)
    )
    if left_hidden and not right_hidden:
        left = right + length
    elif right_hidden and not left_hidden:
        right = left - length
    elif right_hidden:
        # The sides of all that is seen of the towel, along the edge.
        beside = _places(towel) @ np.array([slope, 1.0]) / (1.0 + slope**2)
        middle = (beside.min() + beside.max()) / 2 - slope * at / (1.0 + slope**2)
        right, left = middle - length / 2, middle + length / 2
    return np.array([(slope * y + at, y) for y in (left, right)])


def _line(x: Array, y: Array) -> tuple[float, float]:
    """Return slope and offset of a line through most of the points (Theil 1950, Sen 1968)."""
    i, j = np.triu_indices(len(x), 1)
    apart = np.abs(x[i] - x[j]) > 0.03
    slope = float(np.median((y[i] - y[j])[apart] / (x[i] - x[j])[apart])) if apart.any() else 0.0
    return slope, float(np.median(y - slope * x))


def _arm_near(arms: Mask, place: Array, height_m: float) -> bool:
    """Return whether an arm hides something within 3 pixels of a place on the table [2]."""
    row, column = np.rint(to_pixels(place, len(arms), height_m)).astype(int)
    rows, columns = (slice(max(at - 3, 0), max(at + 4, 0)) for at in (row, column))
    return bool(arms[rows, columns].any())


def _one_folded(front: Mask, back: Mask, far: Array, edge: Array) -> Array:
    """Return far corners [2, 2] where one alone is folded: the other one is a corner of the front.

    Args:
        front: where it is seen.
        back: where it is seen.
        far: [2, 2], corners of the back.
        edge: [2], direction of the near edge, to the left.
    """
    left = bool((_places(back) @ edge).mean() > (_places(front) @ edge).mean())
    return np.where([[left], [not left]], far, _corners(front, 1.0, sideways=_SIDEWAYS))


def _hidden(fold: Array, far: Array) -> Array:
    """Return the near corners under the flap [2, 2], from the fold's ends and the free corners."""
    way = far - fold
    lengths = np.linalg.norm(way, axis=1, keepdims=True)
    # A flap that hides the rest is half of the towel at least; in the air it looks shorter.
    flat = LENGTH_M - _CREASE_M
    below = flat - np.maximum(lengths, flat / 2)
    return np.asarray(fold + way / np.maximum(lengths, 1e-6) * below)


def _corners(
    mask: Mask, ahead: float, height_m: float = 0.0, sideways: float = 1.0
) -> Array:
    """Return the left and the right corner of a mask, at its far (1) or near (-1) side, [2, 2]."""
    places = _places(mask, height_m)
    found = []
    for side in (sideways, -sideways):
        along = ahead * places[:, 0] + side * places[:, 1]
        # The mean of the outermost pixels, as one alone may be noise.
        found.append(places[along >= along.max() - 0.004].mean(axis=0))
    return np.array(found)
