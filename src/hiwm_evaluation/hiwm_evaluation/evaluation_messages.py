"""What goes in and out of an `Evaluation`, and the phases of a trial."""

from dataclasses import dataclass
from enum import Enum

from hiwm_evaluation.trials import Pose, TrialResult


class RequestKind(Enum):
    """What is asked of the graph."""

    PAUSE = "pause"
    RESET = "reset"
    START = "start"


@dataclass(frozen=True, kw_only=True)
class Request:
    """Ask the arbiter or the world; answer with ``Evaluation.on_reply`` and the same number."""

    number: int
    kind: RequestKind
    start: Pose = ()
    seed: int = 0
    by_hand: bool = False  # a person has put the object at the start


@dataclass(frozen=True, kw_only=True)
class Record:
    """Keep this result."""

    result: TrialResult


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The evaluation is over; ``problem`` is empty when every trial was run."""

    problem: str = ""


Action = Request | Record | Finish


@dataclass(frozen=True, kw_only=True)
class TrialTick:
    """What an evaluation needs of a tick; fields as in hiwm_interfaces/Tick."""

    epoch: int
    step: int
    stamp_ns: int
    success: float
    source: int
    device: str
    episode_id: str


class Phase(Enum):
    """Where in a trial the evaluation is."""

    PAUSING = "pausing"
    PLACING = "waiting for a person to put the object at its start"
    RESETTING = "resetting"
    RESET_REFUSED = "waiting to reset again"
    STARTING = "starting"
    RUNNING = "running"
    LAST_TRUTH = "waiting for the last ground truth"
    HOLDING = "pausing to be judged"
    JUDGING = "waiting for a person to say how it went"
    CLOSING = "closing"
    DONE = "done"
