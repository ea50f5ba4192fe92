"""Finds the towel's corners in the picture of the top camera.

Colours tell the towel's front and back from the table and the arms. Nothing is remembered between
pictures: what is hidden follows from the towel's known length.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.task_plugin import Image
from hiwm_fold_towel.names import LENGTH_M, WIDTH_M, Array
from hiwm_yam_pair.top_camera import metres_per_pixel, to_table

Mask = NDArray[np.bool_]

# Shares of the flat towel's area: less is none of the side, or none of the towel.
_SIDE, _TOWEL = 0.04, 0.25
# With less of the front than this, the near edge is under the flap.
_NEAR_HIDDEN = 0.14


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
        # Arms hide far corners while they take them. The near edge says where they lie.
        near = _corners(front, -1.0)
        edge = (near[0] - near[1]) / max(float(np.linalg.norm(near[0] - near[1])), 1e-6)
        ahead = np.array([edge[1], -edge[0]])
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


def _share_near(mask: Mask, place: Array, reach_m: float) -> float:
    """Return the share of a mask within reach of a place on the table [2]."""
    rows, columns = np.indices(mask.shape)
    near = np.linalg.norm(to_table(rows, columns, len(mask)) - place, axis=-1) < reach_m
    return float(mask[near].mean()) if near.any() else 0.0


def _hidden(fold: Array, far: Array) -> Array:
    """Return the near corners under the flap [2, 2], from the fold's ends and the free corners."""
    way = far - fold
    lengths = np.linalg.norm(way, axis=1, keepdims=True)
    # A flap that hides the rest is half of the towel at least; in the air it looks shorter.
    below = LENGTH_M - np.maximum(lengths, LENGTH_M / 2)
    return np.asarray(fold + way / np.maximum(lengths, 1e-6) * below)


def _corners(mask: Mask, ahead: float, height_m: float = 0.0) -> Array:
    """Return the left and the right corner of a mask, at its far (1) or near (-1) side, [2, 2]."""
    rows, columns = np.nonzero(mask)
    places = to_table(rows, columns, len(mask), height_m)
    found = []
    for side in (1.0, -1.0):
        along = ahead * places[:, 0] + side * places[:, 1]
        # The mean of the outermost pixels, as one alone may be noise.
        found.append(places[along >= along.max() - 0.004].mean(axis=0))
    return np.array(found)
