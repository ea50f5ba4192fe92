"""From the axes of a cap or stick to displacements of arms.

For every device that commands velocities: each axis is shaped (dead zone, expo, scale), locked or
not, and moves the arm's tip or, on an arm without one, the joint with its name, ``<arm>_<axis>``.
Pure. Tested by ``test_motion.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hiwm_core.config_schema import number
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import DeviceError
from hiwm_core.tips import TIP_AXES as AXES
from hiwm_core.tips import TipAxis as AxisName
from hiwm_core.tips import tip_axes

Lock = Literal["none", "translation", "planar"]
Array = NDArray[np.float64]

_TRANSLATION: tuple[AxisName, ...] = ("x", "y", "z")
# The axes each lock leaves free, in the order in which a button cycles through the locks.
LOCKS: Mapping[Lock, tuple[AxisName, ...]] = {
    "none": AXES, "translation": _TRANSLATION, "planar": ("x", "y", "yaw"),
}
# A read later than this was delayed by something else; the arm must not jump to catch up.
LONGEST_GAP_S = 0.1


@dataclass(frozen=True, kw_only=True)
class AxisSetting:
    """Response of one axis."""

    scale: float = number(1.0, lower=-10.0, upper=10.0)  # of full speed; negative inverts
    dead_zone: float = number(0.08, lower=0.0, upper=0.9)  # fraction of full deflection


@dataclass(frozen=True, kw_only=True)
class MotionSettings:
    """Response of all axes."""

    linear_m_s: float = number(0.12, lower=0.001, upper=2.0)  # x, y, z at full deflection [m/s]
    angular_rad_s: float = number(0.8, lower=0.001, upper=6.0)  # roll, pitch, yaw [rad/s]
    expo: float = number(0.4, lower=0.0, upper=1.0)  # 0 = linear, 1 = cubic: finer near the centre
    lock: Lock = "none"


def shaped(value: float, setting: AxisSetting, expo: float) -> float:
    """Return the fraction of full speed for a deflection.

    Args:
        value: deflection; clipped to -1..1.
        setting: of the axis.
        expo: 0..1.
    """
    travel = (min(abs(value), 1.0) - setting.dead_zone) / (1.0 - setting.dead_zone)
    if travel <= 0.0:
        return 0.0
    speed = (1.0 - expo) * travel + expo * travel**3
    return float(np.copysign(speed, value)) * setting.scale


def axis_entries(embodiment: Embodiment, arm: str) -> dict[AxisName, int]:
    """Return the index in the action array of each axis of an arm without a tip.

    A joint belongs to an axis by its name, ``<arm>_<axis>`` or, on a robot with one arm,
    ``<axis>``, and by its unit: m for x, y and z, rad for the rest.
    """
    return {
        axis: i for i, entry in enumerate(embodiment.actions) for axis in AXES
        if entry.arm == arm and entry.unit == ("m" if axis in _TRANSLATION else "rad")
        and entry.joint and entry.name in (f"{arm}_{axis}", axis)
    }


class ArmMotion:
    """Velocities of one arm from the axes that move it.

    Args:
        embodiment: arms, entries and units.
        arm: of the embodiment.
        axes: settings by axis; absent axes do nothing.
        settings: common to all axes.
        where: file and field, for messages.

    Raises:
        DeviceError: the robot has no such arm, or the axes move none of its entries.
    """

    def __init__(
        self, embodiment: Embodiment, arm: str, axes: Mapping[AxisName, AxisSetting],
        settings: MotionSettings, where: str,
    ) -> None:
        if arm not in embodiment.arms:
            raise DeviceError(
                f"{embodiment.name} has no arm {arm!r}", where=where,
                remedy=f"use one of {', '.join(embodiment.arms)}",
            )
        tip = tip_axes(embodiment, arm)
        entries = {} if tip else axis_entries(embodiment, arm)
        self._size = embodiment.action_dim
        # The tip's axes come after the entries of the action.
        places = entries or {axis: self._size + AXES.index(axis) for axis in tip}
        self._moved = [(axis, axes[axis], places[axis]) for axis in axes if axis in places]
        if not self._moved:
            raise DeviceError(
                f"none of {', '.join(axes) or 'no axes'} moves arm {arm!r} of {embodiment.name}, "
                f"whose actions are {', '.join(e.name for e in embodiment.actions)}", where=where,
                remedy="use a device made for joints, or add kinematics to the arm's group: "
                "docs/embodiments.md",
            )
        self._settings = settings

    def velocity(self, values: Mapping[AxisName, float], lock: Lock) -> Array:
        """Return the requested velocity [A + 6], unit/s: of the action's entries, and of the tip.

        Args:
            values: deflection of each axis, -1..1.
            lock: which axes are free.
        """
        velocity = np.zeros(self._size + len(AXES))
        for axis, setting, index in self._moved:
            if axis in LOCKS[lock]:
                full = (
                    self._settings.linear_m_s if axis in _TRANSLATION
                    else self._settings.angular_rad_s
                )
                velocity[index] = shaped(values[axis], setting, self._settings.expo) * full
        return velocity


class Displacement:
    """Integrates a velocity that changes between reads: each one counts from its arrival."""

    def __init__(self) -> None:
        self._velocity: Array | None = None
        self._read_s = 0.0

    def rest(self) -> None:
        """Forget the velocity, so that the next motion starts from standstill."""
        self._velocity = None

    def advance(self, velocity: Array, received_s: float, now_s: float) -> Array:
        """Return the displacement [N] since the last read, over at most `LONGEST_GAP_S`.

        Args:
            velocity: newest velocity, [N].
            received_s: when it arrived; until then, the velocity of the last read applies.
            now_s: now, same clock.
        """
        before, since = self._velocity, self._read_s
        if before is None:
            before, since = np.zeros_like(velocity), received_s
        since = min(max(since, now_s - LONGEST_GAP_S), now_s)
        turn = min(max(received_s, since), now_s)
        self._velocity, self._read_s = velocity, now_s
        moved: Array = before * (turn - since) + velocity * (now_s - turn)
        return moved
