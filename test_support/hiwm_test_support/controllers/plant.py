"""Joints that follow their targets."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Plant:
    """Joints with a first-order lag, a largest speed and a dead band.

    Args:
        positions: at the start, [J], rad or m.
        max_speed: largest speed of each joint, [J] or one for all, 1/s of its unit.
        lag_s: time constant of the approach; 0 follows at once, within the speed.
        dead_band: errors up to this do not move a joint: a servo with a low P gain, such as that of
            an SO-101, does not overcome its friction.
    """

    def __init__(
        self, positions: ArrayLike, *, max_speed: ArrayLike, lag_s: float = 0.0,
        dead_band: float = 0.0,
    ) -> None:
        self.positions: Array = np.array(positions, dtype=np.float64)
        self._max_speed = np.broadcast_to(np.asarray(max_speed, float), self.positions.shape)
        self._lag_s = lag_s
        self._dead_band = dead_band

    def step(self, targets: ArrayLike, dt: float) -> Array:
        """Advance by dt [s]; return the positions [J]."""
        error = np.asarray(targets, dtype=np.float64) - self.positions
        error = np.where(np.abs(error) <= self._dead_band, 0.0, error)
        share = 1.0 if self._lag_s == 0.0 else 1.0 - np.exp(-dt / self._lag_s)
        reach = self._max_speed * dt
        self.positions = self.positions + np.clip(share * error, -reach, reach)
        return self.positions.copy()
