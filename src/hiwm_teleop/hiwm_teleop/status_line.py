"""A status line at the bottom of a terminal, with messages printed above it."""

import math
from collections.abc import Sequence

from hiwm_teleop.devices.base import Answer, OperatorView
from hiwm_teleop.terminal import Terminal


class StatusLine:
    """The last line of a terminal, redrawn when it changes.

    Args:
        terminal: open while this is used.
        note: initial text after mode and step.
    """

    def __init__(self, terminal: Terminal, note: str) -> None:
        self._terminal = terminal
        self._line = ""
        self.note = note

    def show_answers(self, answers: Sequence[Answer]) -> None:
        """Show the answers to requests; refusals stay readable above the line."""
        for answer in answers:
            self.note = f"{answer.kind.value}: {answer.message if answer.ok else 'refused'}"
            if not answer.ok:
                self.print(f"{answer.kind.value}: refused: {answer.message}")

    def print(self, text: str) -> None:
        """Write lines above the status line, which is redrawn below them."""
        lines = text.replace("\n", "\r\n")
        self._terminal.write(f"\r\x1b[K{lines}\r\n")
        self._line = ""

    def show(self, view: OperatorView, extra: str = "") -> None:
        """Draw the line."""
        parts = [f"[{view.mode.name}]"]
        if view.tick is not None:
            parts += [view.tick.branch_id, f"step {view.tick.step}"]
            if not math.isnan(view.tick.trust):
                parts.append(f"trust {view.tick.trust:.2f}")
        else:
            parts.append("waiting for the world")
        if extra:
            parts.append(extra)
        line = " ".join(parts) + " | " + self.note
        line = line.replace("\n", " ")[: self._terminal.columns - 1]
        if line != self._line:
            self._line = line
            self._terminal.write(f"\r\x1b[K{line}")
