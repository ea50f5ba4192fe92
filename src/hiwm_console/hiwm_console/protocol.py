"""The messages that a page may send, validated field by field before anything else sees them.

For any input from a socket, `parse` returns one of these dataclasses or raises `Refused` with a
human-readable reason. Tested by the fuzz tests of `test_protocol.py`.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

# A drive message with thirty axes has 400 bytes, a label with the longest note 2,000.
MOST_BYTES = 4096
MOST_AXES = 64
MOST_FRAME = 80
MOST_NOTE = 500
MOST_LABEL = 80
MOST_START = 400  # a path and a step
_NODE = re.compile(r"[A-Za-z0-9_.-]{1,80}:[0-9]{1,9}")
_BRANCH = re.compile(r"[A-Za-z0-9_.-]{1,80}")

ACTIONS = (
    "start", "pause", "stop", "clear_stop", "rollback", "fork", "label", "discard", "reset",
    "reset_by_hand", "save", "rearm", "propose", "continue",
)
SEAT_WISHES = ("ask", "give", "keep", "leave")
DEVICES = ("keys", "touch", "gamepad", "spacemouse", "headset")
MOST_HANDS = 8


class Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """A message that is malformed or not allowed, with a human-readable reason."""


@dataclass(frozen=True, kw_only=True)
class Hello:
    """The name of the page's user."""

    name: str


@dataclass(frozen=True, kw_only=True)
class HandPose:
    """A controller of a headset, in WebXR's axes: x right, y up, z towards the viewer."""

    arm: int  # its place among the arms
    held: bool  # the grip: the arm follows the hand
    tracked: bool
    position: tuple[float, ...]  # [3], m
    rotation: tuple[float, ...]  # [4], quaternion x y z w
    trigger: float  # how far it is pulled, 0..1


@dataclass(frozen=True, kw_only=True)
class Drive:
    """The operator's current input; repeated while the page is alive."""

    # -1..1 of full speed: one per action entry, then six per arm with a tip; see `DriveAxes`
    axes: tuple[float, ...]
    deadman: bool
    t: float  # the page's own clock, ms; never goes backwards
    device: str = "keys"
    frame: str = "base"  # along whose axes tips move; an unknown one is the arm's own
    speed: float = 1.0  # share of full speed; of a hand's motion, how much of it the arm makes
    hands: tuple[HandPose, ...] = ()  # of a headset
    # True: recorded as a demonstration; False: as a correction; None: as the console was started.
    demonstration: bool | None = None


@dataclass(frozen=True, kw_only=True)
class LetGo:
    """The page releases control without handing back: the session must pause."""

    why: str = ""


@dataclass(frozen=True, kw_only=True)
class SeatWish:
    """A request about the driver's seat."""

    do: str  # one of SEAT_WISHES


@dataclass(frozen=True, kw_only=True)
class Act:
    """An operator's request; only the fields that its action needs are read."""

    id: int  # returned in the answer
    action: str  # one of ACTIONS
    node: str = ""
    steps: int = 0
    branch: str = ""
    label: str = ""
    note: str = ""
    count: int = 0
    seed: int = 0
    start: str = ""
    restore: bool = False


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The page has drawn a frame; the next may be sent."""

    n: int


@dataclass(frozen=True, kw_only=True)
class TreeWish:
    """The page asks for the next page of the tree's changes."""

    since: int = 0  # revision that it has


@dataclass(frozen=True, kw_only=True)
class Ping:
    """A request for an answer with the same stamp."""

    t: float


Message = Hello | Drive | LetGo | SeatWish | Act | Seen | TreeWish | Ping


def _refuse(reason: str) -> NoReturn:
    raise Refused(reason)


def _boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else _refuse("is not true or false")


