"""The scripted operator's options, and the planner interface it uses."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hiwm_teleop.rollout_watch import WatchOptions

Array = NDArray[np.float64]


class Planner(Protocol):
    """The part of hiwm_core.push_t_carrier.CarryPlanner that the script uses."""

    def targets(self, object_pose: Array, pushers: Array) -> Array:
        """Return the next absolute targets [4], m."""

    def done(self, object_pose: Array) -> bool:
        """Return whether the T is at its goal."""


@dataclass(frozen=True, kw_only=True)
class ScriptOptions:
    """How much the scripted operator does, and for how long."""

    failures: int = 2  # failure states corrected before the session ends
    branches: int = 3  # continuations of each failure state
    rollback_steps: int = 15  # how far back the failure state lies
    correction_ticks: int = 120  # longest correction
    operator_ticks: int = 1_000_000  # of corrections in total; no new failure starts after them
    follow_ticks: int = 40  # watch the policy for this long after a handback
    max_ticks: int = 100_000  # of the whole session
    max_seconds: float = 150.0  # of the whole session, steady clock
    seed: int = 0  # of the planner; each continuation adds one
    watch: WatchOptions = field(default_factory=WatchOptions)
