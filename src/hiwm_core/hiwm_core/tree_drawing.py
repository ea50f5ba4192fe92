"""Draws the session's tree: branches, the sources of their actions, and their labels.

Steps run to the right. Each branch has a row below its parent branch. The colour shows the source,
pale colours mark rolled-back states, and a ring marks a state with a continuation. Used by the
session summary and `python -m hiwm_core.tree_drawing <session>`. Tested by `test_tree_drawing.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import Label, Node
from hiwm_core.control import Source
from hiwm_core.errors import HiwmError, StoreError
from hiwm_core.output_folders import check_output_file
from hiwm_core.palette import GREEN, RED, SOURCE_COLOURS, SOURCE_NAMES, Colour
from hiwm_core.png_files import is_marked_png, is_png, write_png
from hiwm_core.user_paths import path_argument

DRAWING_FILE = "tree.png"  # in the session
_SUCCESS, _FAILURE = GREEN, RED
_INK: Colour = (40, 44, 52)
_FAINT: Colour = (128, 134, 144)
_GRID: Colour = (234, 236, 240)
_BAND: Colour = (248, 249, 251)
_PAPER: Colour = (255, 255, 255)

_SCALE = 2  # drawn at twice the size and reduced, for smooth lines
_ROW = 26  # pixels per branch
_MIN_ROW = 15  # with very many branches
_PLOT_WIDTH = 900
_LEFT = 150  # names
_RIGHT = 190  # verdicts and notes
_HEADER = 88
_EPISODE = 30
_NOTE_LETTERS = 26
_TICK_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


@dataclass(kw_only=True)
class _Row:
    """One branch: its nodes in order, and the node at which it forked."""

    branch_id: str
    nodes: list[Node]
    fork: Node | None
    y: float = 0.0


@dataclass(kw_only=True)
class _Episode:
    """The branches of one episode, each below its parent."""

    episode_id: str
    rows: list[_Row] = field(default_factory=list)
    y: float = 0.0


def draw_tree(nodes: Sequence[Node], path: Path, *, title: str = "", head_id: str = "") -> None:
    """Write a PNG of a tree (parents before children) to `path`.

    `head_id`: the world's current node, marked if given. Raises StoreError if the file cannot be
    written.
    """
    image = _Drawing(nodes, title=title, head_id=head_id).image()
    try:
        write_png(path, image)
    except OSError as error:
        raise StoreError(
            f"the drawing of the tree cannot be written: {error.strerror or error}",
            where=str(path),
            remedy="check the permissions and the free space of that folder",
        ) from error


def check_drawing(session: Path, path: Path) -> None:
    """Check that the drawing of a session may be written to a path.

    The session's own tree.png may be any PNG: those of earlier versions have no mark.

    Raises:
        ConfigError: the file is something else, or lies inside the session under another name.
    """
    own = path.resolve() == (session / DRAWING_FILE).resolve()
    check_output_file(
        path, "a drawing of a tree", is_png if own else is_marked_png,
        inputs=[] if own else [session],
    )


def draw_session(session: Path, path: Path | None = None) -> Path:
    """Draw the tree of a session folder; return the image's path (by default its tree.png).

    For errors see `check_drawing` and `draw_tree`.
    """
    target = path or session / DRAWING_FILE
    check_drawing(session, target)
    with BranchReader(session / "tree.sqlite") as reader:
        draw_tree(reader.tree(), target, title=session.name, head_id=reader.head_id)
    return target


class _Drawing:
    """One drawing, in pixels of the final size."""

    def __init__(self, nodes: Sequence[Node], *, title: str, head_id: str) -> None:
        self._nodes = nodes
        self._by_id = {node.node_id: node for node in nodes}
        self._title = title
        self._head_id = head_id
        self._episodes = _arrange(nodes)
        self._last_step = max([node.step for node in nodes], default=0)
        rows = sum(len(episode.rows) for episode in self._episodes)
        self._row = _ROW if rows <= 40 else max(_MIN_ROW, _ROW * 40 / rows)
        y = float(_HEADER)
        for episode in self._episodes:
            episode.y = y
            y += _EPISODE
            for row in episode.rows:
                row.y = y + self._row / 2
                y += self._row
        self._height = int(y) + 34
        self._row_of = {row.branch_id: row for episode in self._episodes for row in episode.rows}
        width = _LEFT + _PLOT_WIDTH + _RIGHT
        self._image = Image.new("RGB", (width * _SCALE, self._height * _SCALE), _PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def image(self) -> Image.Image:
        """Return the finished image."""
        self._header()
        self._axis()
        for episode in self._episodes:
            self._text(12, episode.y + _EPISODE / 2, episode.episode_id, size=13, anchor="lm")
            for row in episode.rows:
                self._fork_line(row)
            for row in episode.rows:
                self._branch(row)
        self._marks()
        if not self._nodes:
            self._text(_LEFT, _HEADER + 10, "no states yet", colour=_FAINT)
        size = (self._image.width // _SCALE, self._image.height // _SCALE)
        return self._image.resize(size, Image.Resampling.LANCZOS)

    def _x(self, step: float) -> float:
        return _LEFT + _PLOT_WIDTH * step / max(1, self._last_step)

    def _header(self) -> None:
        branches = sum(len(episode.rows) for episode in self._episodes)
        counts = ", ".join(
            (
                _counted(len(self._episodes), "episode"),
                _counted(branches, "branch"),
                _counted(len(self._nodes), "state"),
                f"{sum(node.rolled_back for node in self._nodes)} rolled back",
            )
        )
        self._text(12, 20, self._title or "branch tree", size=17, anchor="lm")
        self._text(_LEFT + _PLOT_WIDTH + _RIGHT - 12, 20, counts, colour=_FAINT, anchor="rm")
        x, y = 14.0, 52.0
        used = {node.source for node in self._nodes if node.parent_id}
        for source, name in SOURCE_NAMES.items():
            if source in used:
                self._line(x, y, x + 24, y, SOURCE_COLOURS[source], 5)
                x = self._text(x + 30, y, name, anchor="lm") + 18
        if any(node.rolled_back for node in self._nodes):
            self._line(x, y, x + 24, y, _pale(SOURCE_COLOURS[Source.POLICY]), 5)
            x = self._text(x + 30, y, "rolled back", anchor="lm") + 18
        self._ring(x + 6, y)
        x = self._text(x + 17, y, "continued from here", anchor="lm") + 18
        if self._head_id in self._by_id:
            self._arrow_head(x + 6, y)
            x = self._text(x + 20, y, "current state", anchor="lm") + 18
        if any(node.takeover for node in self._nodes):
            self._takeover(x + 6, y + 5.5)
            self._text(x + 17, y, "takeover", anchor="lm")

    def _axis(self) -> None:
        """Draw the bands of the branches and the grid of steps."""
        top, bottom = _HEADER - 4, self._height - 30
        for episode in self._episodes:
            for row in episode.rows[::2]:
                box = (
                    0,
                    row.y - self._row / 2,
                    _LEFT + _PLOT_WIDTH + _RIGHT,
                    row.y + self._row / 2,
                )
                self._draw.rectangle([value * _SCALE for value in box], fill=_BAND)
        spacing = next((s for s in _TICK_STEPS if self._last_step / s <= 12), _TICK_STEPS[-1])
        for step in range(0, self._last_step + 1, spacing):
            self._line(self._x(step), top, self._x(step), bottom, _GRID, 1)
            self._text(self._x(step), bottom + 12, str(step), colour=_FAINT, anchor="mm")
        self._text(12, bottom + 12, "step", colour=_FAINT, anchor="lm")

    def _fork_line(self, row: _Row) -> None:
        """Draw the line from a branch's fork to its row."""
        if row.fork is None or row.fork.branch_id not in self._row_of:
            return
        x, y = self._x(row.fork.step), self._row_of[row.fork.branch_id].y
        colour = _pale(_FAINT) if row.nodes[0].rolled_back else _FAINT
        self._line(x, y, x, row.y, colour, 1.4)
        self._line(x, row.y, self._x(row.nodes[0].step), row.y, colour, 1.4)

    def _branch(self, row: _Row) -> None:
        """Draw a branch's segments by source, its name, and its label."""
        discarded = row.nodes[0].discarded
        thickness = 3 if discarded else max(4, self._row / 5)
        for (source, rolled_back), run in groupby(
            row.nodes, key=lambda node: (node.source, node.rolled_back)
        ):
            steps = [node.step for node in run]
            colour = SOURCE_COLOURS.get(Source(source), _FAINT)
            colour = _pale(colour) if rolled_back or discarded else colour
            begin = max(steps[0] - 1, 0) if row.nodes[0].parent_id or steps[0] else steps[0]
            self._line(self._x(begin), row.y, self._x(steps[-1]), row.y, colour, thickness)
        name = row.branch_id.rsplit("-", 1)[-1]
        self._text(_LEFT - 14, row.y, name, colour=_FAINT if discarded else _INK, anchor="rm")
        self._verdict(row)

    def _verdict(self, row: _Row) -> None:
        last = row.nodes[-1]
        x, y = self._x(last.step) + 14, row.y
        if last.label == Label.SUCCESS:
            self._polyline([(x, y), (x + 3.5, y + 4), (x + 10, y - 5)], _SUCCESS, 2.4)
        elif last.label == Label.FAILURE:
            self._line(x, y - 4.5, x + 9, y + 4.5, _FAILURE, 2.4)
            self._line(x, y + 4.5, x + 9, y - 4.5, _FAILURE, 2.4)
        words = [last.label, row.nodes[0].note, "discarded" if last.discarded else ""]
        text = ", ".join(word for word in words if word)
        if len(text) > _NOTE_LETTERS:
            text = text[: _NOTE_LETTERS - 1].rstrip() + "\u2026"
        marks: dict[str, Colour] = {Label.SUCCESS: _SUCCESS, Label.FAILURE: _FAILURE}
        colour = marks.get(last.label, _FAINT)
        self._text(x + (16 if last.label in marks else 0), y, text, colour=colour, anchor="lm")

    def _marks(self) -> None:
        """Mark roots, continued states, takeovers, and the current state."""
        for episode in self._episodes:
            for row in episode.rows:
                if row.fork is None:
                    x = self._x(row.nodes[0].step)
                    self._ellipse(x, row.y, 4, _INK, _INK)
                elif row.fork.branch_id in self._row_of:
                    self._ring(self._x(row.fork.step), self._row_of[row.fork.branch_id].y)
                for node in row.nodes:
                    if node.takeover:
                        self._takeover(self._x(node.step), row.y)
        head = self._by_id.get(self._head_id)
        if head is not None:
            self._arrow_head(self._x(head.step), self._row_of[head.branch_id].y)

    # -- strokes, in pixels of the final size ---------------------------------------------------

    def _line(
        self, x0: float, y0: float, x1: float, y1: float, colour: Colour, width: float
    ) -> None:
        self._polyline([(x0, y0), (x1, y1)], colour, width)

    def _polyline(
        self, points: Sequence[tuple[float, float]], colour: Colour, width: float
    ) -> None:
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, fill=colour, width=round(width * _SCALE), joint="curve")

    def _ellipse(
        self, x: float, y: float, radius: float, fill: Colour, outline: Colour, width: float = 1
    ) -> None:
        box = [(x - radius) * _SCALE, (y - radius) * _SCALE]
        box += [(x + radius) * _SCALE, (y + radius) * _SCALE]
        self._draw.ellipse(box, fill=fill, outline=outline, width=round(width * _SCALE))

    def _ring(self, x: float, y: float) -> None:
        self._ellipse(x, y, 5, _PAPER, _INK, 2)

    def _takeover(self, x: float, y: float) -> None:
        corners = [(x - 5, y - 9), (x + 5, y - 9), (x, y - 2)]
        self._draw.polygon(
            [(a * _SCALE, b * _SCALE) for a, b in corners],
            fill=SOURCE_COLOURS[Source.HUMAN],
            outline=_PAPER,
        )

    def _arrow_head(self, x: float, y: float) -> None:
        corners = [(x - 3, y - 7), (x + 8, y), (x - 3, y + 7)]
        self._draw.polygon([(a * _SCALE, b * _SCALE) for a, b in corners], fill=_INK)

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        colour: Colour = _INK,
        size: float = 12,
        anchor: str = "la",
    ) -> float:
        """Draw text; return the x at its end."""
        font = ImageFont.load_default(size=size * _SCALE)
        self._draw.text((x * _SCALE, y * _SCALE), text, fill=colour, font=font, anchor=anchor)
        return x + float(self._draw.textlength(text, font=font)) / _SCALE


