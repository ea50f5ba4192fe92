"""When to plan, and whether a finished plan is still valid. No ROS, no network.

The policy node passes in what it receives. Results of a lock-step session must not depend on the
machine's speed, so plans start at the same steps however long inference takes. On a robot in real
time, `ChunkPace` says after how many actions the next plan starts. Tested by
`test_policies_schedule.py`.
"""

from dataclasses import dataclass
from enum import Enum

from hiwm_core.control import Mode

_PLANNING = (Mode.POLICY, Mode.HANDBACK)


@dataclass(frozen=True)
class TickId:
    """One tick of the world."""

    epoch: int
    step: int


class Remedy(Enum):
    """What to do when the world repeats a tick because it still waits for a command."""

    NOTHING = "nothing"  # not ours to answer, or a plan is being made
    SEND_AGAIN = "send again"  # the current plan covers the tick: it was lost
    PLAN = "plan"  # resending did not help, or there is no plan


class PlanSchedule:
    """Decides from ticks and control states when to plan a chunk.

    Args:
        execute_horizon: actions of a chunk that run before the next one is planned.
    """

    def __init__(self, execute_horizon: int) -> None:
        self.execute_horizon = execute_horizon
        self._mode = Mode.PAUSED
        self._takeovers = 0
        self._seen: TickId | None = None  # newest complete observation
        self._plan: TickId | None = None  # tick of the current plan
        self._under_way: TickId | None = None
        self._tried: TickId | None = None  # gave no plan; not retried unless the tick repeats
        self._not_before: TickId | None = None  # plans from earlier ticks of its epoch are refused
        self._sent_again: TickId | None = None
        self._moves = False  # the current plan has answered a tick

    @property
    def seen(self) -> TickId | None:
        """Return the newest complete observation."""
        return self._seen

    @property
    def plan(self) -> TickId | None:
        """Return the tick of the current plan."""
        return self._plan

    def on_control(self, mode: Mode, epoch: int, step: int, takeovers: int) -> None:
        """Process a control state: mode, newest tick of the arbiter, number of takeovers.

        A person's action invalidates every earlier plan. The number reveals a takeover that ended
        before its control state was read.
        """
        entered_handback = mode is Mode.HANDBACK and self._mode is not Mode.HANDBACK
        if mode is Mode.HUMAN or entered_handback or takeovers != self._takeovers:
            self._plan = self._under_way = self._tried = None
            self._not_before = TickId(epoch, step)
        if mode not in _PLANNING:
            self._moves = False
        elif self._mode not in _PLANNING:
            self._tried = None  # a person has started the policy again
        self._mode, self._takeovers = mode, takeovers

    def on_observation(self, epoch: int, step: int) -> bool:
        """Process a complete observation; return whether it starts a new epoch."""
        starts = self._seen is None or self._seen.epoch != epoch or step <= self._seen.step
        self._seen = TickId(epoch, step)
        if starts:
            self._plan = self._under_way = self._tried = None
            if self._not_before and self._not_before.epoch != epoch:
                self._not_before = None
        if starts or self._plan is None:
            self._moves = False
        return starts

    def ran_out(self, horizon: int) -> bool:
        """Return whether a chunk of ``horizon`` actions has ended before the next one came.

        Only once the policy moves the robot: the wait for the first plan does not count.
        """
        plan, seen = self._plan, self._seen
        if plan is None or seen is None or self._mode not in _PLANNING:
            return False
        covered = 0 <= seen.step - plan.step < horizon
        self._moves = self._moves or covered
        return self._moves and not covered

    def fail(self) -> None:
        """Give up the current plan and the one under way, and wait until the policy is started."""
        self._plan = self._under_way = None
        self._tried, self._moves = self._seen, False

    def on_repeated_tick(self, epoch: int, step: int) -> Remedy:
        """Return what to do when the world repeats its newest tick."""
        tick_id = TickId(epoch, step)
        if tick_id != self._seen or self._mode not in _PLANNING or self._under_way:
            return Remedy.NOTHING
        if self._plan and self._sent_again != tick_id and self._covers(self._plan, tick_id):
            self._sent_again = tick_id
            return Remedy.SEND_AGAIN
        self._plan = self._tried = None
        return Remedy.PLAN

    def due(self) -> TickId | None:
        """Return the tick to plan from now, or None."""
        seen = self._seen
        if seen is None or self._mode not in _PLANNING or self._under_way:
            return None
        early = self._not_before
        if early and early.epoch == seen.epoch and seen.step < early.step:
            return None
        if seen == self._tried or (self._plan and self._covers(self._plan, seen)):
            return None
        return seen

    def start(self, tick_id: TickId) -> None:
        """Record that planning from a tick has started."""
        self._under_way = tick_id

    def finish(self, tick_id: TickId, *, usable: bool) -> bool:
        """Record the end of inference and return whether its result still counts.

        A change of epoch or a takeover in the meantime makes it invalid.
        """
        if self._under_way != tick_id:
            return False
        self._under_way = None
        if self._mode not in _PLANNING:
            return False
        if usable:
            self._plan = tick_id
        else:
            self._tried = tick_id
        return True

    def _covers(self, plan: TickId, tick_id: TickId) -> bool:
        return plan.epoch == tick_id.epoch and 0 <= tick_id.step - plan.step < self.execute_horizon
