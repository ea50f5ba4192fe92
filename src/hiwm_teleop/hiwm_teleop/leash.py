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
# An arm at the end of its leash that for this long has not moved by this share of the leash is held
# back. One that only lags moves on.
_HELD_S, _MOVED = 0.5, 0.2


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
        self._held: dict[str, tuple[Array, float]] = {}  # group: where, how long [s]

    def forget(self) -> None:
        """Start again from the measured position: at a takeover, after a rollback."""
        self._target, self.note = None, ""
        self._held.clear()
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
        held = self._held_arms(measured, np.clip(moved, lower, upper), seconds)
        led = self._deltas.moved(measured, lead)
        if fixed is not None:
            led = np.where(np.isnan(fixed), led, fixed)
        self._target = np.clip(led, lower, upper)
        self.note = "; ".join(
            [self.tips.note] * bool(self.tips.note)
            + [f"{arm} held back by something" for arm in held]
        )
        if tips and not self.note:
            stopped = np.flatnonzero(np.abs(led - self._target) > _BEYOND)
            names = [self._embodiment.actions[i].name for i in stopped]
            self.note = f"at the limit of {', '.join(names)}" if names else ""
        return self._target.copy()

    def _held_arms(self, measured: Array, wanted: Array, seconds: float) -> list[str]:
        """Return the arms that something holds back: another arm, the table, what they hold.

        Args:
            measured: measured counterpart of the action, [A].
            wanted: target within the limits, before the leash shortens the way to it, [A].
            seconds: since the last call.
        """
        leash, ahead = self._embodiment.max_following_error, self._deltas.between(measured, wanted)
        taut = np.abs(self._deltas.shortened(ahead, 0.98 * leash) - ahead) > _BEYOND
        found = []
        for group in self._embodiment.groups:
            if group.kind == "gripper":
                continue
            if not taut[group.slice].any():
                self._held.pop(group.name, None)
                continue
            where, held_s = self._held.get(group.name, (measured, -seconds))
            way = self._deltas.between(where, measured)[group.slice]
            if (np.abs(way) > _MOVED * leash[group.slice]).any():
                where, held_s = measured, -seconds
            self._held[group.name] = where, held_s + seconds
            if held_s + seconds >= _HELD_S and group.arm not in found:
                found.append(group.arm)
        return found
