"""A session on one page: one row per branch, with evenly spaced frames coloured by source."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from hiwm_core.control import Source
from hiwm_core.palette import GREEN, GREY, RED, SOURCE_COLOURS, SOURCE_NAMES, Colour

COLUMNS = 10
# More rows do not fit a page. The last line states how many are omitted.
MAX_ROWS = 40
_TILE = 112  # side of a frame, px
_BORDER = 4
_GAP = 4
_CAPTION = 15  # under each frame
_STRIP = 5  # under each row: the source of each tick
_LABEL = 190  # width of the text left of a row
_HEAD = 58
_PAPER, _INK = (250, 250, 248), (40, 40, 40)
VERDICTS: dict[str, Colour] = {"success": GREEN, "failure": RED, "": GREY}


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One frame."""

    frame: NDArray[np.uint8]  # [H, W, 3] rgb
    source: int  # Command.SOURCE_* of the action that led to it
    step: int
    trust: float  # 0..1, NaN where unknown


@dataclass(frozen=True, kw_only=True)
class Row:
    """One branch."""

    name: str
    lines: tuple[str, ...]  # start, length, note
    verdict: str  # key of VERDICTS
    tiles: tuple[Tile, ...]
    sources: tuple[int, ...] = ()  # Command.SOURCE_* of every tick


def contact_sheet(title: str, rows: Sequence[Row]) -> Image.Image:
    """Return the contact sheet as an image."""
    shown = rows[:MAX_ROWS]
    cell = _TILE + 2 * _BORDER
    pitch = cell + _CAPTION + _STRIP + 3 * _GAP
    width = _LABEL + COLUMNS * (cell + _GAP) + 3 * _GAP
    left_out = len(rows) - len(shown)
    height = _HEAD + len(shown) * pitch + (24 if left_out else 8)
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((2 * _GAP, 6), title, fill=_INK, font=ImageFont.load_default(18))
    _legend(draw, shown)
    for i, row in enumerate(shown):
        _draw_row(sheet, draw, row, _HEAD + i * pitch)
    if left_out:
        draw.text(
            (2 * _GAP, height - 20), f"{left_out} more branches are not shown", fill=_INK,
            font=ImageFont.load_default(13),
        )
    return sheet


def evenly(count: int, wanted: int = COLUMNS) -> list[int]:
    """Return up to `wanted` of `count` indices, evenly spaced, first and last included."""
    if count <= 0:
        return []
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, wanted)).round())]


def _legend(draw: ImageDraw.ImageDraw, rows: Sequence[Row]) -> None:
    used = {source for row in rows for source in row.sources}
    used |= {tile.source for row in rows for tile in row.tiles}
    font = ImageFont.load_default(13)
    x = float(2 * _GAP)
    draw.text((x, 34), "border and strip: source", fill=_INK, font=font)
    x += draw.textlength("border and strip: source", font=font) + 16
    for source in Source:
        if source in used:
            draw.rectangle((x, 36, x + 14, 48), fill=SOURCE_COLOURS[source])
            draw.text((x + 20, 34), SOURCE_NAMES[source], fill=_INK, font=font)
            x += 20 + draw.textlength(SOURCE_NAMES[source], font=font) + 18
    draw.text((x, 34), "below: step, trust", fill=_INK, font=font)


def _draw_row(sheet: Image.Image, draw: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    small, normal = ImageFont.load_default(12), ImageFont.load_default(14)
    draw.rectangle((_GAP, top, _GAP + 5, top + _TILE + 2 * _BORDER), fill=VERDICTS[row.verdict])
    draw.text((_GAP + 12, top), row.name, fill=_INK, font=normal)
    y = top + 20
    for line in row.lines:
        for part in _wrapped(draw, line, _LABEL - 28, small):
            if y > top + _TILE - 6:
                break
            draw.text((_GAP + 12, y), part, fill=_INK, font=small)
            y += 15
    for column, tile in enumerate(row.tiles[:COLUMNS]):
        x = _LABEL + column * (_TILE + 2 * _BORDER + _GAP)
        side = _TILE + 2 * _BORDER
        colour = SOURCE_COLOURS[Source(tile.source)]
        draw.rectangle((x, top, x + side - 1, top + side - 1), fill=colour)
        frame = ImageOps.pad(
            Image.fromarray(tile.frame), (_TILE, _TILE), Image.Resampling.BICUBIC, color=_PAPER
        )
        sheet.paste(frame, (x + _BORDER, top + _BORDER))
        draw.text(
            (x + 2, top + side + 1), _caption(tile), fill=_INK, font=small
        )
    y = top + _TILE + 2 * _BORDER + _CAPTION + 2
    width = len(row.tiles) * (_TILE + 2 * _BORDER + _GAP) - _GAP
    for i, source in enumerate(row.sources):
        x0 = _LABEL + i * width // len(row.sources)
        x1 = _LABEL + (i + 1) * width // len(row.sources) - 1
        draw.rectangle((x0, y, max(x0, x1), y + _STRIP), fill=SOURCE_COLOURS[Source(source)])


def _caption(tile: Tile) -> str:
    return f"{tile.step}" if math.isnan(tile.trust) else f"{tile.step}   {tile.trust:.2f}"


def _wrapped(
    draw: ImageDraw.ImageDraw, text: str, width: float,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and draw.textlength(longer, font=font) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line else lines
