"""Chunks for a robot that does not wait: planned ahead, blended, and paused when too slow.

Connects `ChunkPace` (how early to plan) and `blended` (how one chunk leads to the next) to the
schedule. Time is the caller's steady clock. Tested by `test_policies_real_time.py`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.embodiment import Embodiment
from hiwm_policy.chunk_blend import Chunk, blended
from hiwm_policy.chunk_pace import ChunkPace
from hiwm_policy.plan_schedule import PlanSchedule, TickId

Array = NDArray[np.float64]


class RealTimeChunks:
    """The chunks of one world in real time.

    Args:
        schedule: its execute_horizon is kept short enough for the policy's latency.
        embodiment: the world's.
        horizon: actions of a chunk.
        execute: actions to execute before the next chunk, if the policy is fast enough.
        period_s: time of one action, s.
        blend_ticks: actions over which a chunk blends into the next.
    """

    def __init__(
        self, *, schedule: PlanSchedule, embodiment: Embodiment, horizon: int, execute: int,
        period_s: float, blend_ticks: int,
    ) -> None:
        self._schedule = schedule
        self._deltas = ActionDeltas(embodiment)
        self._horizon = horizon
        self._blend = blend_ticks
        self._pace = ChunkPace(horizon, execute, period_s)
        self._chunk: Chunk | None = None  # that the arbiter executes
        self._waiting_since: float | None = None  # the robot stands at the end of its chunk

    def on_observation(self, now: float, lost: Callable[[], str] = str) -> str:
        """Process an observation that the schedule has seen; return why to pause, or nothing.

        Args:
            now: s.
            lost: returns why the policy's server is not connected, or nothing.
        """
        if not self._schedule.ran_out(self._horizon):
            self._waiting_since = None
            return ""
        if self._waiting_since is None:
            self._waiting_since = now
        waited = now - self._waiting_since
        if not self._pace.too_slow(waited):
            return ""
        late, connection = self._late(waited), lost()
        return f"no plan for {waited:.2f} s, the connection is {connection}" if connection else late

    def on_plan(
        self, tick_id: TickId, actions: Array, latency_s: float, running: TickId | None
    ) -> tuple[Array | None, str]:
        """Process a plan that still counts; return the actions to send, or why to pause.

        Args:
            tick_id: of the tick that was planned from.
            actions: [K, A].
            latency_s: from the question to the answer, s.
            running: the schedule's plan until now; None where none may be continued.
        """
        seen = self._schedule.seen
        assert seen is not None  # since a plan was asked for
        behind = seen.step - tick_id.step
        in_time = self._waiting_since is None and behind < self._horizon
        self._waiting_since = None
        self._pace.answered(latency_s, in_time=in_time)
        if not in_time and self._pace.too_slow(0.0):
            return None, self._late(latency_s)
        self._schedule.execute_horizon = self._pace.execute
        new, old = Chunk(tick_id=tick_id, actions=actions), self._chunk
        if old is not None and old.tick_id == running:
            actions = blended(old, new, seen.step + 1, self._blend, self._deltas)
        self._chunk = Chunk(tick_id=tick_id, actions=actions)
        return actions, ""

    def _late(self, seconds: float) -> str:
        reason = self._pace.reason(seconds)
        self._pace.forget()
        self._waiting_since = None
        return reason
