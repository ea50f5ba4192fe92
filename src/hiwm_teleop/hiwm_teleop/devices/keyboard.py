"""The keyboard of the terminal that started the session: both arms, and every request."""

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
from hiwm_teleop.status_line import StatusLine
from hiwm_teleop.terminal import Terminal

# A read later than this was delayed by something else; the arm must not jump to catch up.
_LONGEST_READ_GAP_S = 0.1


class KeyboardDevice(Device):
    """WASD moves the left arm, IJKL the right one; a status line shows the session's state."""

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
            default=5.0, description="control is released after this long without a key [s]",
            lower=0.5, upper=60.0,
        ),
    }

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._terminal = Terminal(str(self.options["tty"]))
        self._intents = KeyIntents(deadman_window_s=float(self.options["deadman_window_s"]))
        self._read_s: float | None = None
        self._status = StatusLine(self._terminal, "t takes over, ? lists the keys")

    def open(self) -> None:
        """Open the terminal; raises DeviceError if there is none."""
        self._terminal.open()
        self._terminal.write(HELP + "\r\n")

    def close(self) -> None:
        """Restore the terminal."""
        self._terminal.close()

    def read(self, view: OperatorView) -> OperatorInput:
        """Return the input from the keys, and refresh the status line."""
        for key in self._terminal.typed():
            self._intents.press(key, view.now_s, view.mode)
        self._status.show_answers(view.answers)
        for answer in view.answers:
            if answer.kind is EventKind.ROLLBACK and answer.ok:
                self._intents.rolled_back_to = answer.node_id
        gap = 0.0 if self._read_s is None else min(view.now_s - self._read_s, _LONGEST_READ_GAP_S)
        self._read_s = view.now_s
        intent = self._intents.take(view.now_s, view.mode)
        if intent.help_wanted:
            self._status.print(HELP)
        self._status.note = intent.note or self._status.note
        delta = None
        if intent.deadman and view.world is not None:
            axes = planar_axes(view.world.embodiment)
            delta = np.zeros(view.world.embodiment.action_dim)
            for arm, x, y in intent.moves:
                if arm < len(axes):
                    delta[list(axes[arm])] += np.array([x, y]) * self.options["speed_m_s"] * gap
        count = self._intents.count
        self._status.show(view, f"count {count}" if count else "")
        return OperatorInput(
            delta=delta, deadman=intent.deadman, events=intent.events, silent=intent.silent
        )


def planar_axes(embodiment: Embodiment) -> list[tuple[int, int]]:
    """Return the indices of x and y in the action array, for each arm.

    Raises:
        DeviceError: an arm has fewer than two entries in m, so keys cannot move it in the plane.
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
