"""What key presses mean: movement, control, and requests.

Terminals report key presses but no releases, so everything here works by time: a movement key
moves its arm for a short time after each press, and control is held while a key was pressed within
the deadman window. When the window expires the device falls silent, which pauses the session; it
never hands back on its own. Pure, with the clock passed in. Tested by ``test_key_intents.py``.
"""

import math
from dataclasses import dataclass, field

from hiwm_core.branch_records import Label
from hiwm_core.control import Mode
from hiwm_teleop.devices.base import EventKind, OperatorEvent

# Pairs of keys that move one entry of the action down and up. Two planar arms use the first four:
# wasd and ijkl, where up in the picture is +y.
PAIRS = (("a", "d"), ("s", "w"), ("j", "l"), ("k", "i"), ("u", "o"), ("c", "e"), ("[", "]"),
         (",", "."))
# Key to (pair, direction).
MOVES = {
    key: (pair, direction)
    for pair, keys in enumerate(PAIRS) for key, direction in zip(keys, (-1, 1), strict=True)
}
NEXT_ARM, NEXT_FRAME, NEXT_SPEED = "v", "g", "p"
HELP = (
    "t take over, h hand back | space pause or resume, x stop | [n]b back n steps, f fork | "
    "y success, n failure, r reset | g next frame, p next speed | q quit, ? this help"
)
# Terminals repeat a held key every 25 to 50 ms, so this bridges one missed repeat: a single tap is
# a step of about one tick.
HOLD_S = 0.15
DEFAULT_ROLLBACK = 10
# Longest count; more digits are a cat on the keys.
_MAX_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class KeyIntent:
    """What the keys request at one time."""

    moves: tuple[tuple[int, int], ...] = ()  # (index in PAIRS, -1 or 1)
    next_arm: bool = False  # the pairs move the next arm
    frames: int = 0  # number of frames to advance by
    speeds: int = 0  # number of speeds to advance by
    deadman: bool = False
    silent: bool = False
    events: tuple[OperatorEvent, ...] = ()
    note: str = ""  # for the person; may be empty
    help_wanted: bool = False


@dataclass(kw_only=True)
class KeyIntents:
    """Turns key presses into intents.

    `deadman_window_s` is how long control is held after the last key; infinite if something else
    shows that a person is present.
    """

    deadman_window_s: float = 5.0
    rolled_back_to: str = ""  # node of the last rollback; `f` forks from it
    _held_until: dict[str, float] = field(default_factory=dict)
    _engaged: bool = False
    _release_first: bool = False
    _mute_until_out: bool = False
    _last_key_s: float = float("-inf")
    _digits: str = ""
    _events: list[OperatorEvent] = field(default_factory=list)
    _note: str = ""
    _help_wanted: bool = False
    _next_arm: bool = False
    _frames: int = 0
    _speeds: int = 0

    @property
    def count(self) -> str:
        """Digits typed so far."""
        return self._digits

    def press(self, key: str, now_s: float, mode: Mode) -> None:
        """Process one key, typed while the session was in a mode."""
        key = key.lower()
        self._last_key_s = now_s
        if key.isdigit():
            self._digits = (self._digits + key)[-_MAX_DIGITS:]
            return
        digits, self._digits = self._digits, ""
        if key in MOVES:
            self._held_until[key] = now_s + HOLD_S
            if not self._engaged:
                self._note = "t takes over first"
        elif key == "t":
            # After a pause the arbiter must see the deadman released once.
            self._release_first = self._engaged and mode is not Mode.HUMAN
            self._engaged, self._mute_until_out = True, False
            self._note = f"taking over: {self._keep_pressing}h hands back"
        elif key == "h":
            self._note = "handing back" if self._engaged else "not in control"
            self._engaged = False
        elif key in (" ", "x"):
            self._pause_or_stop(key, mode)
        elif key == "b":
            steps = int(digits) if digits else DEFAULT_ROLLBACK
            self._ask(EventKind.ROLLBACK, f"back {steps} steps", steps=max(1, steps))
        elif key == "f":
            where = self.rolled_back_to or "the current state"
            self._ask(EventKind.FORK, f"forking {where}", node_id=self.rolled_back_to)
        elif key in ("y", "n"):
            label = Label.SUCCESS if key == "y" else Label.FAILURE
            self._ask(EventKind.LABEL, f"labelling {label.name.lower()}", label=label)
        elif key == "r":
            self.rolled_back_to = ""
            self._ask(EventKind.RESET, "next episode")
        elif key == "q":
            self.drop_control()
            self._ask(EventKind.PAUSE, "", note="the operator quits")
            self._ask(EventKind.QUIT, "quitting", note="the operator quit")
        elif key == NEXT_ARM:
            self._next_arm = True
            self._held_until.clear()
        elif key == NEXT_FRAME:
            self._frames += 1
        elif key == NEXT_SPEED:
            self._speeds += 1
        elif key == "?":
            self._help_wanted = True
        else:
            self._note = f"{key!r} does nothing, ? lists the keys"

    def take(self, now_s: float, mode: Mode) -> KeyIntent:
        """Return what the keys request now; each request and note is returned once."""
        events, self._events = tuple(self._events), []
        if self._engaged and now_s - self._last_key_s > self.deadman_window_s:
            self.drop_control()
            self._note = f"no key for {self.deadman_window_s:.0f} s: control released, t takes over"
        note, self._note = self._note, ""
        help_wanted, self._help_wanted = self._help_wanted, False
        next_arm, self._next_arm = self._next_arm, False
        frames, self._frames = self._frames, 0
        speeds, self._speeds = self._speeds, 0
        if self._mute_until_out and mode is not Mode.HUMAN:
            self._mute_until_out = False
        deadman = self._engaged and not self._release_first
        self._release_first = False
        moves = tuple(
            MOVES[key] for key, until in self._held_until.items() if deadman and now_s < until
        )
        return KeyIntent(
            moves=moves, deadman=deadman, silent=self._mute_until_out, events=events, note=note,
            help_wanted=help_wanted, next_arm=next_arm, frames=frames, speeds=speeds,
        )

    def drop_control(self) -> None:
        """Release control without handing back: stay silent until the arbiter leaves HUMAN.

        An explicit release would hand control to the policy, which nobody requested.
        """
        # May be called twice in a row, as in pause and quit.
        self._mute_until_out |= self._engaged
        self._engaged = False

    @property
    def _keep_pressing(self) -> str:
        if math.isinf(self.deadman_window_s):
            return ""
        return f"press keys at least every {self.deadman_window_s:.0f} s to keep control, "

    def _pause_or_stop(self, key: str, mode: Mode) -> None:
        if key == "x":
            self.drop_control()
            self._ask(EventKind.STOP, "stopping", note="stopped by a key")
        elif mode is Mode.PAUSED:
            self._ask(EventKind.START, "policy resumes", note="resumed by a key")
        elif mode is Mode.STOPPED:
            self._ask(EventKind.CLEAR_STOP, "stop cleared, space resumes")
        else:
            self.drop_control()
            self._ask(EventKind.PAUSE, "pausing", note="paused by a key")

    def _ask(
        self, kind: EventKind, status: str, *, steps: int = 0, node_id: str = "",
        label: Label = Label.NONE, note: str = "",
    ) -> None:
        if status:
            self._note = status
        self._events.append(
            OperatorEvent(kind=kind, steps=steps, node_id=node_id, label=label, note=note)
        )
