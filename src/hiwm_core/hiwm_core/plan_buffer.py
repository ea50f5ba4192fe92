"""The policy's current chunk of actions, and the action that answers a tick.

Used only by the arbiter. ``test_plan_buffer.py`` tests that no plan of an older epoch, with a wrong
shape or with an entry that is not finite ever yields an action.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One chunk as received.

    ``epoch``, ``step``: of the tick that was planned from; ``actions[0]`` answers that tick.
    ``actions``: row-major ``[horizon * action_dim]``, embodiment order, SI units.
    ``execute_horizon``: actions to execute before the next plan.
    ``failure``: why the policy has no plan, as text; empty if it has one.
    """

    epoch: int
    step: int
    horizon: int
    execute_horizon: int
    action_dim: int
    actions: ArrayLike
    policy: str
    failure: str = ""


class Refusal(Enum):
    """Why a plan was refused."""

    STALE = "stale"  # of an older epoch or step: expected after rollbacks and takeovers
    UNUSABLE = "unusable"  # a failure, a wrong shape or not finite: the policy is at fault


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """Result of one plan; ``refusal`` is None if it was accepted."""

    refusal: Refusal | None = None
    reason: str = ""


class PlanBuffer:
    """Hold the newest usable plan.

    ``action_dim``: entries of one action of the world's embodiment.
    """

    def __init__(self, action_dim: int) -> None:
        self._action_dim = action_dim
        self._plan: Plan | None = None
        self._table: NDArray[np.float64] = np.zeros((0, action_dim))
        self._epoch = 0
        self._first_step = 0

    @property
    def policy(self) -> str:
        """Return name and hash of the policy of the current plan; empty if there is none."""
        return self._plan.policy if self._plan else ""

    def accept(self, plan: Plan) -> Acceptance:
        """Accept a plan, or return why not.

        A plan of a later epoch than the last tick is accepted: it has arrived before its tick.
        """
        if plan.epoch < self._epoch:
            return Acceptance(
                refusal=Refusal.STALE,
                reason=f"plan of epoch {plan.epoch} dropped, the world is in epoch {self._epoch}",
            )
        if plan.epoch == self._epoch and plan.step < self._first_step:
            return Acceptance(
                refusal=Refusal.STALE,
                reason=f"plan of step {plan.step} dropped, one from step {self._first_step} or "
                "later is needed",
            )
        if plan.failure:
            return Acceptance(refusal=Refusal.UNUSABLE, reason=f"{plan.policy}: {plan.failure}")
        problem = self._problem(plan)
        if problem:
            return Acceptance(
                refusal=Refusal.UNUSABLE, reason=f"plan of {plan.policy} refused: {problem}"
            )
        held = self._plan
        if held and (plan.epoch, plan.step) < (held.epoch, held.step):
            return Acceptance(
                refusal=Refusal.STALE,
                reason=f"plan of step {plan.step} dropped, a newer one of step {held.step} is held",
            )
        self._plan = plan
        self._table = np.asarray(plan.actions, dtype=np.float64).reshape(
            plan.horizon, plan.action_dim
        )
        return Acceptance()

    def begin_epoch(self, epoch: int) -> None:
        """Drop any plan not made for ``epoch``, which may be lower than before: a new world."""
        self._epoch, self._first_step = epoch, 0
        if self._plan and self._plan.epoch != epoch:
            self._plan = None

    def flush(self, first_step: int) -> None:
        """Drop and refuse plans from ticks before ``first_step`` of this epoch."""
        self._first_step = first_step
        held = self._plan
        if held and (held.epoch, held.step) < (self._epoch, first_step):
            self._plan = None

    def action_for(self, epoch: int, step: int, *, lockstep: bool) -> NDArray[np.float64] | None:
        """Return the action ``[A]`` that answers a tick; None if the plan has none.

        In lock-step a plan ends after its ``execute_horizon``, so that results do not depend on the
        arrival time of the next plan. In real time, the rest of the chunk bridges the time until a
        late plan arrives.
        """
        plan = self._plan
        if plan is None or plan.epoch != epoch:
            return None
        index = step - plan.step
        length = plan.execute_horizon if lockstep else plan.horizon
        return self._table[index].copy() if 0 <= index < length else None

    def _problem(self, plan: Plan) -> str:
        if plan.action_dim != self._action_dim:
            return f"actions of {plan.action_dim} entries where {self._action_dim} are expected"
        if not 1 <= plan.execute_horizon <= plan.horizon:
            return f"execute_horizon {plan.execute_horizon} of a chunk of {plan.horizon} actions"
        values = np.asarray(plan.actions, dtype=np.float64)
        if values.shape != (plan.horizon * plan.action_dim,):
            return (
                f"{values.size} numbers where horizon {plan.horizon} times {plan.action_dim} "
                "are expected"
            )
        unusable = np.flatnonzero(~np.isfinite(values))
        if unusable.size:
            row, entry = divmod(int(unusable[0]), plan.action_dim)
            return f"entry {entry} of action {row} is not finite ({values[unusable[0]]})"
        return ""
