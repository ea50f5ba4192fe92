"""Absolute targets from displacements, never far from the robot's measured position."""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas, DeltaBase
from hiwm_core.embodiment import Embodiment

Array = NDArray[np.float64]


class LeashedTargets:
    """Accumulates displacements into targets on a short leash.

    The leash is the embodiment's ``max_following_error``: the limits would not let a target lead
    its arm any farther.

    Args:
        embodiment: groups and limits.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        self._deltas = ActionDeltas(embodiment)
        # A gripper that holds an object is open wider than its target, and would drop the object
        # if its measured position became the target. All else starts where the robot is.
        self._base = DeltaBase(
            embodiment, [group.name for group in embodiment.groups if group.kind != "gripper"]
        )
        self._target: Array | None = None

    def forget(self) -> None:
        """Start again from the measured position: at a takeover, after a rollback."""
        self._target = None

    def move(self, delta: Array, measured: Array, applied: Array) -> Array:
        """Return the new targets [A].

        Args:
            delta: requested displacement, [A]; see `hiwm_core.action_deltas`.
            measured: measured counterpart of the action, [A].
            applied: last target applied, [A], or empty. Grippers start from it.
        """
        start = self._base.start(applied, measured) if self._target is None else self._target
        lead = self._deltas.shortened(
            self._deltas.between(measured, self._deltas.moved(start, delta)),
            self._embodiment.max_following_error,
        )
        self._target = np.clip(
            self._deltas.moved(measured, lead), self._embodiment.lower, self._embodiment.upper
        )
        return self._target.copy()
