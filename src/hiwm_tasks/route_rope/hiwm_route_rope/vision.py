"""Finds the rope and the clips in the picture of the top camera.

Colours tell the rope, the clips and the table apart; the rest is arms. Parts of the rope that the
arms hide are bridged, since its length is known. Nothing is remembered between pictures.
"""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from hiwm_core.task_plugin import Image
from hiwm_route_rope.names import SEGMENTS, Array
from hiwm_route_rope.shape import (
    CLIP_GAP_M,
    CLIP_HEIGHT_M,
    CLIP_LENGTH_M,
    RADIUS_M,
    SEGMENT_M,
    WALL_M,
)
from hiwm_yam_pair.top_camera import metres_per_pixel, to_pixels, to_table

Mask = NDArray[np.bool_]

LENGTH_M = SEGMENTS * SEGMENT_M
_CLIP_TOP_M = CLIP_HEIGHT_M + 0.004
# Parts of the rope smaller than this are noise [px]; more parts than this are not joined.
_LEAST_PART, _MOST_PARTS = 8, 5
_LEAST_CLIP = 6  # px of a clip
_HIDDEN_PX = 3  # an end this near to an arm may go on under it
_NEIGHBOURS = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)]


@dataclass(frozen=True, kw_only=True)
class TableSight:
    """What a picture shows."""

    rope: Array | None  # [N, 2], m, from the right end to the left one; None: not found
    clips: Array | None  # [2, 3], x, y [m], yaw [rad]; None: one is neither found nor hidden
    seen_share: float  # of the rope's length, 0..1
    guessed_m: tuple[float, float] = (0.0, 0.0)  # at the rope's right and left end, under arms


def look(
    image: Image, rope_height_m: float = RADIUS_M, expected: Array | None = None
) -> TableSight:
    """Return what an image [S, S, 3] of the top camera shows.

    Args:
        image: rgb.
        rope_height_m: of the rope's middle above the table; more while hands carry it.
        expected: [2, 3], where the clips are on average; taken for a clip that an arm hides.
    """
    rope, clips = rope_mask(image), clip_masks(image)
    red, blue = image[..., 0] + 1.0, image[..., 2] + 1.0
    middle = np.median(red)
    table = (np.abs(blue / red - 0.895) < 0.05) & (red > 0.8 * middle) & (red < 1.2 * middle)
    arms = ~(table | rope | clips[0] | clips[1])
    poses = [clip_pose(mask) for mask in clips]
    line, share, guessed = _rope(rope, arms, rope_height_m)
    if expected is not None:
        poses = [
            guess if pose is None and _near(arms, to_pixels(guess[:2], len(arms))) else pose
            for pose, guess in zip(poses, expected, strict=True)
        ]
    found = [pose for pose in poses if pose is not None]
    return TableSight(
        rope=line, clips=np.stack(found) if len(found) == 2 else None, seen_share=share,
        guessed_m=guessed,
    )


def rope_mask(frames: Image) -> Mask:
    """Return where frames [..., H, W, 3] show the rope."""
    red, green, blue = (frames[..., i] + np.float32(1.0) for i in range(3))
    return (red > 2.0 * green) & (red > 2.0 * blue) & (red > 60)


def clip_masks(frames: Image) -> tuple[Mask, Mask]:
    """Return where frames [..., H, W, 3] show the left and the right clip."""
    red, green, blue = (frames[..., i] + np.float32(1.0) for i in range(3))
    left = (green > 1.6 * red) & (green > 1.3 * blue)
    return left, (blue > 1.6 * red) & (blue > 1.3 * green)


# Clips

def _template() -> tuple[Array, Array]:
    """Return points of a clip at the origin [N, 2], m, and what the mask counts at each [N].

    On the walls' tops it counts for the pose, in the channel against it.
    """
    along = np.linspace(-0.42, 0.42, 6) * CLIP_LENGTH_M
    across = (CLIP_GAP_M + WALL_M) / 2 + np.linspace(-0.3, 0.5, 3) * WALL_M
    walls = [(sign * x, y) for sign in (1, -1) for x in across for y in along]
    channel = [(x, y) for x in (-0.3 * CLIP_GAP_M, 0.0, 0.3 * CLIP_GAP_M) for y in along]
    return np.array(walls + channel), np.concatenate([
        np.full(len(walls), 1.0 / len(walls)), np.full(len(channel), -0.7 / len(channel))
    ])


