"""The interface of every operator device.

The teleop node gives a device what a person would see (`OperatorView`) and receives what a person
would do (`OperatorInput`). A device knows nothing of messages or services, and the node knows
nothing of keys, reports or scripts. A device of another package registers in the entry-point group
"hiwm_teleop.devices". A device that uses a sensor_msgs/Joy driver names the topics; the node
subscribes and passes the messages on in the view.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hiwm_core.branch_records import Label
from hiwm_core.control import Mode, Source
from hiwm_core.embodiment import Embodiment
from hiwm_core.tasks import Task
from hiwm_core.tips import TipStep


class EventKind(enum.Enum):
    """An operator's requests, apart from motion."""

    START = "start"
    PAUSE = "pause"
    STOP = "stop"
    CLEAR_STOP = "clear stop"
    ROLLBACK = "rollback"
    FORK = "fork"
    LABEL = "label"
    DISCARD = "discard"
    PROPOSE = "propose"
    CONTINUE = "continue"
    RESET = "reset"
    RESET_BY_HAND = "reset by hand"
    SAVE = "save"
    REARM = "rearm"
    QUIT = "quit"


@dataclass(frozen=True, kw_only=True)
class OperatorEvent:
    """One request. Only the fields its kind needs are read."""

    kind: EventKind
    # ROLLBACK: steps back from the current state, if node_id is empty. CONTINUE: steps of each.
    steps: int = 0
    node_id: str = ""  # ROLLBACK, FORK, CONTINUE: "<branch_id>:<step>"; empty = the current state
    branch_id: str = ""  # LABEL, DISCARD: empty = the current branch
    label: str = Label.NONE  # LABEL: one of the task's; empty removes it
    note: str = ""  # LABEL, SAVE, PAUSE, STOP, QUIT: human-readable, for logs
    who: str = ""  # LABEL: who gives it; empty = unknown
    restore: bool = False  # DISCARD: remove the mark
    count: int = 0  # PROPOSE, CONTINUE: maximum number; 0 = the default
    seed: int = 0  # CONTINUE
    start: str = ""  # RESET: as in Reset.srv; empty = the world's next
    exit_code: int = 0  # QUIT


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to an event."""

    kind: EventKind
    ok: bool
    message: str  # reason and remedy if not ok
    node_id: str = ""
    branch_id: str = ""
    epoch: int = -1  # new epoch; -1 if it does not change
    step: int = -1


@dataclass(frozen=True, kw_only=True)
class WorldView:
    """The world the operator works in."""

    kind: str  # imagination or hardware
    robot: str  # empty in imagination
    can_restore: bool
    can_fork: bool
    auto_reset: bool
    embodiment: Embodiment
    task: Task


@dataclass(frozen=True, kw_only=True)
class TickView:
    """One complete observation."""

    stamp_ns: int
    epoch: int
    step: int
    episode_id: str
    branch_id: str
    applied_source: Source  # source of the action that led here
    trust: float  # 0..1
    progress: float  # 0..1, NaN where unknown
    success: float  # 0..1, NaN where unknown
    images: Mapping[str, NDArray[np.uint8]]  # by camera, [H, W, 3] rgb8
    measured: NDArray[np.float64]  # [A], measured counterpart of the action
    # [A], action that led here; [0] on the first tick of an epoch.
    applied: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, kw_only=True)
class JoySample:
    """The newest sensor_msgs/Joy of a topic."""

    axes: tuple[float, ...]
    buttons: tuple[int, ...]
    received_s: float  # time of arrival, steady clock


@dataclass(frozen=True, kw_only=True)
class OperatorView:
    """What an operator can see at one time."""

    now_s: float  # steady clock
    world: WorldView | None = None  # None until world_info arrives
    tick: TickView | None = None  # None until a complete observation arrives
    mode: Mode = Mode.PAUSED
    reason: str = ""  # why that mode
    takeovers: int = 0
    answers: tuple[Answer, ...] = ()  # since the last read, oldest first
    joy: Mapping[str, JoySample] = field(default_factory=dict)  # by topic, from `joy_topics`


@dataclass(frozen=True, kw_only=True)
class OperatorInput:
    """What an operator does at one time.

    `action` is an absolute target [A]. `delta` is the requested displacement [A] since the last
    read, and `tips` are those of arms' tips, which the node adds to the current target, blending in
    after a takeover. An action beside a delta is NaN in the entries that it leaves to the delta.
    With neither, the robot holds position.
    `silent` sends nothing at all, so that the operator times out in the arbiter.
    """

    action: NDArray[np.float64] | None = None
    delta: NDArray[np.float64] | None = None
    tips: Mapping[str, TipStep] = field(default_factory=dict)  # by arm; only with a delta
    deadman: bool = False
    events: tuple[OperatorEvent, ...] = ()
    silent: bool = False
    message: str = ""  # a line for the log; may be empty
    problem: str = ""  # current problem of the device, for diagnostics; empty if none
    steering: str = ""  # frame and speed of its motion, for the person; may be empty


@dataclass(frozen=True, kw_only=True)
class DeviceOption:
    """One setting of a device, which becomes a parameter of the teleop node."""

    default: int | float | str
    description: str  # meaning and unit
    lower: float | None = None
    upper: float | None = None


ARMS = DeviceOption(
    default="", description="arms it moves, comma-separated; empty = those its file names, or all"
)


class Device(ABC):
    """One operator's device.

    Args:
        options: values of `OPTIONS`, by name; omitted ones take their defaults.
    """

    name: ClassVar[str]
    synchronous: ClassVar[bool] = False  # True: one command for each tick; False: a stream
    shows_status: bool = False  # True: the device shows answers and progress itself
    of_person: ClassVar[bool] = True  # False: no person, who could arrange a scene, operates it
    OPTIONS: ClassVar[Mapping[str, DeviceOption]] = {}

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        given = dict(options or {})
        self.options: dict[str, Any] = {
            key: given.get(key, option.default) for key, option in self.OPTIONS.items()
        }
        # A device with its own input thread calls this, from any thread, to be read immediately
        # instead of at the next timer. Set by the node before `open`.
        self.on_news: Callable[[], None] = lambda: None

    def request(self, event: OperatorEvent, world: WorldView | None) -> OperatorEvent:
        """Return what an event asks of a world.

        A person who asks for the next episode on a robot that cannot place its scene has arranged
        it by hand.
        """
        by_hand = self.of_person and world is not None and not world.auto_reset
        if event.kind is EventKind.RESET and by_hand:
            return replace(event, kind=EventKind.RESET_BY_HAND)
        return event

    @property
    def given_arms(self) -> tuple[str, ...]:
        """Arms of the option `ARMS`, if it has that; empty = those its file names, or all."""
        return tuple(filter(None, str(self.options.get("arms", "")).split(",")))

    @property
    def joy_topics(self) -> tuple[str, ...]:
        """Topics of sensor_msgs/Joy that the node subscribes to for it, relative names."""
        return ()

    def open(self) -> None:  # noqa: B027 - most devices have something to open, not all
        """Connect.

        Raises:
            DeviceError: missing or in use; names the device and the remedy.
        """

    def close(self) -> None:  # noqa: B027
        """Close the device; may be called twice, and without `open`."""

    @abstractmethod
    def read(self, view: OperatorView) -> OperatorInput:
        """Return what the operator does now, without blocking.

        A stream device is read many times a second. A synchronous one is read at each new tick,
        each answer and each change of mode, so it may see the same tick more than once.

        Raises:
            DeviceError: the device was lost.
        """