def _arrange(nodes: Sequence[Node]) -> list[_Episode]:
    """Return rows of all branches: each below its parent, later forks first."""
    by_id = {node.node_id: node for node in nodes}
    rows: dict[str, _Row] = {}
    for node in nodes:
        if node.branch_id not in rows:
            fork = by_id.get(node.parent_id)
            rows[node.branch_id] = _Row(branch_id=node.branch_id, nodes=[], fork=fork)
        rows[node.branch_id].nodes.append(node)
    episodes: dict[str, _Episode] = {}
    below: dict[str, list[_Row]] = {}
    for row in rows.values():
        parent = row.fork.branch_id if row.fork and row.fork.branch_id != row.branch_id else ""
        below.setdefault(parent, []).append(row)

    # A stack, as a session with many rollbacks exceeds Python's recursion limit.
    waiting = list(reversed(below.get("", [])))
    while waiting:
        row = waiting.pop()
        name = row.nodes[0].episode_id
        episodes.setdefault(name, _Episode(episode_id=name)).rows.append(row)
        # Later forks come first, so that fewer fork lines cross other rows. Forks of one state are
        # in the order of their start.
        children = sorted(
            reversed(below.get(row.branch_id, [])),
            key=lambda child: child.fork.step if child.fork else 0,
        )
        waiting += children
    return list(episodes.values())


def _counted(count: int, noun: str) -> str:
    """Return a number with its noun."""
    ending = "" if count == 1 else "es" if noun.endswith("ch") else "s"
    return f"{count} {noun}{ending}"


def _pale(colour: Colour) -> Colour:
    """Return the colour faded towards the background."""
    red, green, blue = (round(255 - 0.3 * (255 - part)) for part in colour)
    return red, green, blue


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the tree of the session folder given on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m hiwm_core.tree_drawing", description="Draw the tree of a session."
    )
    parser.add_argument("session", type=path_argument, help="session folder")
    parser.add_argument(
        "image", nargs="?", type=path_argument,
        help=f"PNG to write (default: {DRAWING_FILE} in the session)",
    )
    options = parser.parse_args(arguments)
    try:
        print(draw_session(options.session, options.image))
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
