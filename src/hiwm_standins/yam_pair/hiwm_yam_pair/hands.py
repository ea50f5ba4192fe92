"""Smooth motion of the hands, shared by the tasks' controllers.

The next target is a bounded share of the remaining way. A hand that is too low goes up before it
goes across. The target depends only on the measured hand, so that a policy can imitate it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_yam_pair.geometry import SIDES
from hiwm_yam_pair.kinematics import highest_m

Array = NDArray[np.float64]

LEFT, RIGHT = 0, 1
assert SIDES == ("left", "right")  # the order of hands and of the action
# One tick's largest step [m], [rad], and the share of the remaining way that it takes.
STEP_M, TURN_RAD, GAIN = 0.022, 0.13, 0.6
_YAW_RANGE = (-0.85, 2.35)
# Gripper ratios: wide, and wide enough to approach something or to let it go.
OPEN, APPROACH = 1.0, 0.55
_LOW_M = 0.012  # a hand may be this low wherever it is
_AWAY_M = 0.11  # height at which a hand leaves for home


@dataclass(frozen=True)
class Hand:
    """One hand, as measured."""

    side: str
    xy: Array  # [2], m
    z: float  # m
    yaw: float  # rad
    grip: float  # ratio

    def toward(
        self, xy: Array, z: float, yaw: float, grip: float, *, share: float = 1.0,
        speed: float = 1.0,
    ) -> Array:
        """Return the next target [5]: x, y, z, yaw and gripper; within the arm's reach above here.

        Args:
            xy: [2], m.
            z: m.
            yaw: rad.
            grip: ratio, sent as it is.
            share: of the step across the table, so that two hands arrive together.
            speed: share of the full speed.
        """
        z = min(z, max(highest_m(self.side, *self.xy), _LOW_M))
        step = STEP_M * speed
        across = GAIN * (xy - self.xy)
        length = float(np.linalg.norm(across))
        free = 1.0 - ramp(z - self.z, 0.008, 0.03)  # what a hand that is too low has
        across *= free * min(1.0, share * step / max(length, 1e-9))
        rise = float(np.clip(GAIN * (z - self.z), -step, step))
        turn = float(np.clip(GAIN * (yaw - self.yaw), -TURN_RAD, TURN_RAD)) * free
        return np.array([*(self.xy + across), self.z + rise, self.yaw + turn, grip])

    def leaving(self, home: Array, speed: float = 1.0) -> Array:
        """Return the next target [5] on the way home [5]: open, go up, and go."""
        if self.grip < 0.45:
            return self.toward(self.xy, self.z, self.yaw, APPROACH, speed=speed)
        if self.z < _AWAY_M - 0.02 and np.linalg.norm(home[:2] - self.xy) > 0.03:
            return self.toward(self.xy, _AWAY_M, self.yaw, APPROACH, speed=speed)
        return self.toward(home[:2], float(home[2]), float(home[3]), OPEN, speed=speed)


def hands_of(measured: Array) -> list[Hand]:
    """Return both hands of a measured action [10]."""
    return [
        Hand(side, row[:2], float(row[2]), float(row[3]), float(row[4]))
        for side, row in zip(
            SIDES, np.asarray(measured, dtype=np.float64).reshape(2, 5), strict=True
        )
    ]


def ramp(value: float, low: float, high: float) -> float:
    """Return 0 below `low`, 1 above `high`, and a straight line between."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def near_yaw(yaw: float, now: float) -> float:
    """Return the yaw, or half a turn from it, that is within reach and nearer to the present one.

    The gripper is the same after half a turn.
    """
    wrapped = (yaw - _YAW_RANGE[0]) % np.pi + _YAW_RANGE[0]
    choices = [value for value in (wrapped, wrapped + np.pi) if value <= _YAW_RANGE[1]]
    return min(choices, key=lambda value: abs(value - now))
