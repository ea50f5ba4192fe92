"""Absolute targets from displacements, never far from the robot's measured position.

Tested by ``test_leash.py``.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas, DeltaBase
from hiwm_core.embodiment import Embodiment
from hiwm_core.tips import TipMotion, Tips

Array = NDArray[np.float64]

_BEYOND = 1e-6  # a target is cut to its limits if it was farther out, in any unit


class LeashedTargets:
    """Accumulates displacements into targets on a short leash.

    The leash is the embodiment's ``max_following_error``: the limits would not let a target lead
    its arm any farther.

    Args:
        embodiment: groups and limits.

    Raises:
        ConfigError: a URDF is missing, or lacks a link or joint.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        self._deltas = ActionDeltas(embodiment)
        # A gripper that holds an object is open wider than its target, and would drop the object
        # if its measured position became the target. All else starts where the robot is.
        self._base = DeltaBase(
            embodiment, [group.name for group in embodiment.groups if group.kind != "gripper"]
        )
        self.tips = Tips(embodiment)
        self._target: Array | None = None
        self.note = ""  # what keeps the arms from where they were moved, for the person

    def forget(self) -> None:
        """Start again from the measured position: at a takeover, after a rollback."""
        self._target, self.note = None, ""
        self.tips.forget()

    def start(self, measured: Array, applied: Array) -> Array:
        """Return where the next displacement starts, [A]; arguments as in `move`."""
        return self._base.start(applied, measured) if self._target is None else self._target

    def move(
        self, delta: Array, measured: Array, applied: Array, *,
        tips: Mapping[str, TipMotion] | None = None, fixed: Array | None = None,
        seconds: float = 0.1,
    ) -> Array:
        """Return the new targets [A].

        Args:
            delta: requested displacement, [A]; see `hiwm_core.action_deltas`.
            measured: measured counterpart of the action, [A].
            applied: last target applied, [A], or empty. Grippers start from it.
            tips: motions of tips, by arm, besides the displacement.
            fixed: targets that are given as they are, [A]; NaN where they are not.
            seconds: how long the displacement takes.
        """
        lower, upper = self._embodiment.lower, self._embodiment.upper
        moved = self._deltas.moved(self.start(measured, applied), delta)
        moved = self.tips.move(moved, tips or {}, seconds)
        lead = self._deltas.shortened(
            self._deltas.between(measured, moved), self._embodiment.max_following_error
        )
        led = self._deltas.moved(measured, lead)
        if fixed is not None:
            led = np.where(np.isnan(fixed), led, fixed)
        self._target = np.clip(led, lower, upper)
        self.note = self.tips.note
        if tips and not self.note:
            stopped = np.flatnonzero(np.abs(led - self._target) > _BEYOND)
            names = [self._embodiment.actions[i].name for i in stopped]
            self.note = f"at the limit of {', '.join(names)}" if names else ""
        return self._target.copy()
