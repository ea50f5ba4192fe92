"""Inputs and outputs of an `Evaluation`, and the phases of a trial."""

import math
from dataclasses import dataclass
from enum import Enum

from hiwm_evaluation.trials import StartValues, TrialResult


class RequestKind(Enum):
    """A request to the graph."""

    PAUSE = "pause"
    RESET = "reset"
    START = "start"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to arbiter or world; pass the reply and this number to ``Evaluation.on_reply``."""

    number: int
    kind: RequestKind
    start: StartValues = ()
    seed: int = 0
    by_hand: bool = False  # a person has arranged the scene


@dataclass(frozen=True, kw_only=True)
class Record:
    """Store this result."""

    result: TrialResult


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The evaluation is over; ``problem`` is empty if every trial was run."""

    problem: str = ""


Action = Request | Record | Finish


@dataclass(frozen=True, kw_only=True)
class TrialTick:
    """The part of a tick that an evaluation needs; fields as in hiwm_interfaces/Tick."""

    epoch: int
    step: int
    stamp_ns: int
    success: float
    source: int
    device: str
    episode_id: str
    trust: float = math.nan


class Phase(Enum):
    """Phase of a trial or of the whole evaluation."""

    PAUSING = "pausing"
    PLACING = "waiting for a person to place the object"
    RESETTING = "resetting"
    RESET_REFUSED = "waiting to reset again"
    STARTING = "starting"
    RUNNING = "running"
    LAST_TRUTH = "waiting for the last ground truth"
    HOLDING = "pausing for the verdict"
    JUDGING = "waiting for a person's verdict"
    CLOSING = "closing"
    DONE = "done"
