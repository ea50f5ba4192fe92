"""Leads from the chunk that runs to a newer one without a jump. No ROS.

Both chunks are aligned by tick: action k of a chunk from tick t answers tick t + k. Tested by
`test_policies_blend.py`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas
from hiwm_policy.plan_schedule import TickId

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Actions from one tick on."""

    tick_id: TickId
    actions: Array  # [K, A], embodiment order and units

    def covers(self, step: int) -> bool:
        """Return whether it has an action for a step of its epoch."""
        return 0 <= step - self.tick_id.step < len(self.actions)

    def at(self, step: int) -> Array:
        """Return the action [A] for a step that it covers."""
        action: Array = self.actions[step - self.tick_id.step]
        return action


def blended(old: Chunk, new: Chunk, next_step: int, ticks: int, deltas: ActionDeltas) -> Array:
    """Return the new chunk's actions [K, A] with a gradual start.

    The first ``ticks`` actions that can still be executed lie between both chunks, with a weight
    that rises from 1 / (ticks + 1). The others are the new chunk's. Rotations turn.

    Args:
        old: the chunk that runs.
        new: the chunk that replaces it; one of another epoch than the old is returned as it is.
        next_step: first step that has no command yet.
        ticks: length of the blend.
        deltas: of the embodiment.
    """
    actions = new.actions.copy()
    if old.tick_id.epoch != new.tick_id.epoch:
        return actions
    for i in range(ticks):
        step = next_step + i
        if not (old.covers(step) and new.covers(step)):
            break
        share = (i + 1) / (ticks + 1)
        before = old.at(step)
        actions[step - new.tick_id.step] = deltas.moved(
            before, share * deltas.between(before, new.at(step))
        )
    return actions
