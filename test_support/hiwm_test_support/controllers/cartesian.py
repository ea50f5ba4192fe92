"""Cartesian command inputs: MoveIt Servo, and twist and pose controllers without a time-out.

Servo from moveit_servo jazzy (servo_node.cpp, utils/command.cpp): command type, pause, planning
frame, `incoming_command_timeout`, unitless or SI speeds. The twist controller from Kinova's
ros2_kortex with picknik_twist_controller. The pose controller has the rules of FZI's
cartesian_controllers (frame) and of CRISP (publishers).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

JOINT_JOG, TWIST, POSE = 0, 1, 2  # moveit_msgs/srv/ServoCommandType
# Of the speed, per update: Servo's smoothing stops an arm over a few periods, not at once.
_HALT_SHARE = 0.5


@dataclass(kw_only=True)
class ServoInput:
    """What Servo makes of its messages."""

    planning_frame: str
    timeout_s: float = 0.1  # incoming_command_timeout
    scale: tuple[float, float] | None = None  # unitless: m/s and rad/s of 1; None: SI
    command_type: int = JOINT_JOG
    paused: bool = True
    warnings: list[str] = field(default_factory=list)
    _message: tuple[float, str, Array] | None = None  # stamp, frame, twist
    _speed: Array = field(default_factory=lambda: np.zeros(6))

    def switch(self, command_type: int) -> bool:
        """Set the command type; return whether it is in force."""
        if command_type in (JOINT_JOG, TWIST, POSE):
            self.command_type = command_type
        return command_type == self.command_type

    def pause(self, paused: bool) -> bool:
        """Pause or resume; return True, as Servo does."""
        self.paused = paused
        return True

    def receive(self, *, stamp: float, frame: str, twist: ArrayLike) -> None:
        """Take a TwistStamped: stamp [s], frame_id, twist [6]."""
        self._message = (stamp, frame, np.asarray(twist, dtype=np.float64))

    def update(self, now: float) -> Array:
        """Return the tool's speed [6], m/s and rad/s; `now` is the node's clock [s]."""
        if self.paused:
            self._speed = np.zeros(6)
            return self._speed
        wanted = self._wanted(now)
        if wanted is None:
            self._speed = _HALT_SHARE * self._speed
            self._speed[np.abs(self._speed) < 1e-4] = 0.0
        else:
            self._speed = wanted
        return self._speed.copy()

    def _wanted(self, now: float) -> Array | None:
        if self._message is None:
            return None
        stamp, frame, twist = self._message
        if self.command_type != TWIST:
            self._refuse("command type has not been set")
            return None
        if now - stamp >= self.timeout_s:
            return None
        if frame != self.planning_frame:
            self._refuse(f"command frame is {frame!r}, expected {self.planning_frame!r}")
            return None
        if not np.all(np.isfinite(twist)):
            self._refuse("invalid twist")
            return None
        if self.scale is None:
            return twist
        linear, rotational = self.scale
        return np.concatenate([twist[:3] * linear, twist[3:] * rotational])

    def _refuse(self, warning: str) -> None:
        self._message = None
        if warning not in self.warnings:
            self.warnings.append(warning)


@dataclass(kw_only=True)
class TwistInput:
    """A controller that applies the last twist for ever."""

    active: bool = False
    _twist: Array = field(default_factory=lambda: np.zeros(6))

    def activate(self) -> None:
        """Become active, at rest."""
        self.active, self._twist = True, np.zeros(6)

    def deactivate(self) -> None:
        """Become inactive; the arm stops."""
        self.active = False

    def receive(self, twist: ArrayLike) -> None:
        """Take a Twist [6]."""
        self._twist = np.asarray(twist, dtype=np.float64)

    def update(self) -> Array:
        """Return the tool's speed [6]."""
        return self._twist.copy() if self.active else np.zeros(6)


@dataclass(kw_only=True)
class PoseInput:
    """A controller that goes to the last pose, for ever.

    A pose in another frame is dropped, and so is every pose while its topic has two publishers.
    """

    frame: str
    warnings: list[str] = field(default_factory=list)
    target: tuple[Array, Array] | None = None  # position [3] m, unit quaternion [4] x y z w

    def receive(
        self, *, frame: str, position: ArrayLike, quaternion: ArrayLike, publishers: int
    ) -> bool:
        """Take a PoseStamped; return whether it is in force."""
        turn = np.asarray(quaternion, dtype=np.float64)
        if publishers > 1:
            return False
        if frame != self.frame or not abs(np.linalg.norm(turn) - 1.0) < 1e-3:
            self.warnings.append(f"pose in {frame!r} with quaternion {turn.tolist()}")
            return False
        self.target = (np.asarray(position, dtype=np.float64), turn)
        return True


def moved(position: Array, quaternion: Array, twist: Array, dt: float) -> tuple[Array, Array]:
    """Return position [3] and quaternion [4], x y z w, after a twist in the base frame."""
    angle = np.linalg.norm(twist[3:]) * dt
    new = position + twist[:3] * dt
    if angle == 0.0:
        return new, quaternion
    axis = twist[3:] / np.linalg.norm(twist[3:])
    x, y, z = axis * np.sin(angle / 2)
    w = np.cos(angle / 2)
    a, b, c, d = quaternion
    turned = np.array([
        w * a + x * d + y * c - z * b, w * b - x * c + y * d + z * a,
        w * c + x * b - y * a + z * d, w * d - x * a - y * b - z * c,
    ])
    return new, turned / np.linalg.norm(turned)
