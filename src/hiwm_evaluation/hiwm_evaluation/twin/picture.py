"""One step of a twin as a picture: true, imagined and their difference, with numbers and curves."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hiwm_core.palette import BLUE, GREEN, RED, Colour
from hiwm_evaluation.twin.lockstep import TwinStep

Row = Mapping[str, float | None]

TITLES = ("true", "imagined", "difference x 2")
_VIEW = 320  # height of a view, px: small pictures are enlarged, without smoothing
_HEAD, _TEXT, _CURVES, _GAP = 22, 24, 84, 6
_PAPER, _INK = (250, 250, 248), (40, 40, 40)
# Upper end of the curve of PSNR: a very good frame.
_MOST_DB = 45.0


def views(step: TwinStep, camera: str) -> tuple[NDArray[np.uint8], ...]:
    """Return a camera's views [H, W, 3]: true, imagined, twice their absolute difference."""
    true, imagined = step.true[camera], step.imagined[camera]
    apart = 2 * np.abs(true.astype(np.int16) - imagined.astype(np.int16))
    return true, imagined, apart.clip(0, 255).astype(np.uint8)


class TwinPicture:
    """Draws the steps of a twin.

    Args:
        cameras: names; one row of views each.
        rows: the numbers of all steps.
        error_unit: of the task's measure.
        bad_error: of the task's measure; the curve of errors ends at twice as much.
    """

    def __init__(
        self, cameras: Sequence[str], rows: Sequence[Row], error_unit: str, bad_error: float
    ) -> None:
        self._cameras, self._rows, self._unit = tuple(cameras), rows, error_unit
        self._curves: tuple[tuple[str, Colour, float], ...] = (
            ("psnr_db", BLUE, _MOST_DB), ("error", RED, 2 * bad_error), ("trust", GREEN, 1.0),
        )
        self._font = ImageFont.load_default(14)

    def draw(self, step: TwinStep, number: int) -> NDArray[np.uint8]:
        """Return the picture of a step [H, W, 3], both even; `number` is its row."""
        shown = [self._side_by_side(views(step, camera)) for camera in self._cameras]
        width = max(image.width for image in shown)
        width += width % 2
        height = _HEAD + sum(image.height + _GAP for image in shown) + _TEXT + _CURVES
        height += height % 2
        page = Image.new("RGB", (width, height), _PAPER)
        pen = ImageDraw.Draw(page)
        for i, title in enumerate(TITLES):
            pen.text(
                (width * (i + 0.5) / 3, _HEAD / 2), title, fill=_INK, font=self._font, anchor="mm"
            )
        top = _HEAD
        for image in shown:
            page.paste(image, (0, top))
            top += image.height + _GAP
        self._write(pen, self._rows[number], (8, top + 2))
        self._plot(pen, number, (8, top + _TEXT, width - 8, top + _TEXT + _CURVES - 8))
        return np.asarray(page)

    @staticmethod
    def _side_by_side(pictures: Sequence[NDArray[np.uint8]]) -> Image.Image:
        """Return views of one camera in a row, small ones enlarged."""
        height, width = pictures[0].shape[:2]
        times = max(1, round(_VIEW / height))
        row = Image.new("RGB", (3 * times * width + 2 * _GAP, times * height), _PAPER)
        for i, pixels in enumerate(pictures):
            view = Image.fromarray(pixels).resize(
                (times * width, times * height), Image.Resampling.NEAREST
            )
            row.paste(view, (i * (times * width + _GAP), 0))
        return row

    def _write(self, pen: ImageDraw.ImageDraw, row: Row, at: tuple[int, int]) -> None:
        """Write the numbers, each in the colour of its curve."""
        x = float(at[0])
        for text, colour in (
            (f"step {row['step']:.0f}", _INK),
            (f"PSNR {_text(row['psnr_db'], '.1f')} dB", BLUE),
            (f"error {_text(row['error'], '.3g')} {self._unit}", RED),
            (f"trust {_text(row['trust'], '.2f')}", GREEN),
        ):
            pen.text((x, at[1]), text, fill=colour, font=self._font)
            x += pen.textlength(text, font=self._font) + 22

    def _plot(
        self, pen: ImageDraw.ImageDraw, number: int, box: tuple[int, int, int, int]
    ) -> None:
        """Draw the curves up to a step, over the length of the whole run."""
        left, top, right, bottom = box
        pen.rectangle(box, outline=(200, 200, 196))
        last = max(1, len(self._rows) - 1)
        for key, colour, most in self._curves:
            points = [
                (left + (right - left) * t / last,
                 bottom - (bottom - top) * min(1.0, max(0.0, value / most)))
                for t, row in enumerate(self._rows[: number + 1])
                if (value := row[key]) is not None
            ]
            if len(points) > 1:
                pen.line(points, fill=colour, width=2)
        x = left + (right - left) * number / last
        pen.line([(x, top), (x, bottom)], fill=_INK)


def _text(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)
