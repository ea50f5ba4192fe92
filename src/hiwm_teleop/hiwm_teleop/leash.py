"""Absolute targets from wanted displacements, never far from where the robot is."""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment

Array = NDArray[np.float64]

# The farthest a target leads its arm, m. Equal to what the limits let through in one tick at
# 0.12 m/s, so that a person's target is not cut, and stops with the key.
LEASH_M = 0.012


class LeashedTargets:
    """Adds up displacements into targets on a short leash.

    Args:
        embodiment: arms, units and limits; entries of one arm in m share one leash.
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
        """Begin again from the measured position: at a takeover, after a rollback."""
        self._target = None

    def move(self, delta: Array, measured: Array, applied: Array) -> Array:
        """Return the new targets [A].

        Args:
            delta: wanted displacement, [A].
            measured: where the robot is, [A], in the order of the actions.
            applied: last target in force, [A], or empty. Ratios begin from it: a gripper that holds
                something stands wider than it was told to, and would let go if told where it is.
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
    """Return measured positions in the order of the actions, [A], by joint name.

    Joints without a position in the proprioception stand at the embodiment's home.
    """
    place = {
        entry.joint: i for i, entry in enumerate(embodiment.proprioception)
        if entry.field == "position"
    }
    return np.array([
        float(proprio[place[entry.joint]]) if entry.joint in place else home
        for entry, home in zip(embodiment.actions, embodiment.home, strict=True)
    ])
