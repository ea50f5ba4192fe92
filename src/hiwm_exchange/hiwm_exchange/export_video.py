"""Write an episode, or a comparison of branches, as an MP4 file with overlays.

    export_video BAG -o episode.mp4
    export_video BAG BAG BAG -o branches.mp4      side by side, step by step

The border of a picture has the colour of who acted: blue the policy, orange the operator, purple
the handback, green a demonstration. A bar shows the world's trust.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hiwm_core.bags import Segment, read_segment
from hiwm_core.bags.resample import segment_period
from hiwm_core.control import Source
from hiwm_core.control_period import alike
from hiwm_core.errors import BagError, ConfigError, HiwmError, reason
from hiwm_core.output_folders import check_output_file
from hiwm_core.palette import SOURCE_COLOURS
from hiwm_core.user_paths import path_argument
from hiwm_evaluation.twin.video import write_video
from hiwm_learning.datasets.session_trees import SessionTrees

MOST_BAGS = 8
COMMENT = "hiwm export_video"  # in the file: a video of ours may be replaced
_SIDE = 320  # px; smaller cameras are enlarged by a whole factor up to it
_BORDER, _CAPTION, _GAP = 6, 40, 6
_PAPER, _INK, _FAINT = (250, 250, 248), (40, 40, 40), (150, 150, 150)
_WORDS = {
    Source.NONE: "", Source.POLICY: "policy", Source.HUMAN: "operator",
    Source.DEMONSTRATION: "demonstration", Source.HANDBACK: "handback",
}


@dataclass(frozen=True, kw_only=True)
class _Column:
    """One bag, T ticks."""

    segment: Segment
    label: str
    pictures: dict[str, tuple[int, int]]  # camera -> width and height as drawn, px

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        width = max(width for width, _ in self.pictures.values()) + 2 * _BORDER
        height = sum(height + 2 * _BORDER for _, height in self.pictures.values())
        return width, height + _CAPTION


def video_pictures(segments: Sequence[Segment], labels: Sequence[str]) -> Iterator[
    NDArray[np.uint8]
]:
    """Yield the pictures of a video, [H, W, 3], one for each step.

    Bags are aligned by step: branches of one state begin together. A bag that has ended keeps its
    last picture, faint; one that has not begun is empty.

    Args:
        segments: at least one.
        labels: of each; empty: none.
    """
    columns = [
        _Column(segment=segment, label=label, pictures={
            name: _drawn_size(pixels.shape[2], pixels.shape[1])
            for name, pixels in segment.observations.items()
        })
        for segment, label in zip(segments, labels, strict=True)
    ]
    widths, heights = zip(*(column.size for column in columns), strict=True)
    size = (_even(sum(widths) + _GAP * (len(columns) + 1)), _even(max(heights) + 2 * _GAP))
    first = min(int(segment.steps[0]) for segment in segments)
    last = max(int(segment.steps[-1]) for segment in segments)
    for step in range(first, last + 1):
        page = Image.new("RGB", size, _PAPER)
        left = _GAP
        for column, width in zip(columns, widths, strict=True):
            _draw(page, column, left, step)
            left += width + _GAP
        yield np.asarray(page)


def _draw(page: Image.Image, column: _Column, left: int, step: int) -> None:
    segment, draw = column.segment, ImageDraw.Draw(page)
    t = int(np.searchsorted(segment.steps, step, side="right")) - 1
    ended = step > int(segment.steps[-1])
    font = ImageFont.load_default(13)
    name = segment.lineage.branch_id or segment.path.name
    draw.text((left + _BORDER, _GAP), name + (f"  {column.label}" if column.label else ""),
              fill=_INK, font=font)
    if t < 0:
        draw.text((left + _BORDER, _GAP + 18), "not begun", fill=_FAINT, font=font)
        return
    # The action that leads on from this tick; behind the last, the one that led to it.
    source = Source(int(segment.source[t])) if t < segment.length - 1 else Source(
        int(segment.applied_source[t])
    )
    words = "ended" if ended else _WORDS[source]
    draw.text((left + _BORDER, _GAP + 18), f"step {int(segment.steps[t])}  {words}",
              fill=_FAINT if ended else SOURCE_COLOURS[source], font=font)
    _draw_trust(draw, float(segment.trust[t]), left + column.size[0] - _BORDER)
    top = _GAP + _CAPTION
    for camera, (width, height) in column.pictures.items():
        colour = _FAINT if ended else SOURCE_COLOURS[source]
        draw.rectangle(
            (left, top, left + width + 2 * _BORDER - 1, top + height + 2 * _BORDER - 1), colour
        )
        picture = Image.fromarray(segment.observations[camera][t]).resize(
            (width, height), Image.Resampling.NEAREST
        )
        if ended:
            picture = Image.blend(picture, Image.new("RGB", picture.size, _PAPER), 0.5)
        page.paste(picture, (left + _BORDER, top + _BORDER))
        top += height + 2 * _BORDER


def _draw_trust(draw: ImageDraw.ImageDraw, trust: float, right: int) -> None:
    """Draw the trust, 0..1, as a bar that ends at `right`."""
    if math.isnan(trust):
        return
    left, top = right - 60, _GAP + 22
    draw.text((left - 34, top - 4), "trust", fill=_FAINT, font=ImageFont.load_default(12))
    draw.rectangle((left, top, right, top + 7), outline=_FAINT)
    draw.rectangle((left, top, left + round(60 * min(1.0, max(0.0, trust))), top + 7), fill=_INK)


def _drawn_size(width: int, height: int) -> tuple[int, int]:
    factor = max(1, _SIDE // max(width, height))
    return width * factor, height * factor


def _even(length: int) -> int:
    return length + length % 2


def is_our_video(path: Path) -> bool:
    """Return whether a file is a video that this command wrote."""
    try:
        with av.open(str(path)) as container:
            return container.metadata.get("comment") == COMMENT
    except (av.FFmpegError, OSError):
        return False


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="export_video", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bags", nargs="+", type=path_argument, help="folders of single bags")
    parser.add_argument("--output", "-o", required=True, type=path_argument, help="file, .mp4")
    parser.add_argument("--speed", type=float, default=1.0, help="times real time")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a video from the command line and return the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        check_output_file(options.output, "a video", is_our_video, inputs=options.bags)
        if len(options.bags) > MOST_BAGS or not 0.1 <= options.speed <= 100:
            raise ConfigError(
                f"{len(options.bags)} bags at speed {options.speed:g}", where="export_video",
                remedy=f"give at most {MOST_BAGS} bags, and a speed of 0.1 to 100",
            )
        segments = [read_segment(bag) for bag in options.bags]
        periods = [segment_period(segment).seconds for segment in segments]
        for bag, period in zip(options.bags, periods, strict=True):
            if not alike(period, periods[0]):
                raise BagError(
                    f"a control period of {period:.3f} s, the first has {periods[0]:.3f} s",
                    where=str(bag), remedy="compare bags of one control period",
                )
        trees = SessionTrees(without=True, write=print)
        labels = [
            trees.label(bag, segment.lineage.branch_id).label
            for bag, segment in zip(options.bags, segments, strict=True)
        ]
        frames = video_pictures(segments, labels)
        write_video(options.output, frames, options.speed / periods[0], comment=COMMENT)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot write ({options.output}): {reason(error)}", file=sys.stderr)
        return 1
    first, last = (pick(int(one.steps[i]) for one in segments) for pick, i in ((min, 0), (max, -1)))
    print(f"{options.output}: steps {first} to {last}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
