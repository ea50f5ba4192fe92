"""Finds the towel's corners in the picture of the top camera.

Colours tell the towel's front and back from the table and the arms. Nothing is remembered between
pictures here; `operator_control` keeps the last clear view.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.task_plugin import Image
from hiwm_fold_towel.names import CORNERS_M, LENGTH_M, WIDTH_M, Array
from hiwm_yam_pair.pictures import hidden_by_arms
from hiwm_yam_pair.top_camera import metres_per_pixel, to_pixels, to_table

Mask = NDArray[np.bool_]

# Least shares of the flat towel's area: of a side in sight, of the towel, of a flat towel.
_SIDE, _TOWEL, _FLAT = 0.04, 0.25, 0.7
_ANYTHING = 0.05  # share of the flat towel's area; below it, there is no towel in sight
# With less of the front than this, the near edge is under the flap.
_NEAR_HIDDEN = 0.14
# A corner is the outermost place ahead and sideways. Beside a folded corner, ahead counts more.
_SIDEWAYS = 0.15
_CREASE_M = 0.018  # of the towel's length that a crease takes
# A corner that is folded back on the flap: shares of the flat towel's area, and largest extent [m].
_EAR, _EAR_MOST, _EAR_M = 0.006, 0.2, 0.14
_EAR_LEAST_M, _BESIDE_PX = 0.018, 3
_BOX_PX, _AROUND_M = 2, 0.03
_DRAWN_IN = 0.4  # sideways, of corners that may be drawn in
_INSIDE_M = 0.008
# A wedge: least share, and how far its middle is beside the towel's; ahead, of its corner.
_WEDGE, _WEDGE_M, _WEDGE_AHEAD = 0.02, 0.05, 0.3
_COVERED = 0.25  # more of the back than this around an end of the near edge covers it
# A straight edge: least pixels and length, and how far its pixels are off a line at most [m]. With
# more turn than this between a flap's edge and the one below, one corner alone is folded.
_EDGE_PX, _EDGE_SPAN_M, _EDGE_OFF_M, _EDGE_TURN_RAD = 12, 0.10, 0.012, 0.45


@dataclass(frozen=True, kw_only=True)
class TowelSight:
    """What a picture shows."""

    far: Array  # [2, 2], m, left and right corner of the edge that is carried
    near: Array  # [2, 2], m, the corners that they are laid onto
    covered: float  # share of the flat towel's area
    flap: float  # share of the flat towel's area that shows its back
    near_seen: bool  # whether the near corners are seen, not concluded from the flap
    near_free: bool  # whether the towel is flat, but for its near edge
    arms: Mask  # [S, S], what the arms hide

    @property
    def task(self) -> tuple[Array, Array]:
        """Corners to be taken, and where to lay them [2, 2]: first a near edge is made straight."""
        edge = (self.far[0] - self.far[1]) / np.linalg.norm(self.far[0] - self.far[1])
        flat = self.far - LENGTH_M * np.array([edge[1], -edge[0]])
        crooked = np.linalg.norm(self.near - flat, axis=1).max() > CORNERS_M
        return (self.near, flat) if self.near_free and crooked else (self.far, self.near)


def look(image: Image) -> TowelSight | None:
    """Return what an image [S, S, 3] of the top camera shows; None: too little of a towel."""
    front, back = sides(image)
    size, arms = len(image), hidden_by_arms(image)
    flat = LENGTH_M * WIDTH_M / metres_per_pixel(size) ** 2
    front_share, back_share = float(front.sum() / flat), float(back.sum() / flat)
    if front_share + back_share < _TOWEL:
        return None
    near_seen = True
    near_folded = back_share > _EAR and _near_edge_folded(front, back)
    if near_folded:
        far, near = _corners(front, 1.0), _folded_near(front, back)
    elif back_share < _SIDE:
        far, near = _corners(front, 1.0), _corners(front, -1.0)
    elif (ear := _dog_ear(front, back, front_share)) is not None:
        far = np.where(np.isnan(ear), _corners(back, -1.0), ear)
        near = _corners(front | back, -1.0)
        near_seen = False
    elif front_share > _NEAR_HIDDEN:
        found = _edge(front, front | back, front | back, arms)
        near = _corners(front, -1.0) if found is None else found
        edge = (near[0] - near[1]) / max(float(np.linalg.norm(near[0] - near[1])), 1e-6)
        flap = _edge(back, back, front | back, arms, near)
        far = _one_folded(front, back, edge) if flap is None else flap
    else:
        near_seen = False
        far = _beside_wedge(front, back, front_share, _corners(back, -1.0))
        near = _hidden(_corners(front | back, 1.0), far)
    return TowelSight(
        far=far, near=near, covered=front_share + back_share, flap=back_share,
        near_seen=near_seen, arms=arms,
        near_free=near_folded or (back_share < _SIDE and front_share > _FLAT),
    )


def shows_towel(image: Image) -> bool:
    """Return whether an image [S, S, 3] shows as much of a towel as arms always leave of it."""
    front, back = sides(image)
    flat = LENGTH_M * WIDTH_M / metres_per_pixel(len(image)) ** 2
    return float((front | back).sum()) > _ANYTHING * flat


def hidden_share(image: Image, arms: Mask) -> float:
    """Return the share of the box around a towel, with a margin, that arms hide."""
    front, back = sides(image)
    rows, columns = np.nonzero(front | back)
    box = tuple(slice(max(at.min() - _BOX_PX, 0), at.max() + _BOX_PX + 1) for at in (rows, columns))
    return float(arms[box].mean())


def same_around(before: Image, now: Image, place: Array) -> bool:
    """Return whether the towel that a picture shows around a place [2] is still there later.

    What an arm hides in either of them does not count; where that is most of it, it is not.
    """
    rows, columns = np.indices(before.shape[:2])
    around = np.linalg.norm(to_table(rows, columns, len(before)) - place, axis=-1) < _AROUND_M
    (front, back), (later_front, later_back) = sides(before), sides(now)
    towel = around & (front | back)
    seen = towel & ~hidden_by_arms(before) & ~hidden_by_arms(now)
    if seen.sum() < 0.6 * towel.sum():
        return False
    return bool(((front == later_front) & (back == later_back))[seen].mean() > 0.85)


def sides(frames: Image) -> tuple[Mask, Mask]:
    """Return where frames [..., H, W, 3] show the towel's front and its back."""
    red, green, blue = (frames[..., i] + np.float32(1.0) for i in range(3))
    front = (blue > 1.6 * red) & (blue > 1.25 * green)
    return front, (red > 2.2 * blue) & (red > 1.15 * green)


