"""Absolute targets from displacements, never far from the robot's measured position."""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment

Array = NDArray[np.float64]

# The farthest a target may lead its arm, m. It equals the distance that the limits allow in one
# tick at 0.12 m/s, so that a person's target is not clipped, and motion stops with the key.
LEASH_M = 0.012


class LeashedTargets:
    """Accumulates displacements into targets on a short leash.

    Args:
        embodiment: arms, units and limits; an arm's entries in m share one leash.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        self._groups = [
            [i for i, e in enumerate(embodiment.actions) if e.arm == arm and e.unit == "m"]
            for arm in embodiment.arms
        ]
        self._ratios = [i for i, e in enumerate(embodiment.actions) if e.unit == "1"]
        self._target: Array | None = None

    def forget(self) -> None:
        """Start again from the measured position: at a takeover, after a rollback."""
        self._target = None

    def move(self, delta: Array, measured: Array, applied: Array) -> Array:
        """Return the new targets [A].

        Args:
            delta: requested displacement, [A].
            measured: the robot's position, [A], in action order.
            applied: last target applied, [A], or empty. Ratios start from it: a gripper that
                holds an object is open wider than its target, and would drop the object if its
                measured position became the target.
        """
        start = self._target
        if start is None:
            start = measured.copy()
            if applied.size:
                start[self._ratios] = applied[self._ratios]
        lead = start + delta - measured
        for group in self._groups:
            if group:
                length = float(np.linalg.norm(lead[group]))
                lead[group] *= min(1.0, LEASH_M / max(length, 1e-12))
        self._target = np.clip(measured + lead, self._embodiment.lower, self._embodiment.upper)
        return self._target.copy()


def measured_targets(proprio: NDArray[np.floating], embodiment: Embodiment) -> Array:
    """Return measured positions in action order, [A], by joint name.

    Joints without a position in the proprioception are taken to be at the embodiment's home.
    """
    place = {
        entry.joint: i for i, entry in enumerate(embodiment.proprioception)
        if entry.field == "position"
    }
    return np.array([
        float(proprio[place[entry.joint]]) if entry.joint in place else home
        for entry, home in zip(embodiment.actions, embodiment.home, strict=True)
    ])
