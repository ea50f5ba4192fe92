"""The keyboard of the terminal that started the session: every arm, and every request."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_teleop.devices.base import (
    Device,
    DeviceOption,
    EventKind,
    OperatorInput,
    OperatorView,
)
from hiwm_teleop.key_intents import HELP, NEXT_ARM, PAIRS, KeyIntents
from hiwm_teleop.status_line import StatusLine
from hiwm_teleop.terminal import Terminal

# A read later than this was delayed by something else; the arm must not jump to catch up.
_LONGEST_READ_GAP_S = 0.1
_POSITION = 3  # entries before a group's rotation


class KeyboardDevice(Device):
    """A pair of keys moves each entry of the action; a status line shows the session's state."""

    name = "keyboard"
    synchronous = False
    shows_status = True
    OPTIONS: ClassVar[Mapping[str, DeviceOption]] = {
        "tty": DeviceOption(default="/dev/tty", description="terminal to read keys from"),
        "speed_m_s": DeviceOption(
            default=0.08, description="speed in m while a key is held [m/s]",
            lower=0.001, upper=1.0,
        ),
        "speed_rad_s": DeviceOption(
            default=0.4, description="speed of joints and rotations [rad/s]",
            lower=0.001, upper=6.0,
        ),
        "speed_gripper_s": DeviceOption(
            default=1.0, description="speed of a gripper's ratio [1/s]", lower=0.01, upper=10.0,
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
        self._known: Embodiment | None = None
        self._sets: list[list[int]] = []  # entries that the pairs move; NEXT_ARM changes the set
        self._set = 0
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
        if view.world is not None and view.world.embodiment is not self._known:
            self._known, self._set = view.world.embodiment, 0
            self._sets = key_entries(self._known)
            self._status.print(self._keys())
        if intent.next_arm and self._sets:
            self._set = (self._set + 1) % len(self._sets)
            self._status.print(self._keys())
        if intent.help_wanted:
            self._status.print(f"{self._keys()}\n{HELP}")
        self._status.note = intent.note or self._status.note
        delta = None
        if intent.deadman and self._known is not None:
            delta = np.zeros(self._known.action_dim)
            entries = self._sets[self._set]
            for pair, direction in intent.moves:
                if pair < len(entries):
                    delta[entries[pair]] += direction * self._speed(entries[pair]) * gap
        count = self._intents.count
        self._status.show(view, f"count {count}" if count else "")
        return OperatorInput(
            delta=delta, deadman=intent.deadman, events=intent.events, silent=intent.silent
        )

    def _speed(self, entry: int) -> float:
        """Return the speed of an action entry, unit/s."""
        assert self._known is not None
        group = next(g for g in self._known.groups if entry in range(g.slice.start, g.slice.stop))
        turns = group.rotation == "6d" and entry >= group.slice.start + _POSITION
        unit = "rad" if turns else self._known.actions[entry].unit
        return float(self.options[
            {"m": "speed_m_s", "rad": "speed_rad_s", "1": "speed_gripper_s"}[unit]
        ])

    def _keys(self) -> str:
        """Return what each pair of keys moves, for people."""
        if self._known is None:
            return "waiting for the world"
        line = ", ".join(
            f"{less}/{more} {self._known.actions[entry].name}"
            for (less, more), entry in zip(PAIRS, self._sets[self._set], strict=False)
        )
        return f"{line} | {NEXT_ARM} next arm" if len(self._sets) > 1 else line


def key_entries(embodiment: Embodiment) -> list[list[int]]:
    """Return the indices of the action entries that pairs of keys move, in sets.

    All entries are one set if there are enough keys; otherwise each arm has its own. A 6D rotation
    has three entries, its rotation vector's (`hiwm_core.action_deltas`).
    """
    free: dict[str, list[int]] = {}
    for group in embodiment.groups:
        entries = list(range(group.slice.start, group.slice.stop))
        kept = entries[: _POSITION + 3] if group.rotation == "6d" else entries
        free.setdefault(group.arm, []).extend(kept)
    together = [entry for entries in free.values() for entry in entries]
    if len(together) <= len(PAIRS):
        return [together]
    return [
        entries[i:i + len(PAIRS)]
        for entries in free.values() for i in range(0, len(entries), len(PAIRS))
    ]