def _places(mask: Mask) -> Array:
    """Return where a mask's pixels lie on the table, [N, 2], m."""
    rows, columns = np.nonzero(mask)
    return to_table(rows, columns, len(mask))


def _share_near(mask: Mask, place: Array, reach_m: float) -> float:
    """Return the share of a mask within reach of a place on the table [2]."""
    rows, columns = np.indices(mask.shape)
    near = np.linalg.norm(to_table(rows, columns, len(mask)) - place, axis=-1) < reach_m
    return float(mask[near].mean()) if near.any() else 0.0


def _edge(
    side: Mask, beyond: Mask, towel: Mask, arms: Mask, below: Array | None = None
) -> Array | None:
    """Return the left and right end of a side's edge towards the arms, [2, 2]; None: no such.

    Hands hide the ends while they take them. But the edge is straight, and as long as the towel is
    wide.

    Args:
        side: what it is the edge of.
        beyond: what may not lie beyond the edge.
        towel: front and back.
        arms: what they hide.
        below: [2, 2], ends of the edge that it is laid onto.
    """
    covered = np.roll(beyond | arms, -1, axis=0)
    covered[-1] = True
    places = _places(side & ~covered)
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
    ends = np.array([(slope * y + at, y) for y in (right, left)])
    right_hidden, left_hidden = (
        _hidden_at(arms, end)
        or (below is None and bool(_share_near(towel & ~side, end, 0.015) > _COVERED))
        for end in ends
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


def _hidden_at(arms: Mask, place: Array) -> bool:
    """Return whether an arm hides something within 3 pixels of a place on the table [2]."""
    row, column = np.rint(to_pixels(place, len(arms))).astype(int)
    rows, columns = (slice(max(at - 3, 0), max(at + 4, 0)) for at in (row, column))
    return bool(arms[rows, columns].any())


def _one_folded(front: Mask, back: Mask, edge: Array) -> Array:
    """Return far corners [2, 2] where only one is folded: the other one is a corner of the front.

    Args:
        front: where it is seen.
        back: where it is seen.
        edge: [2], direction of the near edge, to the left.
    """
    left = bool((_places(back) @ edge).mean() > (_places(front) @ edge).mean())
    ahead, places = np.array([edge[1], -edge[0]]), _places(front)
    along = places @ ahead + (-_SIDEWAYS if left else _SIDEWAYS) * (places @ edge)
    # Of the outermost pixels, those at the free side count twice: an edge across draws the rest in.
    first = places[along >= along.max() - 0.004]
    beside = first @ (-edge if left else edge)
    free = (first.mean(axis=0) + first[beside >= beside.max() - 0.006].mean(axis=0)) / 2
    return np.where([[left], [not left]], _corners(back, -1.0), free)


def _near_edge_folded(front: Mask, back: Mask) -> bool:
    """Return whether the back that is seen is of the near edge: front ahead of it, table behind."""
    columns = np.nonzero(back.any(axis=0))[0]
    size = len(back)
    first = back.argmax(axis=0)[columns]
    last = size - 1 - back[::-1].argmax(axis=0)[columns]
    if len(columns) < _BESIDE_PX:
        return False
    ahead = front[np.maximum(first - _BESIDE_PX, 0), columns]
    behind = front[np.minimum(last + _BESIDE_PX, size - 1), columns]
    return bool(ahead.mean() > 0.6 and behind.mean() < 0.3)


def _folded_near(front: Mask, back: Mask) -> Array:
    """Return the near corners [2, 2] where the near edge, or a part of it, is folded ahead."""
    towel, turned = _places(front | back), _places(back)
    outline = _corners(front | back, -1.0, sideways=_DRAWN_IN)
    if np.ptp(turned[:, 1]) < _EAR_M:
        # A single folded corner shows its back as a triangle; the corner is its inner tip.
        left = bool(turned[:, 1].mean() > towel[:, 1].mean())
        inner = _corners(back, 1.0, sideways=-_DRAWN_IN)
        return np.where([[left], [not left]], inner, outline)
    folded = [_share_near(back, place, 0.02) > _share_near(front, place, 0.02) for place in outline]
    return np.where(np.array(folded)[:, None], _corners(back, 1.0), outline)


def _dog_ear(front: Mask, back: Mask, front_share: float) -> Array | None:
    """Return a far corner that lies folded back on the flap; NaN: the other one; None: no such.

    It shows the front, at one side of a flap that covers the rest.
    """
    if not _EAR < front_share < _EAR_MOST or back.sum() < front.sum():
        return None
    places, outline = _places(_wide(front)), _places(front | back)
    if len(places) < _EDGE_PX:
        return None
    low, high = np.percentile(places, 5, axis=0), np.percentile(places, 95, axis=0)
    away, along = high - low
    longer, shorter = max(along, away), min(along, away)
    if longer > _EAR_M or shorter < max(_EAR_LEAST_M, longer / 2):
        return None
    left = bool(places[:, 1].mean() > outline[:, 1].mean())
    inward = np.array([high[0], low[1] if left else high[1]])
    # A wedge of the front beside the flap does not reach there.
    inside = inward + _INSIDE_M * np.array([-1.0, 1.0 if left else -1.0])
    if _share_near(front, inside, 0.01) < 0.6:
        return None
    return np.where([[left], [not left]], inward, np.nan)


def _beside_wedge(front: Mask, back: Mask, front_share: float, far: Array) -> Array:
    """Return far corners [2, 2] where the flap leaves a wedge of the front at one side, if any.

    There its corner is the outermost place of the back.
    """
    if front_share < _WEDGE:
        return far
    places, outline = _places(back), _places(front | back)
    aside = float(_places(front)[:, 1].mean() - np.ptp(outline[:, 1]) / 2 - outline[:, 1].min())
    if abs(aside) < _WEDGE_M:
        return far
    left = aside > 0
    along = (places[:, 1] if left else -places[:, 1]) - _WEDGE_AHEAD * places[:, 0]
    corner = places[along >= along.max() - 0.004].mean(axis=0)
    return np.where([[left], [not left]], corner, far)


def _wide(mask: Mask) -> Mask:
    """Return a mask without what is narrower than three pixels."""
    middle = mask.copy()
    for axis in (0, 1):
        middle = middle & np.roll(middle, 1, axis) & np.roll(middle, -1, axis)
    for axis in (0, 1):
        middle = middle | np.roll(middle, 1, axis) | np.roll(middle, -1, axis)
    return middle


def _hidden(fold: Array, far: Array) -> Array:
    """Return the near corners under the flap [2, 2], from the fold's ends and the free corners."""
    way = far - fold
    lengths = np.linalg.norm(way, axis=1, keepdims=True)
    # A flap that hides the rest is half of the towel at least; in the air it looks shorter.
    flat = LENGTH_M - _CREASE_M
    below = flat - max(float(lengths.max()), flat / 2)
    return np.asarray(fold + way / np.maximum(lengths, 1e-6) * below)


def _corners(mask: Mask, ahead: float, sideways: float = 1.0) -> Array:
    """Return the left and the right corner of a mask, at its far (1) or near (-1) side, [2, 2]."""
    places = _places(mask)
    found = []
    for side in (sideways, -sideways):
        along = ahead * places[:, 0] + side * places[:, 1]
        # The mean of the outermost pixels, because a single one may be noise.
        found.append(places[along >= along.max() - 0.004].mean(axis=0))
    return np.array(found)
