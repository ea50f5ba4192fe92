"""The first steps of an epoch: a jump is refused, and commands blend in from the measured state.

Tested by ``test_first_step.py``.
"""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.action_parts import parts_of
from hiwm_core.embodiment import Embodiment
from hiwm_core.robots.safety import Activation

Array = NDArray[np.float64]


class FirstStep:
    """Bounds on actions after activation, reset and re-arming.

    Args:
        embodiment: groups and units of the entries.
        activation: bounds and duration of the ramp.
    """

    def __init__(self, embodiment: Embodiment, activation: Activation) -> None:
        self._names = [entry.name for entry in embodiment.actions]
        self._ramp_s = activation.ramp_s
        self._deltas = ActionDeltas(embodiment)
        jump = activation.jump
        self._parts = parts_of(embodiment)
        self._bounds: list[list[tuple[float | None, str]]] = []  # of each part's vectors
        for part in self._parts:
            # The six numbers of a rotation are one angle.
            units = [
                "rad" if part.free < len(part.entries) else embodiment.actions[int(vector[0])].unit
                for vector in part.vectors
            ]
            self._bounds.append([
                ({"m": jump.m, "rad": jump.rad, "1": jump.ratio}[unit],
                 "" if unit == "1" else f" {unit}")
                for unit in units
            ])

    def problem(self, action: Array, measured: Array) -> str:
        """Return why a first action [A] would jump from the measured one [A]; empty if not."""
        for part, bounds in zip(self._parts, self._bounds, strict=True):
            start, goal = (part.point(values[part.entries]) for values in (measured, action))
            steps = part.norms(part.between(start, goal))
            for vector, step, (bound, unit) in zip(part.vectors, steps, bounds, strict=True):
                if bound is None or step <= bound:
                    continue
                names = ", ".join(self._names[i] for i in vector)
                return (
                    f"would move {names} by {step:.3g}{unit} at once, over the bound of "
                    f"{bound:g}{unit}: bring its source to where the robot is, or raise "
                    "activation.jump"
                )
        return ""

    def ramped(self, action: Array, measured: Array, since_s: float) -> Array:
        """Return an action [A] on the way from the measured one [A], by the time since the start.

        After the ramp it is the action itself.
        """
        if since_s >= self._ramp_s:
            return action
        share = since_s / self._ramp_s
        return self._deltas.moved(measured, share * self._deltas.between(measured, action))
