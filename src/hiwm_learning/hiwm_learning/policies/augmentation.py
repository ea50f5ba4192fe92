"""Shifting the picture together with what it says of the table.

A shift of the image alone, as image-only policies use it, would tell this one that its arms are
up to 17 mm from where the picture shows them. Where the camera looks straight down, the shift is
a shift of the table, so proprioception and actions move by the same metres.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import ActionEntry, CameraSpec, ProprioceptionEntry

# Largest shift each way: 4 % of a 96 px image.
SHIFT_PX = 4


def metres_per_pixel(
    entries: Sequence[ActionEntry | ProprioceptionEntry], camera: CameraSpec
) -> NDArray[np.float32]:
    """Return [D, 2]: how much each entry changes when the picture moves 1 px right, 1 px down.

    Entries in m whose names end in `_x` or `_y` are places on the table; all others, and every
    entry seen by a camera that does not look straight down, stay as they are.
    """
    shifts = np.zeros((len(entries), 2), np.float32)
    width_m, height_m = camera.view_m
    for row, entry in zip(shifts, entries, strict=True):
        if entry.unit == "m" and entry.name.endswith("_x"):
            row[0] = width_m / camera.width
        elif entry.unit == "m" and entry.name.endswith("_y"):
            row[1] = -height_m / camera.height  # the table's y points up, the picture's down
    return shifts


def shifted_images(
    frames: NDArray[np.uint8], index: NDArray[np.int64], shift: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return frames [B, S, H, W, 3], moved, the border pixels repeated.

    Args:
        frames: all images, [N, H, W, 3].
        index: frames wanted, [B, S].
        shift: pixels right and down, [B, 2], the same for all frames of a sample.
    """
    height, width = frames.shape[1:3]
    rows = np.clip(np.arange(height) - shift[:, 1:], 0, height - 1)
    columns = np.clip(np.arange(width) - shift[:, :1], 0, width - 1)
    moved = np.empty((*index.shape, height, width, 3), np.uint8)
    # One sample at a time: a single index over all axes takes three times as long.
    for sample, chosen, row, column in zip(moved, index, rows, columns, strict=True):
        sample[:] = frames[chosen].take(row, axis=1).take(column, axis=2)
    return moved


def varied_light(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return gain and offset of the images of each sample, [B, 2]."""
    return rng.uniform((0.9, -0.05), (1.1, 0.05), (count, 2)).astype(np.float32)
