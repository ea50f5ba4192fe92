"""The ramp from a person's last target to the policy's plan.

Used only by the arbiter. ``test_handback.py`` tests that no step is longer than the gap divided by
the number of ticks plus the movement of the plan.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


class HandbackRamp:
    """Blend ``ticks`` actions; the next one is the plan's.

    ``start``: float64 ``[A]``, last applied target, embodiment order and units.
    """

    def __init__(self, start: ArrayLike, ticks: int) -> None:
        self._start = np.array(start, dtype=np.float64)
        self._ticks = ticks
        self._sent = 0

    @property
    def done(self) -> bool:
        """Whether all blended actions have been returned."""
        return self._sent >= self._ticks

    def blend(self, planned: ArrayLike) -> NDArray[np.float64]:
        """Return the next target ``[A]`` on the way from the start to ``planned`` ``[A]``."""
        self._sent += 1
        share = min(self._sent / (self._ticks + 1), 1.0)
        target: NDArray[np.float64] = (1.0 - share) * self._start + share * np.asarray(
            planned, dtype=np.float64
        )
        return target
