"""Frames as image files for a browser."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Small frames are sent losslessly; encoding a larger one as PNG takes longer than a tick.
_LARGEST_PNG_PIXELS = 160 * 160
_QUALITY = 88
# The fastest settings (zlib level 1, run lengths only): it is done ten times a second.
PNG_OPTIONS = {"compress_level": 1, "compress_type": 3}


def png(frame: NDArray[np.uint8]) -> bytes:
    """Return a frame [H, W, 3] rgb8 as PNG, pixel for pixel."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(out, "PNG", **PNG_OPTIONS)
    return out.getvalue()


def picture(frame: NDArray[np.uint8]) -> bytes:
    """Return a frame [H, W, 3] rgb8 as PNG if it is small, otherwise as JPEG."""
    if frame.shape[0] * frame.shape[1] <= _LARGEST_PNG_PIXELS:
        return png(frame)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def media_type(data: bytes) -> str:
    """Return the media type of a picture."""
    return "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