_POINTS, _COUNTS = _template()
# Coarse to fine: how far places [m] and yaws [rad] are tried about the last ones.
_SEARCH = ((0.016, 0.24), (0.005, 0.09), (0.0016, 0.04))
_PLACES = np.stack(np.meshgrid(*[np.linspace(-1, 1, 7)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
_YAWS = np.linspace(-1, 1, 7)[::2]


def clip_pose(mask: Mask) -> Array | None:
    """Return the pose (x, y, yaw) whose walls cover a mask best and whose channel is free.

    None: the mask is too small for a clip.
    """
    rows, columns = np.nonzero(mask)
    if len(rows) < _LEAST_CLIP:
        return None
    size = len(mask)
    place, yaw = to_table(rows, columns, size, _CLIP_TOP_M).mean(axis=0), 0.0
    for reach, turn in _SEARCH:
        places, yaws = place + reach * _PLACES, yaw + turn * _YAWS
        scores = _fit(mask, places, yaws)
        # Of equal poses, the middle one.
        best_places, best_yaws = np.nonzero(scores >= scores.max() - 1e-9)
        place, yaw = places[best_places].mean(axis=0), float(yaws[best_yaws].mean())
    return np.array([*place, yaw])


def _fit(mask: Mask, places: Array, yaws: Array) -> Array:
    """Return how well a clip fits a mask at places [M, 2] with yaws [N], [M, N]."""
    cos, sin = np.cos(yaws)[:, None], np.sin(yaws)[:, None]
    turned = np.stack([
        cos * _POINTS[:, 0] - sin * _POINTS[:, 1], sin * _POINTS[:, 0] + cos * _POINTS[:, 1]
    ], axis=-1)
    last = len(mask) - 1
    rows, columns = (
        np.clip(np.rint(pixels[:, None, None] - offsets).astype(np.int32), 0, last)
        for pixels, offsets in zip(
            to_pixels(places, len(mask), _CLIP_TOP_M).T,
            np.moveaxis(turned, -1, 0) / metres_per_pixel(len(mask), _CLIP_TOP_M), strict=True,
        )
    )
    return np.asarray(mask[rows, columns] @ _COUNTS)


# The rope

def _rope(
    mask: Mask, arms: Mask, height_m: float
) -> tuple[Array | None, float, tuple[float, float]]:
    """Return the rope's line [N, 2], the share that is seen, and what is guessed at its ends, m."""
    parts = [_line(part) for part in _parts(mask)]
    if not parts:
        return None, 0.0, (0.0, 0.0)
    size = len(mask)
    lines = [to_table(part[:, 0], part[:, 1], size, height_m) for part in parts]
    seen = sum(_length(line) for line in lines)
    joined = _join(_chain(lines))
    if joined[0, 1] > joined[-1, 1]:
        joined = joined[::-1]
    missing, guessed = LENGTH_M - _length(joined), [0.0, 0.0]
    if missing > 0.012:
        hidden = [_near(arms, to_pixels(end, size, height_m)) for end in (joined[0], joined[-1])]
        if any(hidden):
            guessed = [missing / sum(hidden) * one for one in hidden]
        if hidden[0]:
            joined = np.concatenate([_beyond(joined, guessed[0])[::-1], joined])
        if hidden[1]:
            joined = np.concatenate([joined, _beyond(joined[::-1], guessed[1])])
    return joined, float(min(1.0, seen / LENGTH_M)), (guessed[0], guessed[1])


def _parts(mask: Mask) -> list[Mask]:
    """Return connected parts, the largest first."""
    left, parts = mask.copy(), []
    while left.any():
        first = np.unravel_index(int(left.argmax()), left.shape)
        steps = _steps(left, (int(first[0]), int(first[1])))
        part = steps >= 0
        parts.append(part)
        left &= ~part
    parts = [part for part in parts if part.sum() >= _LEAST_PART]
    return sorted(parts, key=lambda part: -int(part.sum()))[:_MOST_PARTS]


def _steps(mask: Mask, start: tuple[int, int]) -> NDArray[np.int64]:
    """Return each pixel's distance from the start within the mask, in steps; -1 elsewhere."""
    # On a flat array with a free border: plain numbers are faster than arrays here.
    width = mask.shape[1] + 2
    free = bytearray(np.pad(mask, 1).tobytes())
    around = [row * width + column for row, column in _NEIGHBOURS]
    place = (start[0] + 1) * width + start[1] + 1
    free[place] = 0
    fronts = [[place]]
    while fronts[-1]:
        following = []
        for place in fronts[-1]:
            for offset in around:
                if free[place + offset]:
                    free[place + offset] = 0
                    following.append(place + offset)
        fronts.append(following)
    steps = np.full(mask.size + 2 * (sum(mask.shape) + 2), -1)
    for count, front in enumerate(fronts):
        steps[front] = count
    return np.asarray(steps.reshape(mask.shape[0] + 2, width)[1:-1, 1:-1])


def _line(part: Mask) -> Array:
    """Return the middle line of a part, rows and columns [N, 2], from one end to the other."""
    start = np.unravel_index(int(part.argmax()), part.shape)
    first = _steps(part, (int(start[0]), int(start[1])))
    end = np.unravel_index(int(first.argmax()), part.shape)
    steps = _steps(part, (int(end[0]), int(end[1])))
    rows, columns = np.nonzero(part)
    counts = steps[rows, columns]
    # The middle of all pixels at about the same distance from the end.
    middles = []
    for step in range(0, int(counts.max()) + 1, 2):
        near = np.abs(counts - step) <= 1
        middles.append((rows[near].mean(), columns[near].mean()))
    line = np.array(middles)
    if len(line) > 2:
        line[1:-1] = (line[:-2] + 2 * line[1:-1] + line[2:]) / 4
    return line


def _chain(lines: list[Array]) -> list[Array]:
    """Return the lines in the order and directions with the shortest gaps."""
    if len(lines) == 1:
        return lines

    def gaps(order: tuple[int, ...], turned: tuple[bool, ...]) -> float:
        total = 0.0
        for one, other in zip(order, order[1:], strict=False):
            end = lines[one][0 if turned[one] else -1]
            start = lines[other][-1 if turned[other] else 0]
            total += float(np.linalg.norm(end - start))
        return total

    choices = product(
        permutations(range(len(lines))), product((False, True), repeat=len(lines))
    )
    order, turned = min(choices, key=lambda choice: gaps(*choice))
    return [lines[i][::-1] if turned[i] else lines[i] for i in order]


def _join(chain: list[Array]) -> Array:
    """Return one line; gaps are bridged by cubics that continue both sides."""
    joined = chain[0]
    for line in chain[1:]:
        start, end = joined[-1], line[0]
        wide = float(np.linalg.norm(end - start))
        leave, arrive = _heading(joined[::-1]) * -wide, _heading(line) * wide
        t = np.linspace(0, 1, max(3, int(wide / 0.007)))[1:-1, None]
        bridge = (
            (2 * t**3 - 3 * t**2 + 1) * start + (t**3 - 2 * t**2 + t) * leave
            + (3 * t**2 - 2 * t**3) * end + (t**3 - t**2) * arrive
        )
        joined = np.concatenate([joined, bridge, line])
    return joined


def _heading(line: Array) -> Array:
    """Return the direction [2] of a line at its start."""
    ahead = line[min(4, len(line) - 1)] - line[0]
    return np.asarray(ahead / max(float(np.linalg.norm(ahead)), 1e-9))


def _beyond(line: Array, length: float) -> Array:
    """Return points that prolong a line beyond its start, the nearest first."""
    steps = np.arange(1, max(2, int(length / 0.007)))[:, None] * 0.007
    return np.asarray(line[0] - steps * _heading(line))


def _length(line: Array) -> float:
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def _near(arms: Mask, place: Array) -> bool:
    """Return whether an arm is near a place in the picture, or the place is at its border."""
    row, column = np.rint(place).astype(int)
    size, reach = len(arms), _HIDDEN_PX
    if min(row, column) < reach or max(row, column) >= size - reach:
        return True
    return bool(arms[row - reach:row + reach + 1, column - reach:column + reach + 1].any())
