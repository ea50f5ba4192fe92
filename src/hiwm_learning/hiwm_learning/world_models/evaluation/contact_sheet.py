"""True and imagined frames side by side, for people."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hiwm_learning.checkpoints import write_file

STEPS = (0, 5, 10, 20, 30, 40, 50, 75, 100)
SCALE = 1.5
QUALITY = 85  # of the JPEG: a sheet has half a megabyte
MARGIN, TOP, LEFT, GAP = 8, 18, 70, 3


def draw_contact_sheet(
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]], path: Path
) -> None:
    """Write a JPEG, a third of a PNG's size, with a true and an imagined row for each rollout.

    Args:
        pairs: true and imagined frames [T, H, W, 3] from the same start.
        path: file to write.
    """
    if not pairs:
        return
    size = round(pairs[0][0].shape[1] * SCALE)
    width = LEFT + len(STEPS) * (size + GAP) + MARGIN
    height = TOP + len(pairs) * (2 * (size + GAP) + MARGIN)
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for column, step in enumerate(STEPS):
        pen.text((LEFT + column * (size + GAP) + 4, 3), f"step {step}", fill=(60, 60, 60))
    for row, pair in enumerate(pairs):
        top = TOP + row * (2 * (size + GAP) + MARGIN)
        for part, (name, frames) in enumerate(zip(("true", "imagined"), pair, strict=True)):
            y = top + part * (size + GAP)
            pen.text((MARGIN, y + size // 2 - 6), name, fill=(60, 60, 60))
            for column, step in enumerate(STEPS):
                if step < len(frames):
                    frame = Image.fromarray(frames[step]).resize(
                        (size, size), Image.Resampling.LANCZOS
                    )
                    sheet.paste(frame, (LEFT + column * (size + GAP), y))
    write_file(path, lambda file: sheet.save(
        file, "JPEG", quality=QUALITY, subsampling=0, optimize=True
    ))