def _integer(lower: int, upper: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lower <= value <= upper:
            _refuse(f"is not a whole number from {lower} to {upper}")
        return value

    return check


def _number(lower: float, upper: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            _refuse("is not a number")
        # A comparison first: an integer may be too large for a float.
        if not lower <= value <= upper or not math.isfinite(value):
            _refuse(f"is not from {lower:g} to {upper:g}")
        return float(value)

    return check


def _text(most: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            _refuse("is not text")
        if len(value) > most:
            _refuse(f"is longer than {most} characters")
        return "".join(c if c.isprintable() else " " for c in value)

    return check


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in choices:
            _refuse(f"is not one of {', '.join(choices)}")
        return str(value)

    return check


def _name(pattern: re.Pattern[str], what: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value == "":
            return ""
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            _refuse(f"is not a {what}")
        return value

    return check


def _axes(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) > MOST_AXES:
        _refuse(f"is not a list of at most {MOST_AXES} numbers")
    one = _number(-1.0, 1.0)
    return tuple(one(entry) for entry in value)


def _numbers(size: int, most: float) -> Callable[[Any], tuple[float, ...]]:
    one = _number(-most, most)

    def check(value: Any) -> tuple[float, ...]:
        if not isinstance(value, list) or len(value) != size:
            _refuse(f"is not a list of {size} numbers")
        return tuple(one(entry) for entry in value)

    return check


def _rotation(value: Any) -> tuple[float, ...]:
    found = _numbers(4, 1.001)(value)
    if not 0.99 < sum(number**2 for number in found) < 1.01:
        _refuse("is not a unit quaternion")
    return found


def _hands(value: Any) -> tuple[HandPose, ...]:
    if not isinstance(value, list) or len(value) > MOST_HANDS:
        _refuse(f"is not a list of at most {MOST_HANDS} hands")
    found = []
    for given in value:
        if not isinstance(given, dict) or given.keys() != _HAND.keys():
            _refuse(f"has a hand without exactly {', '.join(_HAND)}")
        found.append(HandPose(**{key: check(given[key]) for key, check in _HAND.items()}))
    return tuple(found)


_HAND: Mapping[str, Callable[[Any], Any]] = {
    "arm": _integer(0, 31), "held": _boolean, "tracked": _boolean,
    "position": _numbers(3, 100.0), "rotation": _rotation, "trigger": _number(0.0, 1.0),
}
_STAMP = _number(0.0, 1e15)
_NODE_NAME = _name(_NODE, "node id (<branch>:<step>)")

_FIELDS: Mapping[str, tuple[type[Any], Mapping[str, Callable[[Any], Any]]]] = {
    "hello": (Hello, {"name": _text(40)}),
    "drive": (
        Drive, {
            "axes": _axes, "deadman": _boolean, "t": _STAMP, "device": _one_of(DEVICES),
            "demonstration": _boolean, "frame": _text(MOST_FRAME), "speed": _number(0.0, 1.0),
            "hands": _hands,
        }
    ),
    "let_go": (LetGo, {"why": _text(100)}),
    "seat": (SeatWish, {"do": _one_of(SEAT_WISHES)}),
    "act": (Act, {
        "id": _integer(0, 2**31 - 1), "action": _one_of(ACTIONS), "node": _NODE_NAME,
        "steps": _integer(0, 100_000), "branch": _name(_BRANCH, "branch id"),
        "label": _text(MOST_LABEL), "note": _text(MOST_NOTE), "count": _integer(0, 64),
        "seed": _integer(0, 2**31 - 1), "start": _text(MOST_START), "restore": _boolean,
    }),
    "seen": (Seen, {"n": _integer(0, 2**53)}),
    "tree": (TreeWish, {"since": _integer(0, 2**53)}),
    "ping": (Ping, {"t": _STAMP}),
}
_NEEDED = {
    "hello": ("name",), "drive": ("axes", "deadman", "t"), "seat": ("do",),
    "act": ("id", "action"), "seen": ("n",), "ping": ("t",),
}


def is_node_name(text: str) -> bool:
    """Return whether a text has the form of a node id."""
    return _NODE.fullmatch(text) is not None


def read_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text. Raises Refused for anything else."""
    if len(text) > MOST_BYTES:
        _refuse(f"message of {len(text)} characters, at most {MOST_BYTES} are allowed")
    try:
        data = json.loads(text, parse_constant=lambda word: _refuse(f"{word} is not a number"))
    except (ValueError, RecursionError):
        _refuse("message is not JSON")
    if not isinstance(data, dict):
        _refuse("message is not a JSON object")
    return data


def parse(text: str) -> Message:
    """Return the message in a text.

    Raises:
        Refused: anything that is not exactly one of the messages above.
    """
    data = read_object(text)
    kind = data.pop("type", None)
    if not isinstance(kind, str) or kind not in _FIELDS:
        _refuse(f"message type is not one of {', '.join(_FIELDS)}")
    make, checks = _FIELDS[kind]
    for key in _NEEDED.get(kind, ()):
        if key not in data:
            _refuse(f"{kind} has no {key}")
    values = {}
    for key, value in data.items():
        if key not in checks:
            _refuse(f"{kind} has an unknown field")
        try:
            values[key] = checks[key](value)
        except Refused as refused:
            _refuse(f"{kind}: {key} {refused}")
    message: Message = make(**values)
    return message
