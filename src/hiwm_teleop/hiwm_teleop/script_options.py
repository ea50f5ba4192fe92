"""The scripted operator's options."""

from dataclasses import dataclass, field

from hiwm_teleop.rollout_watch import WatchOptions

NO_TARGET = 1_000_000  # operator ticks


@dataclass(frozen=True, kw_only=True)
class ScriptOptions:
    """How much the scripted operator does, and for how long."""

    failures: int = 2  # failure states corrected before the session ends
    branches: int = 3  # continuations of each failure state
    rollback_steps: int = 15  # how far back the failure state lies; 0: no rollback, no branches
    correction_ticks: int = 120  # longest correction
    # Of corrections that did not fail, in total; no new failure starts after them. A session that
    # ends with fewer, before `failures`, has failed.
    operator_ticks: int = NO_TARGET
    follow_ticks: int = 40  # watch the policy for this long after a handback
    max_ticks: int = 100_000  # of the whole session
    max_seconds: float = 150.0  # of the whole session, steady clock
    seed: int = 0  # of the corrections; each continuation adds one
    watch: WatchOptions = field(default_factory=WatchOptions)
