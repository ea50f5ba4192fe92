"""The picture of a view check: usual and present view, what the model draws, and a difference."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from hiwm_core.palette import RED
from hiwm_learning.checkpoints import write_file
from hiwm_learning.world_models.view_check import PATCH, CameraFinding

TITLES = ("usual", "now", "as the model draws it", "now against usual")
_VIEW, _GAP, _HEAD, _LINE = 300, 8, 24, 20  # px; _VIEW is the height of a view
_MARK, _OURS = "Software", "hiwm view check"
_PAPER, _INK = (250, 250, 248), (40, 40, 40)


def draw_view_check(findings: Sequence[CameraFinding], path: Path) -> None:
    """Write a PNG with a row for each camera; patches that the model cannot draw have a frame."""
    font = ImageFont.load_default(14)
    rows = [_row(finding) for finding in findings]
    heights = [row.height + _HEAD + _LINE * max(1, len(f.problems)) + _GAP
               for row, f in zip(rows, findings, strict=True)]
    page = Image.new("RGB", (max(row.width for row in rows), sum(heights)), _PAPER)
    pen = ImageDraw.Draw(page)
    top = 0
    for finding, row, height in zip(findings, rows, heights, strict=True):
        width = row.width / len(TITLES)
        for i, title in enumerate(TITLES):
            text = f"{finding.camera}: {title}" if i == 0 else title
            pen.text((width * (i + 0.5), top + _HEAD / 2), text, fill=_INK, font=font, anchor="mm")
        page.paste(row, (0, top + _HEAD))
        for i, line in enumerate(finding.problems or ("nothing unusual",)):
            pen.text(
                (_GAP, top + _HEAD + row.height + _LINE * i + 3), line, font=font,
                fill=RED if finding.problems else _INK,
            )
        top += height
    mark = PngImagePlugin.PngInfo()
    mark.add_text(_MARK, _OURS)
    write_file(path, lambda file: page.save(file, "PNG", optimize=True, pnginfo=mark))


def is_view_check(path: Path) -> bool:
    """Return whether a file is such a picture."""
    try:
        with Image.open(path) as picture:
            return bool(picture.info.get(_MARK) == _OURS)
    except (OSError, ValueError):
        return False


def _row(finding: CameraFinding) -> Image.Image:
    scale = _VIEW / finding.seen.shape[0]
    apart = np.abs(finding.seen.astype(np.int16) - finding.usual.astype(np.int16))
    views = [
        _enlarged(view, scale) for view in (
            finding.usual, finding.seen, finding.redrawn,
            (2 * apart).clip(0, 255).astype(np.uint8),
        )
    ]
    pen = ImageDraw.Draw(views[1])
    right, down = finding.moved_px
    for row, column in np.argwhere(finding.unknown):
        left, top = (column * PATCH + right) * scale, (row * PATCH + down) * scale
        side = PATCH * scale - 1
        pen.rectangle([left, top, left + side, top + side], outline=RED, width=2)
    width = sum(view.width for view in views) + _GAP * (len(views) - 1)
    page = Image.new("RGB", (width, views[0].height), _PAPER)
    left = 0
    for view in views:
        page.paste(view, (left, 0))
        left += view.width + _GAP
    return page


def _enlarged(view: NDArray[np.uint8], scale: float) -> Image.Image:
    image = Image.fromarray(view)
    return image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.NEAREST
    )
