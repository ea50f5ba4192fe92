"""What a device's buttons mean, according to its file.

Input: the button levels of every report. Output: requests and the deadman level. Each press makes
one request; a button already down in the first report, or in the first one after a loss, makes
none. Pure. Tested by ``test_buttons.py``.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from hiwm_core.branch_records import Label
from hiwm_core.control import Mode
from hiwm_teleop.devices.base import EventKind, OperatorEvent, OperatorView

Press = Literal[
    "gripper", "next_arm", "next_lock", "next_frame", "next_speed", "rollback", "fork", "success",
    "failure", "discard", "reset", "pause", "stop", "clear_stop",
]
K = TypeVar("K", bound=Hashable)

EVENTS: Mapping[Press, EventKind] = {
    "rollback": EventKind.ROLLBACK, "fork": EventKind.FORK, "success": EventKind.LABEL,
    "failure": EventKind.LABEL, "discard": EventKind.DISCARD, "reset": EventKind.RESET,
    "pause": EventKind.PAUSE, "stop": EventKind.STOP, "clear_stop": EventKind.CLEAR_STOP,
}
_LABELS: Mapping[Press, Label] = {
    "success": Label.SUCCESS, "failure": Label.FAILURE,
}


@dataclass(frozen=True, kw_only=True)
class ByControl:
    """One button with two meanings: while the deadman is held, and while it is not."""

    driving: Press | None = None
    watching: Press | None = None


ButtonUse = Literal["deadman", Press] | ByControl


@dataclass(kw_only=True)
class Pressed:
    """What the buttons requested since the last call."""

    deadman: bool = False
    let_go: bool = False  # the deadman was up in some report since
    events: list[OperatorEvent] = field(default_factory=list)
    grippers: int = 0  # number of gripper toggles
    arms: int = 0  # number of arms to advance by
    locks: int = 0  # number of axis locks to advance by
    frames: int = 0  # number of frames to advance by
    speeds: int = 0  # number of speeds to advance by


class Buttons(Generic[K]):
    """Turns levels into requests.

    Args:
        uses: function of each button, by the device's name for it.
        rollback_steps: control steps of one rollback.
        device: device, for the arbiter's log.
    """

    def __init__(self, uses: Mapping[K, ButtonUse], rollback_steps: int, device: str) -> None:
        self._uses = uses
        self._steps = rollback_steps
        self._device = device
        self._before: Mapping[K, bool] | None = None
        self._reports: list[Mapping[K, bool]] = []
        self._rolled_back_to = ""

    def feed(self, levels: Mapping[K, bool]) -> None:
        """Add one report: whether each button is down."""
        self._reports.append(levels)

    def forget(self) -> None:
        """Reset after the device was lost: a button that is down now makes no request."""
        self._before, self._reports = None, []

    def take(self, view: OperatorView) -> Pressed:
        """Return what was pressed since the last call, and whether the deadman is down."""
        for answer in view.answers:
            if answer.ok and answer.kind is EventKind.ROLLBACK:
                self._rolled_back_to = answer.node_id
            elif answer.ok and answer.kind is EventKind.RESET:
                self._rolled_back_to = ""
        pressed = Pressed()
        reports, self._reports = self._reports, []
        for levels in reports:
            if self._before is not None:
                driving = self._holds(levels)
                for name, use in self._uses.items():
                    if levels.get(name, False) and not self._before.get(name, False):
                        self._press(use, driving, view.mode, pressed)
            self._before = levels
            pressed.let_go = pressed.let_go or not self._holds(levels)
        pressed.deadman = self._before is not None and self._holds(self._before)
        return pressed

    def _holds(self, levels: Mapping[K, bool]) -> bool:
        return any(
            use == "deadman" and levels.get(name, False) for name, use in self._uses.items()
        )

    def _press(self, use: ButtonUse, driving: bool, mode: Mode, pressed: Pressed) -> None:
        if isinstance(use, ByControl):
            meant = use.driving if driving else use.watching
        else:
            meant = None if use == "deadman" else use
        if meant == "gripper":
            pressed.grippers += 1
        elif meant == "next_arm":
            pressed.arms += 1
        elif meant == "next_lock":
            pressed.locks += 1
        elif meant == "next_frame":
            pressed.frames += 1
        elif meant == "next_speed":
            pressed.speeds += 1
        elif meant is not None:
            pressed.events.append(self._event(meant, mode))

    def _event(self, meant: Press, mode: Mode) -> OperatorEvent:
        kind = EVENTS[meant]
        if kind is EventKind.PAUSE and mode is Mode.PAUSED:
            # One button pauses and resumes, like the keyboard's space. Only clear_stop leaves
            # STOPPED.
            kind = EventKind.START
        return OperatorEvent(
            kind=kind, steps=self._steps, label=_LABELS.get(meant, Label.NONE),
            node_id=self._rolled_back_to if kind is EventKind.FORK else "", note=self._device,
        )
