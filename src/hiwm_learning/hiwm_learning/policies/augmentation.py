"""Shifts images together with the positions in proprioception and actions.

Policies that see only images shift only the image. Here that would place the arms up to 17 mm away
from where the image shows them. If the camera looks straight down, an image shift is a shift of the
table, so proprioception and actions shift by the same distance.

With several cameras, one that looks straight down is not shifted: the others would show the arms
elsewhere. A camera with any other view is shifted by itself; its image says where the arms are only
roughly.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import ActionEntry, CameraSpec, ProprioceptionEntry

# Largest shift in each direction, of the shorter side: 4 px at 96 px.
SHIFT_SHARE = 0.04


def largest_shift(camera: CameraSpec, alone: bool) -> int:
    """Return the largest shift of a camera's images, px.

    Args:
        camera: the camera.
        alone: whether it is the policy's only camera.
    """
    if not alone and all(camera.view_m):
        return 0
    return round(SHIFT_SHARE * min(camera.height, camera.width))


def metres_per_pixel(
    entries: Sequence[ActionEntry | ProprioceptionEntry], camera: CameraSpec
) -> NDArray[np.float32]:
    """Return [D, 2]: the change of each entry when the image moves by 1 px right and 1 px down.

    Entries in m with names ending in `_x` or `_y` are positions on the table. The change is 0 for
    all other entries, and for a camera that does not look straight down.
    """
    shifts = np.zeros((len(entries), 2), np.float32)
    width_m, height_m = camera.view_m
    for row, entry in zip(shifts, entries, strict=True):
        if entry.unit == "m" and entry.name.endswith("_x"):
            row[0] = width_m / camera.width
        elif entry.unit == "m" and entry.name.endswith("_y"):
            row[1] = -height_m / camera.height  # y points up on the table, down in the image
    return shifts


def shifted_images(
    frames: NDArray[np.uint8], index: NDArray[np.int64], shift: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return shifted frames [B, S, H, W, 3], with border pixels repeated.

    Args:
        frames: all images, [N, H, W, 3].
        index: frames to return, [B, S].
        shift: pixels right and down, [B, 2], the same for all frames of a sample.
    """
    height, width = frames.shape[1:3]
    rows = np.clip(np.arange(height) - shift[:, 1:], 0, height - 1)
    columns = np.clip(np.arange(width) - shift[:, :1], 0, width - 1)
    moved = np.empty((*index.shape, height, width, 3), np.uint8)
    # One sample at a time: indexing all axes at once takes three times as long.
    for sample, chosen, row, column in zip(moved, index, rows, columns, strict=True):
        sample[:] = frames[chosen].take(row, axis=1).take(column, axis=2)
    return moved


def varied_light(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a random gain and offset for the images of each sample, [B, 2]."""
    return rng.uniform((0.9, -0.05), (1.1, 0.05), (count, 2)).astype(np.float32)
