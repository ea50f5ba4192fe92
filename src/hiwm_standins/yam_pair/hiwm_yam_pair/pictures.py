"""What measures of frames share: where arms hide the table, and masks that take little memory."""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.json_files import finite
from hiwm_core.task_plugin import Image

Mask = NDArray[np.bool_]
Bits = NDArray[np.uint8]

# Beside an arm a pixel shows both the arm and what lies behind it [px].
_BORDER_PX = 2


def hidden_by_arms(frames: Image) -> Mask:
    """Return where arms, or their borders, hide the table in frames [..., H, W, 3].

    The arms are grey; table and objects are not. A border between these two may look grey, but it
    is only a pixel wide.
    """
    pixels = frames.astype(np.float32) + 1.0
    green = pixels[..., 1] / pixels[..., 0]
    blue = pixels[..., 2] / pixels[..., 0]
    arms = (green > 0.96) & (green < 1.14) & (blue > 0.96) & (blue < 1.33)
    squares = arms[..., 1:, 1:] & arms[..., 1:, :-1] & arms[..., :-1, 1:] & arms[..., :-1, :-1]
    wide = np.zeros_like(arms)
    for rows in (slice(1, None), slice(None, -1)):
        for columns in (slice(1, None), slice(None, -1)):
            wide[..., rows, columns] |= squares
    return _widened(wide)


def _widened(mask: Mask) -> Mask:
    """Return a mask [..., H, W] that also covers pixels within the border's width."""
    out = mask.copy()
    for _ in range(_BORDER_PX):
        before = out.copy()
        out[..., 1:, :] |= before[..., :-1, :]
        out[..., :-1, :] |= before[..., 1:, :]
        out[..., :, 1:] |= before[..., :, :-1]
        out[..., :, :-1] |= before[..., :, 1:]
    return out


def packed(mask: Mask) -> Bits:
    """Return a mask [T, H, W] as bits [T, H, W / 8]."""
    return np.packbits(mask, axis=-1)


def unpacked(bits: Bits) -> Mask:
    """Return the mask [T, H, W] of bits; the width is rounded up to a multiple of 8 by zeros."""
    return np.unpackbits(bits, axis=-1).astype(bool)


def median(values: NDArray[np.float64]) -> float | None:
    """Return the median of the numbers that are known; None: of none, or infinite."""
    known = values[~np.isnan(values)]
    return finite(float(np.median(known))) if len(known) else None


def share(values: NDArray[np.bool_], known: NDArray[np.bool_]) -> float | None:
    """Return the share of what is true among what is known; None: nothing is."""
    return float(values[known].mean()) if known.any() else None
