"""The first steps of an epoch: a jump is refused, and commands blend in from the measured state.

Tested by ``test_first_step.py``.
"""

import math

import numpy as np
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.action_parts import Part, parts_of
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
        self._bounded: list[tuple[Part, float, str]] = []
        for part in parts_of(embodiment):
            # The six numbers of a rotation are one angle.
            unit = "rad" if part.free < len(part.entries) else (
                embodiment.actions[int(part.entries[0])].unit
            )
            bound = {"m": jump.m, "rad": jump.rad, "1": jump.ratio}[unit]
            if bound is not None:
                self._bounded.append((part, bound, "" if unit == "1" else f" {unit}"))

    def problem(self, action: Array, measured: Array) -> str:
        """Return why a first action [A] would jump from the measured one [A]; empty if not."""
        for part, bound, unit in self._bounded:
            start, goal = (part.point(values[part.entries]) for values in (measured, action))
            step = math.hypot(*part.between(start, goal))
            if step > bound:
                names = ", ".join(self._names[i] for i in part.entries)
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
