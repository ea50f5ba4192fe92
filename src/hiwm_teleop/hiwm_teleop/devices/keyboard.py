"""The keyboard of the terminal that started the session: every arm, and every request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.tips import TIP_AXES, TipAxis, TipStep, tip_axes
from hiwm_teleop.devices.base import (
    Device,
    DeviceOption,
    EventKind,
    OperatorInput,
    OperatorView,
)
from hiwm_teleop.devices.steering import Steering
from hiwm_teleop.key_intents import HELP, NEXT_ARM, PAIRS, KeyIntents
from hiwm_teleop.status_line import StatusLine
from hiwm_teleop.terminal import Terminal

# A read later than this was delayed by something else; the arm must not jump to catch up.
_LONGEST_READ_GAP_S = 0.1

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class KeyMotion:
    """What a pair of keys moves: an axis of an arm's tip, or an entry of the action."""

    name: str
    unit: str
    arm: str = ""
    axis: TipAxis | None = None  # None: the entry
    entry: int = -1


class KeyboardDevice(Device):
    """A pair of keys moves each tip's axis, joint or gripper; a line shows the session's state."""

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
        self._sets: list[list[KeyMotion]] = []  # what the pairs move; NEXT_ARM changes the set
        self._set = 0
        self._steering = Steering()
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
            self._steering.meet(self._known)
            self._sets = key_motions(self._known)
            self._status.print(self._keys())
        if intent.next_arm and self._sets:
            self._set = (self._set + 1) % len(self._sets)
            self._status.print(self._keys())
        if intent.help_wanted:
            self._status.print(f"{self._keys()}\n{HELP}")
        note = self._steering.change(intent.frames, intent.speeds)
        self._status.note = note or intent.note or self._status.note
        delta: Array | None = None
        tips: dict[str, Array] = {}
        if intent.deadman and self._known is not None:
            delta = np.zeros(self._known.action_dim)
            motions = self._sets[self._set]
            for pair, direction in intent.moves:
                if pair < len(motions):
                    self._move(motions[pair], direction * gap, delta, tips)
        count = self._intents.count
        self._status.show(view, f"count {count}" if count else "")
        return OperatorInput(
            delta=delta,
            tips={
                arm: TipStep(displacement=step, frame=self._steering.frame)
                for arm, step in tips.items()
            },
            deadman=intent.deadman, events=intent.events, silent=intent.silent,
            steering=self._steering.text,
        )

    def _move(
        self, motion: KeyMotion, seconds: float, delta: Array, tips: dict[str, Array]
    ) -> None:
        """Add a key's motion of some seconds, negative for the first key of its pair."""
        way = seconds * self._steering.speed * float(self.options[
            {"m": "speed_m_s", "rad": "speed_rad_s", "1": "speed_gripper_s"}[motion.unit]
        ])
        if motion.axis is None:
            delta[motion.entry] += way
        else:
            step = tips.setdefault(motion.arm, np.zeros(len(TIP_AXES)))
            step[TIP_AXES.index(motion.axis)] += way

    def _keys(self) -> str:
        """Return what each pair of keys moves, for people."""
        if self._known is None:
            return "waiting for the world"
        line = ", ".join(
            f"{less}/{more} {motion.name}"
            for (less, more), motion in zip(PAIRS, self._sets[self._set], strict=False)
        )
        if len(self._sets) > 1:
            line += f" | {NEXT_ARM} next arm"
        return f"{line} | {self._steering.text}" if tip_axes(self._known, self._known.arms[0]) \
            else line


def key_motions(embodiment: Embodiment) -> list[list[KeyMotion]]:
    """Return what pairs of keys move, in sets.

    All motions are one set if there are enough keys; otherwise each arm has its own. An arm whose
    tip can be moved has its axes and its gripper, any other one its entries.
    """
    by_arm = {arm: _motions(embodiment, arm) for arm in embodiment.arms}
    together = [motion for motions in by_arm.values() for motion in motions]
    if len(together) <= len(PAIRS):
        return [together]
    return [
        motions[i:i + len(PAIRS)]
        for motions in by_arm.values() for i in range(0, len(motions), len(PAIRS))
    ]


def _motions(embodiment: Embodiment, arm: str) -> list[KeyMotion]:
    axes = tip_axes(embodiment, arm)
    found = [
        KeyMotion(
            name=f"{arm}_{axis}", unit="m" if axis in TIP_AXES[:3] else "rad", arm=arm, axis=axis
        )
        for axis in axes
    ]
    driven = [
        group for group in embodiment.groups
        if group.arm == arm and not (
            axes and (group.kind == "ee_position" or group.kinematics is not None)
        )
    ]
    return found + [
        KeyMotion(
            name=embodiment.actions[entry].name, unit=embodiment.actions[entry].unit, entry=entry
        )
        for group in driven for entry in range(group.slice.start, group.slice.stop)
    ]
