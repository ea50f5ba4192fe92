"""An arbiter without ROS; the test acts as world, policy and operator."""

from typing import Any

import numpy as np

from hiwm_control.arbiter import Arbiter, CommandDecision, OperatorSample, TickSeen
from hiwm_core.control import Mode, Source
from hiwm_core.plan_buffer import Plan
from hiwm_test_support.robots import joint_arm

EMBODIMENT = joint_arm("left_x", "left_y")
START, PAUSE, STOP, CLEAR_STOP = range(4)
POLICY_NAME = "push 12345678"


class Clock:
    """A clock that advances only on request."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class Bench:
    """An arbiter; the test acts as world, policy and operator."""

    def __init__(
        self, *, lockstep: bool = True, start_mode: Mode = Mode.POLICY, handback_ticks: int = 3
    ) -> None:
        self.clock = Clock()
        self.arbiter = Arbiter(
            operator_timeout_s=0.5, handback_ticks=handback_ticks, start_mode=start_mode,
            clock=self.clock,
        )
        self.arbiter.on_policy_present(True)
        self.arbiter.on_world(lockstep=lockstep, embodiment=EMBODIMENT)

    @property
    def mode(self) -> Mode:
        """The arbiter's mode."""
        return self.arbiter.state.mode

    def tick(
        self, step: int, epoch: int = 1, applied: tuple[float, ...] = (0.0, 0.0)
    ) -> CommandDecision | None:
        """Send a tick."""
        return self.arbiter.on_tick(
            TickSeen(epoch=epoch, step=step, stamp_ns=step * 100, applied_action=applied)
        )

    def plan(
        self, step: int, epoch: int = 1, value: float = 0.5, **changes: Any
    ) -> CommandDecision | None:
        """Send a plan of 8 actions, 4 to run, all of one value."""
        fields: dict[str, Any] = {
            "epoch": epoch, "step": step, "horizon": 8, "execute_horizon": 4, "action_dim": 2,
            "actions": np.full(16, value), "policy": POLICY_NAME,
        }
        return self.arbiter.on_plan(Plan(**(fields | changes)))

    def operator(self, step: int, epoch: int = 1, **changes: Any) -> CommandDecision | None:
        """Send what an operator with the deadman held sends."""
        fields: dict[str, Any] = {
            "epoch": epoch, "step": step, "device": "keys", "deadman": True,
            "synchronous": False, "demonstration": False, "action": (0.1, 0.2),
        }
        return self.arbiter.on_operator(OperatorSample(**(fields | changes)))


def answers(decision: CommandDecision | None, step: int, source: Source, epoch: int = 1) -> bool:
    """Return whether a command answers this tick, from this source."""
    return decision is not None and (decision.epoch, decision.step, decision.source) == (
        epoch, step, source,
    )
