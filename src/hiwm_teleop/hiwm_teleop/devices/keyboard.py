"""The keyboard of the terminal the session was started from: both arms, and every request."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import DeviceError
from hiwm_teleop.devices.base import (
    Device,
    DeviceOption,
    EventKind,
    OperatorInput,
    OperatorView,
)
from hiwm_teleop.key_intents import HELP, KeyIntents
from hiwm_teleop.terminal import Terminal

# A read later than this was held up by something else; the arm must not jump to make up for it.
_LONGEST_READ_GAP_S = 0.1


class KeyboardDevice(Device):
    """WASD moves the left arm, IJKL the right one; a status line says what is going on."""

    name = "keyboard"
    synchronous = False
    shows_status = True
    OPTIONS: ClassVar[Mapping[str, DeviceOption]] = {
        "tty": DeviceOption(default="/dev/tty", description="terminal to read keys from"),
        "speed_m_s": DeviceOption(
            default=0.08, description="speed of an arm while its key is held [m/s]",
            lower=0.001, upper=1.0,
        ),
        "deadman_window_s": DeviceOption(
            default=5.0, description="control is let go after so long without a key [s]",
            lower=0.5, upper=60.0,
        ),
    }

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._terminal = Terminal(str(self.options["tty"]))
        self._intents = KeyIntents(deadman_window_s=float(self.options["deadman_window_s"]))
        self._read_s: float | None = None
        self._note = "t takes over, ? lists the keys"
        self._line = ""

    def open(self) -> None:
        """Take the terminal; raises DeviceError where there is none."""
        self._terminal.open()
        self._terminal.write(HELP + "\r\n")

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._terminal.close()

    def read(self, view: OperatorView) -> OperatorInput:
        """Return what the keys say, and refresh the status line."""
        for key in self._terminal.typed():
            self._intents.press(key, view.now_s, view.mode)
        for answer in view.answers:
            self._note = f"{answer.kind.value}: {answer.message if answer.ok else 'refused'}"
            if not answer.ok:
                self._print(f"{answer.kind.value}: refused: {answer.message}")
            if answer.kind is EventKind.ROLLBACK and answer.ok:
                self._intents.rolled_back_to = answer.node_id
        gap = 0.0 if self._read_s is None else min(view.now_s - self._read_s, _LONGEST_READ_GAP_S)
        self._read_s = view.now_s
        intent = self._intents.take(view.now_s, view.mode)
        if intent.help_wanted:
            self._print(HELP)
        self._note = intent.note or self._note
        delta = None
        if intent.deadman and view.world is not None:
            axes = planar_axes(view.world.embodiment)
            delta = np.zeros(view.world.embodiment.action_dim)
            for arm, x, y in intent.moves:
                if arm < len(axes):
                    delta[list(axes[arm])] += np.array([x, y]) * self.options["speed_m_s"] * gap
        self._show(view)
        return OperatorInput(
            delta=delta, deadman=intent.deadman, events=intent.events, silent=intent.silent
        )

    def _print(self, text: str) -> None:
        """Write a whole line above the status line, which is drawn again below it."""
        self._terminal.write(f"\r\x1b[K{text}\r\n")
        self._line = ""

    def _show(self, view: OperatorView) -> None:
        parts = [f"[{view.mode.name}]"]
        if view.tick is not None:
            parts += [
                view.tick.branch_id, f"step {view.tick.step}", f"trust {view.tick.trust:.2f}"
            ]
        else:
            parts.append("waiting for the world")
        if self._intents.count:
            parts.append(f"count {self._intents.count}")
        line = " ".join(parts) + " | " + self._note
        line = line.replace("\n", " ")[: self._terminal.columns - 1]
        if line != self._line:
            self._line = line
            self._terminal.write(f"\r\x1b[K{line}")


def planar_axes(embodiment: Embodiment) -> list[tuple[int, int]]:
    """Return, for each arm, the indices of its x and y in the action array.

    Raises:
        DeviceError: an arm has no two entries in m, so keys cannot move it in the plane.
    """
    axes = []
    for arm in embodiment.arms:
        indices = [
            i for i, entry in enumerate(embodiment.actions)
            if entry.arm == arm and entry.unit == "m"
        ]
        if len(indices) < 2:
            raise DeviceError(
                f"arm {arm!r} of {embodiment.name} has no x and y in m", where="device keyboard",
                remedy="use a device made for this embodiment",
            )
        axes.append((indices[0], indices[1]))
    return axes
