"""Rules of single makers: Interbotix's joint commands, and UR's check of targets.

Interbotix from interbotix_xs_sdk (xs_sdk_obj.cpp, `robot_write_commands`); UR from the client
library's external_control.urscript.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(kw_only=True)
class XSeries:
    """The commands of one Interbotix arm: a group by index, and single joints by name."""

    group: str
    joints: tuple[str, ...]  # of the group, in the motor configuration's order
    singles: tuple[str, ...] = ("gripper",)
    torque: bool = True
    modes: dict[str, str] = field(default_factory=dict)  # group or joint: operating mode
    errors: list[str] = field(default_factory=list)
    targets: dict[str, float] = field(default_factory=dict)

    def receive_group(self, name: str, commands: Sequence[float]) -> None:
        """Take a JointGroupCommand; a wrong number of joints is refused."""
        if name != self.group:
            self.errors.append(f"unknown group {name}")
        elif len(commands) != len(self.joints):
            self.errors.append(f"{len(commands)} commands for {len(self.joints)} joints")
        elif self.torque:
            self.targets.update(zip(self.joints, map(float, commands), strict=True))

    def receive_single(self, name: str, command: float) -> None:
        """Take a JointSingleCommand."""
        if name not in (*self.joints, *self.singles):
            self.errors.append(f"unknown joint {name}")
        elif self.torque:
            self.targets[name] = float(command)

    def set_mode(self, name: str, mode: str) -> None:
        """Set an operating mode; the motors lose their targets, as torque is off meanwhile."""
        self.modes[name] = mode
        for joint in self.joints if name == self.group else (name,):
            self.targets.pop(joint, None)


@dataclass(kw_only=True)
class SpeedCheck:
    """Ignores a target that is too far from the last one for the time between them."""

    max_speed: Array  # [J], 1/s
    ignored: int = 0  # each one shows a popup on the pendant
    _last: Array | None = None

    def accepted(self, target: ArrayLike, dt: float) -> Array | None:
        """Return the target [J], or None if it is ignored; dt since the previous call [s]."""
        values = np.asarray(target, dtype=np.float64)
        if self._last is not None and np.any(np.abs(values - self._last) > self.max_speed * dt):
            self.ignored += 1
            return None
        self._last = values.copy()
        return values
