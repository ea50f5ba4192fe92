"""The arbiter's decisions, without ROS: who answers a tick, and with which action.

``arbiter_node.py`` passes in messages and time, and sends what it returns. Each input immediately
returns the command it makes possible, so a lock-step tick never waits for a timer.
Tested by ``test_arbiter.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_control.handback import HandbackRamp
from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.control import (
    REQUESTS,
    ControlMachine,
    ControlState,
    Event,
    Mode,
    Source,
    Transition,
)
from hiwm_core.embodiment import Embodiment
from hiwm_core.limits import action_problem
from hiwm_core.plan_buffer import Plan, PlanBuffer, Refusal

# A lock-step world that receives no command waits forever. A command lost during discovery is
# sent again after this time; a world that already has it drops the duplicate.
_RESEND_AFTER_S = 1.0
# A synchronous operator sends a command for every tick of a lock-step world, and none while it
# waits for a service. The arbiter stops waiting after a silence longer than any service call.
_OPERATOR_PATIENCE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class TickSeen:
    """The fields of hiwm_interfaces/Tick that the arbiter uses."""

    epoch: int
    step: int
    stamp_ns: int
    applied_action: ArrayLike


@dataclass(frozen=True, kw_only=True)
class OperatorSample:
    """The fields of hiwm_interfaces/OperatorCommand that the arbiter uses."""

    epoch: int
    step: int
    device: str
    deadman: bool
    synchronous: bool
    demonstration: bool
    action: ArrayLike


@dataclass(frozen=True, kw_only=True)
class CommandDecision:
    """One command to send; ``action`` float64 ``[A]``, embodiment order, SI units."""

    epoch: int
    step: int
    stamp_ns: int
    source: Source
    device: str
    action: NDArray[np.float64]


class Arbiter:
    """Choose the action for each tick according to the current mode.

    ``operator_timeout_s``: silence after which the operator in control counts as lost, s.
    ``handback_ticks``: number of blended actions from a person to the policy.
    ``start_mode``: PAUSED or POLICY.
    ``clock``: steady seconds.
    """

    def __init__(
        self,
        *,
        operator_timeout_s: float,
        handback_ticks: int,
        start_mode: Mode,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._machine = ControlMachine(
            operator_timeout_s=operator_timeout_s, clock=clock, start_mode=start_mode
        )
        self._handback_ticks = handback_ticks
        self._names: tuple[str, ...] = ()
        self._deltas: ActionDeltas | None = None
        self._lockstep = True
        self._plans = PlanBuffer(0)
        self._tick: TickSeen | None = None
        self._tick_at = 0.0
        self._answer: CommandDecision | None = None
        self._sent_at = 0.0
        self._sample: OperatorSample | None = None
        self._sample_is_new = False  # arrived after the newest tick
        self._answered: tuple[int, int] | None = None  # tick of the last synchronous command
        self._answered_at = 0.0
        self._early_plan: Plan | None = None  # arrived before the first world_info
        self._positions: tuple[int, NDArray[np.float64]] | None = None
        self._tick_positions: NDArray[np.float64] | None = None  # measured at the newest tick
        self._ramp: HandbackRamp | None = None
        self._policy_present = False

    @property
    def state(self) -> ControlState:
        """Return a copy of the control state."""
        return self._machine.state

    @property
    def tick(self) -> TickSeen | None:
        """Return the newest tick."""
        return self._tick

    @property
    def operator_age_s(self) -> float:
        """Return seconds since the last operator command; -1 if there was none."""
        return self._machine.operator_age()

    @property
    def waiting_s(self) -> float:
        """Return how long the newest tick has been unanswered, s; 0 if it has an answer."""
        if self._tick is None or self._answer is not None:
            return 0.0
        return self._clock() - self._tick_at

    @property
    def waits_for_operator(self) -> bool:
        """Return whether the policy's answer waits until the operator has seen the tick.

        A synchronous operator looks at each tick of a lock-step world before the world continues.
        Its decisions therefore do not depend on how many ticks pass while it thinks. After one wait
        in vain the arbiter does not wait again until that operator's next command.
        """
        tick = self._tick
        return bool(
            self._lockstep and tick and self._answered
            and self._answered != (tick.epoch, tick.step)
            and self._clock() - max(self._tick_at, self._answered_at) < _OPERATOR_PATIENCE_S
        )

    def on_world(self, *, lockstep: bool, embodiment: Embodiment) -> CommandDecision | None:
        """Learn the world's properties; no tick is answered before."""
        self._lockstep = lockstep
        self._deltas = ActionDeltas(embodiment)
        action_names = tuple(entry.name for entry in embodiment.actions)
        if action_names != self._names:
            self._names = action_names
            self._plans = PlanBuffer(len(action_names))
            if self._tick:
                self._plans.begin_epoch(self._tick.epoch)
            if self._sample:
                sample, self._sample = self._sample, None
                self._keep(sample)
        if self._early_plan:
            plan, self._early_plan = self._early_plan, None
            return self.on_plan(plan)
        return self._decide()

    def on_policy_present(self, present: bool) -> None:
        """Learn whether the graph has a policy to hand back to."""
        self._policy_present = present

    def on_tick(self, tick: TickSeen) -> CommandDecision | None:
        """Answer a tick if the answer is already available."""
        last = self._tick
        if last and (tick.epoch, tick.step) == (last.epoch, last.step) and self._lockstep:
            # The world repeats the tick it waits on: there is no answer yet, or ours was lost.
            return self._resend() or self._decide()
        if last and tick.epoch == last.epoch and tick.step < last.step:
            # Steps go backwards within an epoch only when a new world has replaced the old one.
            self._plans = PlanBuffer(len(self._names))
            self._sample = None
        if last is None or tick.epoch != last.epoch or tick.step < last.step:
            self._plans.begin_epoch(tick.epoch)
            self._ramp = None
        self._tick, self._tick_at, self._answer = tick, self._clock(), None
        self._tick_positions = None
        self._match_positions()
        self._sample_is_new = False
        self._machine.count_tick()
        return self._decide()

    def on_positions(self, stamp_ns: int, positions: ArrayLike) -> CommandDecision | None:
        """Take the measured counterpart ``[A]`` of the action, with the stamp of its tick."""
        self._positions = (stamp_ns, np.array(positions, dtype=np.float64))
        self._match_positions()
        return self._decide()

    def on_plan(self, plan: Plan) -> CommandDecision | None:
        """Take a plan; an unusable plan pauses a policy that is in control."""
        if not self._names:
            self._early_plan = plan
            return None
        answer = self._plans.accept(plan)
        if answer.refusal is Refusal.STALE:
            self._machine.drop_plan()
        elif answer.refusal is Refusal.UNUSABLE:
            if self._machine.mode in (Mode.POLICY, Mode.HANDBACK):
                self._plans.flush(self._tick.step if self._tick else 0)
                self._machine.fire(Event.POLICY_FAULT, answer.reason)
            self._machine.drop_plan(answer.reason)
        return self._decide()

    def on_operator(self, sample: OperatorSample) -> CommandDecision | None:
        """Take an operator command: its levels set the mode, its action may answer the tick."""
        if sample.synchronous:
            self._answered, self._answered_at = (sample.epoch, sample.step), self._clock()
        before = self._machine.mode
        in_control = self._machine.hear_operator(
            sample.device,
            deadman=sample.deadman,
            demonstration=sample.demonstration,
            policy_present=self._policy_present,
        )
        after = self._machine.mode
        step = self._tick.step if self._tick else 0
        if before is not Mode.HUMAN and after is Mode.HUMAN:
            self._plans.flush(step)
            self._ramp, self._sample = None, None
            if not sample.synchronous:  # one that only watched has to send again to be waited for
                self._answered = None
        elif after is Mode.HANDBACK and before is Mode.HUMAN:
            # Only a plan made after the person's last action may continue.
            self._plans.flush(step)
            self._ramp = None
        if in_control:
            self._keep(sample)
        return self._decide()

    def on_request(self, code: int, reason: str) -> tuple[Transition, CommandDecision | None]:
        """Apply a ControlRequest by its number, with the requester's reason."""
        if not 0 <= code < len(REQUESTS):
            message = f"request {code} is unknown (control): use 0 to {len(REQUESTS) - 1}"
            return Transition(accepted=False, message=message, mode=self._machine.mode), None
        event = REQUESTS[code]
        transition = self._machine.fire(
            event, f"{event.value} requested" + (f": {reason}" if reason else "")
        )
        return transition, self._decide()

    def on_time(self) -> CommandDecision | None:
        """Check timeouts: a silent operator loses control, a lost command is sent again."""
        self._machine.check_operator()
        if self._lockstep and self._answer and self._clock() - self._sent_at > _RESEND_AFTER_S:
            return self._resend()
        return self._decide()

    def _match_positions(self) -> None:
        """Keep the newest tick's positions: a repeated tick may carry others with a later stamp."""
        if self._tick and self._positions and self._positions[0] == self._tick.stamp_ns:
            self._tick_positions = self._positions[1]

    def _resend(self) -> CommandDecision | None:
        """Return the answer again, unless its sender has lost control since."""
        if self._machine.mode in (Mode.PAUSED, Mode.STOPPED):
            self._answer = None
        self._sent_at = self._clock()
        return self._answer

    def _keep(self, sample: OperatorSample) -> None:
        """Keep a sample if its action is usable, otherwise count it as dropped."""
        if self._late(sample):
            self._machine.drop_command()
            return
        # Before world_info the action cannot be checked, and is kept unchecked.
        checked = bool(self._names) and np.size(sample.action) > 0
        problem = action_problem(sample.action, self._names) if checked else ""
        if problem:
            self._machine.drop_command(f"action of {sample.device} refused: it {problem}")
            return
        self._sample, self._sample_is_new = sample, True

    def _late(self, sample: OperatorSample) -> bool:
        """Return whether a sample belongs to an older epoch, or to a tick already answered."""
        tick = self._tick
        if tick is None:
            return False
        missed = self._lockstep and sample.synchronous and sample.step < tick.step
        return sample.epoch < tick.epoch or (sample.epoch == tick.epoch and missed)

    def _decide(self) -> CommandDecision | None:
        """Return the answer to the newest tick, once, as soon as its inputs have arrived."""
        tick = self._tick
        if tick is None or not self._names or self._answer is not None:
            return None
        state = self._machine.state
        mode = state.mode
        action: NDArray[np.float64] | None = None
        device = self._plans.policy
        if mode is Mode.HUMAN:
            action, device = self._human_action(tick), state.device
        elif self.waits_for_operator:
            return None
        elif mode is Mode.HANDBACK:
            action = self._handback_action(tick)
        elif mode is Mode.POLICY:
            action = self._plans.action_for(tick.epoch, tick.step, lockstep=self._lockstep)
        if action is None:
            return None
        self._answer = CommandDecision(
            epoch=tick.epoch,
            step=tick.step,
            stamp_ns=tick.stamp_ns,
            source=state.source,
            device=device,
            action=action,
        )
        self._sent_at = self._clock()
        if mode is not Mode.HUMAN and self._answered != (tick.epoch, tick.step):
            self._answered = None  # it was waited for in vain
        if mode is Mode.HUMAN:
            self._machine.count_human_command()
        elif mode is Mode.HANDBACK and self._ramp and self._ramp.done:
            self._ramp = None
            self._machine.fire(Event.HANDBACK_DONE, "handed back to the policy")
        return self._answer

    def _human_action(self, tick: TickSeen) -> NDArray[np.float64] | None:
        sample = self._sample
        if sample is None or sample.epoch != tick.epoch:
            return None
        if sample.synchronous and sample.step != tick.step:
            # In real time, an operator that keeps up answers the tick it has just seen within
            # this tick. One that lags more would miss every second tick, so its newest target
            # is used again.
            soon = sample.step == tick.step - 1 and not self._sample_is_new
            if self._lockstep or soon:
                return None
        if np.size(sample.action):
            return np.asarray(sample.action, dtype=np.float64)
        return self._present_target(tick)

    def _handback_action(self, tick: TickSeen) -> NDArray[np.float64] | None:
        planned = self._plans.action_for(tick.epoch, tick.step, lockstep=self._lockstep)
        if planned is None:
            return None
        if self._ramp is None:
            start = self._present_target(tick)
            if start is None or self._deltas is None:
                return None
            self._ramp = HandbackRamp(start, self._handback_ticks, self._deltas)
        return self._ramp.blend(planned)

    def _present_target(self, tick: TickSeen) -> NDArray[np.float64] | None:
        """Return the current target: the last one applied, or an epoch's initial position."""
        if np.size(tick.applied_action) == len(self._names):
            return np.asarray(tick.applied_action, dtype=np.float64)
        return self._tick_positions
