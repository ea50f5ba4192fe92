"""The demo protocol of the Interactive World Simulator.

Text in: `{"type": "init" | "set_task", "task": ...}` and `{"type": "action", "action": {"w": 0 | 1,
...}, "t_client": ms}`; a message without a type is an action. Binary out: t_client as a big-endian
double, then a PNG. The standard page sends an action every 1 to 4 ms, since `t_client` differs each
time; other pages send one only when a key goes down or up. So messages beyond the limit of `flood`
are not refused: the newest replaces the previous ones. Keys count as held while the connection
answers pings, for at most `HELD_S` after the last message.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from hiwm_console.protocol import Refused, read_object

# Same time as the terminal keyboard holds control after the last key.
HELD_S = 5.0
# Arm, axis in the plane, sign: WASD moves the first arm, IJKL the second.
KEYS = {
    "w": (0, 1, 1), "s": (0, 1, -1), "a": (0, 0, -1), "d": (0, 0, 1),
    "i": (1, 1, 1), "k": (1, 1, -1), "j": (1, 0, -1), "l": (1, 0, 1),
}
# Limit on keys. Those of its other tasks (height, rotation, gripper) are accepted without effect.
_MOST_KEYS = 32


@dataclass(frozen=True, kw_only=True)
class TaskWish:
    """A page starts, or chooses a task."""

    task: str


@dataclass(frozen=True, kw_only=True)
class KeyState:
    """Keys held now."""

    keys: frozenset[str]
    t_client: float  # the page's clock, ms


@dataclass(kw_only=True)
class SimulatorPage:
    """The last state of a connection with this protocol."""

    keys: frozenset[str] = frozenset()
    t_client: float = 0.0  # the page's clock, ms
    received_at: float = float("-inf")  # time received, steady s
    unread: str = ""  # newest message beyond the rate limit

    @property
    def holding(self) -> bool:
        """Whether a key that moves an arm is held."""
        return not self.keys.isdisjoint(KEYS)


def parse(text: str) -> TaskWish | KeyState:
    """Return a page's message. Raises Refused for anything else."""
    data = read_object(text)
    kind = data.get("type", "action")
    if kind in ("init", "set_task"):
        task = data.get("task", "")
        if not isinstance(task, str) or len(task) > 100:
            raise Refused(f"{kind}: task is not a short text")
        return TaskWish(task=task)
    if kind == "action":
        action, t_client = data.get("action"), data.get("t_client", 0.0)
        if not isinstance(action, dict) or len(action) > _MOST_KEYS:
            raise Refused(f"action: action is not an object of at most {_MOST_KEYS} keys")
        if not all(value in (0, 1) for value in action.values()):
            raise Refused("action: a key is neither 0 nor 1")
        if isinstance(t_client, bool) or not isinstance(t_client, int | float) or not (
            0 <= t_client <= 1e15
        ):
            raise Refused("action: t_client is not a time in ms")
        keys = frozenset(key.lower() for key, value in action.items() if value)
        return KeyState(keys=keys, t_client=float(t_client))
    raise Refused("type is not one of init, set_task, action")


def axes_of(keys: frozenset[str], planes: Sequence[tuple[int, int]], size: int) -> list[float]:
    """Return the axes [size], -1..1, for the keys held; see `DriveAxes`.

    Args:
        keys: names of the keys.
        planes: for each arm, the indices of its x and y.
        size: number of axes.
    """
    axes = [0.0] * size
    for key in keys & KEYS.keys():
        arm, axis, sign = KEYS[key]
        if arm < len(planes):
            axes[planes[arm][axis]] += sign
    return axes


def frame_message(t_client: float, png: bytes) -> bytes:
    """Return a frame as a binary message."""
    return struct.pack(">d", t_client) + png
