"""The ramp from a person's last target to the policy's plan.

Used only by the arbiter. Rotations turn about one axis at a constant rate. ``test_handback.py``
tests that no step is longer than the gap divided by the number of ticks plus the movement of the
plan.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.action_deltas import ActionDeltas


class HandbackRamp:
    """Blend ``ticks`` actions; the next one is the plan's.

    ``start``: float64 ``[A]``, last applied target, embodiment order and units.
    ``deltas``: of the embodiment.
    """

    def __init__(self, start: ArrayLike, ticks: int, deltas: ActionDeltas) -> None:
        self._start = np.array(start, dtype=np.float64)
        self._deltas = deltas
        self._ticks = ticks
        self._sent = 0

    @property
    def done(self) -> bool:
        """Whether all blended actions have been returned."""
        return self._sent >= self._ticks

    def blend(self, planned: ArrayLike) -> NDArray[np.float64]:
        """Return the next target ``[A]`` on the way from the start to ``planned`` ``[A]``.

        A plan with a degenerate rotation is returned as it is: the world's limits refuse it.
        """
        self._sent += 1
        goal = np.asarray(planned, dtype=np.float64)
        share = min(self._sent / (self._ticks + 1), 1.0)
        if share == 1.0:
            return goal
        try:
            gap = self._deltas.between(self._start, goal)
        except ValueError:
            return goal
        return self._deltas.moved(self._start, share * gap)
