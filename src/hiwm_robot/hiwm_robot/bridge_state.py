"""State and decisions of the robot bridge, as values. Only `bridge_core` changes the state."""

from dataclasses import dataclass, field
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from hiwm_core.limits import LimiterState

Array = NDArray[np.float64]

SOURCE_NONE = 0  # Command.SOURCE_NONE


class Phase(Enum):
    """Whether the robot may move."""

    INACTIVE = auto()  # no commands, no ticks
    RESETTING = auto()  # the driver is placing the scene
    STARTING = auto()  # waiting for the first observation of an episode
    RUNNING = auto()
    STOPPED = auto()  # an interlock has tripped: no commands, no ticks, until a person re-arms


@dataclass(frozen=True, kw_only=True)
class Applied:
    """The current target and its source."""

    action: Array  # [A], embodiment order and units
    source: int = SOURCE_NONE
    device: str = ""
    note: str = ""  # why the request was changed or held; empty if it was not


@dataclass(frozen=True, kw_only=True)
class TickPlan:
    """A tick to publish, and the hold to send with it, if any."""

    stamp_ns: int
    epoch: int
    step: int
    episode: int
    applied: Applied | None  # what led here; None on the first tick of an epoch
    hold: Array | None  # [A] to send at once, because no command answered the previous tick
    shifted: bool  # the driver's clock was set back, and stamps were shifted forward
    period_s: float  # since the previous tick by the stamps; 0 if not measured


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of a command, or of a missing one."""

    send: Array | None = None  # [A] for the controllers, limited; None = send nothing
    holds: bool = False  # send is a hold: outputs apply their rule for silence
    dropped: str = ""  # why the command was dropped
    fault: str = ""  # why the robot holds instead


@dataclass(kw_only=True)
class BridgeState:
    """The bridge's whole state."""

    phase: Phase = Phase.INACTIVE
    epoch: int = 0
    step: int = 0
    episode: int = 0
    waiting: bool = False  # no command has answered the present tick yet
    tick_stamp_ns: int = 0
    next_ns: int = 0  # the next tick is due from this driver stamp on
    next_wall: float = 0.0  # and not before this, steady clock [s]
    tick_wall: float = 0.0  # steady clock [s]
    began_wall: float = 0.0  # first tick of the epoch, steady clock [s]
    moved: bool = False  # a command of this epoch was accepted
    tripped: str = ""  # why the bridge is stopped
    sent_wall: float = 0.0  # steady clock of the last sent target, or of the start [s]
    measured: Array | None = None  # [A] at the tick
    limiter: LimiterState | None = None
    in_force: Applied | None = None
    sent: bool = False  # in_force answers the present tick
    holding: Array | None = None  # [A], target of the first of consecutive holds
    shift_ns: int = 0
    stale: str = ""  # why the robot holds; empty when all streams are fresh
    counts: dict[str, int] = field(default_factory=lambda: {
        "accepted": 0, "dropped": 0, "bad_actions": 0, "holds": 0, "limited": 0, "stale": 0,
        "trips": 0,
    })
