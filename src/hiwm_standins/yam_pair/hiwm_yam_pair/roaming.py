"""Motion off the task, for data: hands go to drawn places, take what lies there, and drag it."""

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_yam_pair.hands import GAIN, Array

# The hands keep this far apart in y when they are near in x [m].
_APART_M, _NEAR_M = 0.09, 0.12


class Roamer:
    """Targets of both hands, drawn leg by leg.

    Args:
        embodiment: the pair's, Cartesian.
        rng: of everything drawn.
        edge: go to the limits of the workspace, instead of to the things on the table.
        grasp_z_m: height at which a hand takes something.
    """

    def __init__(
        self, embodiment: Embodiment, rng: np.random.Generator, *, edge: bool, grasp_z_m: float
    ) -> None:
        self._lower = embodiment.lower.reshape(2, 5)
        self._upper = embodiment.upper.reshape(2, 5)
        self._rng, self._edge, self._grasp_z_m = rng, edge, grasp_z_m
        self._legs = [_Leg(), _Leg()]

    def targets(self, things: Array, measured: Array) -> Array:
        """Return the next targets [10].

        Args:
            things: [N, 2], places on the table at which there is something to take, m.
            measured: [10].
        """
        action = np.empty((2, 5))
        for side, (hand, leg) in enumerate(zip(measured.reshape(2, 5), self._legs, strict=True)):
            if leg.ticks <= 0:
                self._begin(leg, side, things)
            leg.ticks -= 1
            action[side, :4] = hand[:4] + np.clip(
                GAIN * (leg.aim - hand[:4]), -leg.speed, leg.speed
            )
            action[side, 4] = leg.grip
        gap = action[0, 1] - action[1, 1]
        if gap < _APART_M and abs(action[0, 0] - action[1, 0]) < _NEAR_M:
            action[0, 1] += (_APART_M - gap) / 2
            action[1, 1] -= (_APART_M - gap) / 2
        return np.asarray(np.clip(action, self._lower, self._upper).reshape(10))

    def _begin(self, leg: "_Leg", side: int, things: Array) -> None:
        rng, low, high = self._rng, self._lower[side], self._upper[side]
        if leg.closes:  # where it is, first
            leg.ticks, leg.grip, leg.closes = 4, 0.0, False
            return
        leg.ticks = int(rng.integers(8, 26))
        leg.speed = np.array([*[rng.uniform(0.006, 0.022)] * 3, 0.12])
        aim = rng.uniform(low, high)[:4]
        aim[2] = rng.choice([rng.uniform(0.010, 0.03), rng.uniform(0.03, high[2])])
        if self._edge:
            axis = int(rng.integers(0, 3))
            aim[axis] = rng.choice([low[axis], high[axis]])
        elif leg.grip > 0.4 and rng.random() < 0.6:
            place = things[int(rng.integers(len(things)))] + rng.normal(0, 0.006, 2)
            if low[1] <= place[1] <= high[1]:
                aim[:2], aim[2], aim[3] = place, self._grasp_z_m, rng.uniform(-0.6, 0.6)
                leg.aim, leg.grip, leg.ticks, leg.closes = aim, 0.55, 25, True
                return
        leg.aim = aim
        leg.grip = float(rng.choice([0.0, 0.55, 1.0], p=[0.5, 0.3, 0.2]))


class _Leg:
    """What one hand does for some ticks."""

    def __init__(self) -> None:
        self.ticks = 0
        self.aim = np.zeros(4)
        self.speed = np.zeros(4)
        self.grip = 1.0
        self.closes = False  # the next leg closes the fingers
