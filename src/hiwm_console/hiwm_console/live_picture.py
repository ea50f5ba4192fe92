"""The live view as one picture: the frame, who is in control, and the place in the session."""

import io
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hiwm_console.pictures import PNG_OPTIONS
from hiwm_core.control import Mode
from hiwm_core.palette import MODE_COLOURS

# Minimum width of the frame, px; whole multiples keep its pixels square.
_MIN_SIDE = 380
_BORDER = 10
_LINE = 20


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The texts and numbers shown with the frame."""

    mode: Mode
    device: str  # device in control; empty if none
    branch_id: str
    step: int
    trust: float  # 0..1, NaN if unknown
    progress: float  # 0..1, NaN if unknown
    world: str  # imagination, or the robot's name
    reason: str  # why this mode


@lru_cache(maxsize=2)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def live_picture(frame: NDArray[np.uint8], shown: Shown) -> Image.Image:
    """Return the picture of a frame [H, W, 3] rgb8, with a border in the colour of the mode."""
    scale = max(1, math.ceil(_MIN_SIDE / frame.shape[1]))
    width, height = frame.shape[1] * scale, frame.shape[0] * scale
    colour = MODE_COLOURS[shown.mode]
    picture = Image.new(
        "RGB", (width + 2 * _BORDER, height + 2 * _BORDER + 2 * _LINE + 6), colour
    )
    # Repeating pixels costs a tenth of smoothing, and hides no errors of a world model.
    large = Image.fromarray(frame).resize((width, height), Image.Resampling.NEAREST)
    picture.paste(large, (_BORDER, _BORDER))
    draw = ImageDraw.Draw(picture)
    who = f" by {shown.device}" if shown.device else ""
    known = "".join(
        f"  {name} {value:.2f}"
        for name, value in (("trust", shown.trust), ("progress", shown.progress))
        if not math.isnan(value)
    )
    top = f"{shown.mode.name}{who}   {shown.branch_id}  step {shown.step}"
    bottom = f"{shown.world}{known}  {shown.reason}"
    fitting = (width + _BORDER) // 6
    y = height + 2 * _BORDER - 3
    draw.text((_BORDER, y), top, fill="white", font=_font(16))
    draw.text((_BORDER, y + _LINE), bottom[:fitting], fill="white", font=_font(13))
    return picture


def png_bytes(picture: Image.Image) -> bytes:
    """Return a picture as PNG."""
    out = io.BytesIO()
    picture.save(out, "PNG", **PNG_OPTIONS)
    return out.getvalue()
