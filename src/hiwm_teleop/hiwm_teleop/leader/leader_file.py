"""The device file of a leader: its arms, what each joint drives, and how control is held.

Tested by ``test_leader_files.py``, which reads every file of ``config/devices`` for `leader_arm`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hiwm_core.config_schema import number
from hiwm_core.errors import ConfigError
from hiwm_teleop.devices.device_files import load_device_file
from hiwm_teleop.leader.servo_models import MODELS

DEVICE = "leader_arm"
GRIPPER = "gripper"  # its joint name in switches and messages


@dataclass(frozen=True, kw_only=True)
class JointFile:
    """One joint: its servo and the follower's joint it drives.

    The follower's target is ``scale * angle + offset_rad``. In the calibration pose the angle is
    `pose_rad`.
    """

    id: int = number(lower=0, upper=252)
    model: str
    drives: str | None = None  # joint of the embodiment, in rad; None = drives no joint directly
    pose_rad: float = number(0.0, lower=-math.tau, upper=math.tau)
    scale: float = number(1.0, lower=-10.0, upper=10.0)
    offset_rad: float = number(0.0, lower=-math.tau, upper=math.tau)


@dataclass(frozen=True, kw_only=True)
class GripperFile:
    """The gripper's servo. Closed to open maps to the full range of the joint it drives."""

    id: int = number(lower=0, upper=252)
    model: str
    drives: str | None = None
    closed: Literal["lower", "upper"] = "lower"  # limit of that joint when closed


@dataclass(frozen=True, kw_only=True)
class PlanarFile:
    """A planar chain of joints whose end drives a follower in x and y."""

    joints: tuple[str, ...]  # of this arm, from the base; each angle is relative to the previous
    links_m: tuple[float, ...]  # one per joint
    base_m: tuple[float, ...]  # position of the first joint, in the embodiment's frame
    drives: tuple[str, ...]  # joints of the embodiment for x and y, in m

    def __post_init__(self) -> None:
        if len(self.links_m) != len(self.joints):
            raise ConfigError(
                f"{len(self.links_m)} links for {len(self.joints)} joints", where="links_m",
                remedy="give the length of the link after each joint",
            )
        for key, values in (("base_m", self.base_m), ("drives", self.drives)):
            if len(values) != 2:
                raise ConfigError(f"{len(values)} entries", where=key, remedy="give x and y")


@dataclass(frozen=True, kw_only=True)
class TipFile:
    """The leader's own tip, which drives the end effector of a follower.

    The follower's position is ``base_m + scale * R * p`` with the leader's position p in its own
    URDF's root frame and R a turn by `base_yaw_rad` about z; its rotation is R times the leader's,
    times `tool_turn_rad`.
    """

    urdf: str  # of the leader, whose joints have the names of `joints`
    link: str  # of that URDF
    drives: str  # group of the embodiment
    base_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    base_yaw_rad: float = number(0.0, lower=-math.tau, upper=math.tau)
    tool_turn_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)  # rotation vector, link to tip
    scale: float = number(1.0, lower=0.01, upper=10.0)


@dataclass(frozen=True, kw_only=True)
class ArmFile:
    """One leader arm on one serial port."""

    port: str
    calibration: str  # written by scripts/calibrate_leader; relative to this file, ~ is expanded
    joints: Mapping[str, JointFile]
    gripper: GripperFile | None = None
    planar: PlanarFile | None = None
    tip: TipFile | None = None

    def __post_init__(self) -> None:
        if not self.joints:
            raise ConfigError("an arm without joints", where="joints", remedy="list them")
        if GRIPPER in self.joints:
            raise ConfigError(
                "a joint is called gripper", where="joints", remedy="write it under gripper:"
            )
        servos = self.servos
        ids = [servo.id for servo in servos.values()]
        for name, servo in servos.items():
            if ids.count(servo.id) > 1:
                raise ConfigError(
                    f"servo id {servo.id} is used twice", where=_place(name),
                    remedy="give each servo of a bus its own id",
                )
        for joint in self.planar.joints if self.planar else ():
            if joint not in self.joints:
                raise ConfigError(
                    f"no joint {joint!r}", where="planar.joints",
                    remedy=f"use joints of this arm: {', '.join(self.joints)}",
                )

    @property
    def servos(self) -> dict[str, JointFile | GripperFile]:
        """Servos by joint name, gripper last: the order of all readings from the bus."""
        gripper = {GRIPPER: self.gripper} if self.gripper else {}
        return {**self.joints, **gripper}


@dataclass(frozen=True, kw_only=True)
class JointSwitch:
    """A joint or gripper of the leader used as a switch, on beyond a threshold in its range.

    0 is the lower end of a joint's calibrated range or the closed gripper, 1 the other end.
    """

    arm: str
    joint: str
    above: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        if (self.above is None) is (self.below is None):
            raise ConfigError("needs above or below", where="", remedy="give one of the two")
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(
                f"{self.threshold:g} is out of range",
                where="below" if self.above is None else "above",
                remedy="give a fraction of the joint's range, 0 to 1",
            )

    @property
    def threshold(self) -> float:
        """The threshold in the range."""
        return self.above if self.above is not None else float(self.below or 0.0)

    def on(self, place: float) -> bool:
        """Return whether it is on, with the joint at a fraction of its range, 0..1."""
        return place > self.threshold if self.above is not None else place < self.threshold


# "keys": t and h in the terminal for the deadman, c for the clutch; "pedal": the deadman of the
# pedal's own file.
Switch = Literal["keys", "pedal"] | JointSwitch


@dataclass(frozen=True, kw_only=True)
class GuardFile:
    """How far a leader may be from its follower when it starts to lead."""

    rad: float = number(lower=0.01, upper=math.pi)  # each joint
    m: float = number(0.05, lower=0.001, upper=1.0)  # each axis of a planar follower or a tip


@dataclass(frozen=True, kw_only=True)
class LeaderFile:
    """A leader of one or more arms."""

    bus: Literal["dynamixel", "feetech"]
    baudrate: int = number(lower=9600, upper=4_000_000)
    read_hz: float = number(100.0, lower=10.0, upper=500.0)
    lost_after_s: float = number(0.18, lower=0.1, upper=0.5)  # without a good answer
    # In control, and no servo's count changed for this long: frozen, or nobody holds it.
    still_after_s: float = number(lower=0.2, upper=60.0)
    guard: GuardFile
    deadman: Switch  # control is held while it is on
    clutch: Switch | None = None  # while it is on, the leader moves without the follower
    pedal: str = ""  # a file of device joy; its other buttons work too
    arms: Mapping[str, ArmFile]

    def __post_init__(self) -> None:
        if not self.arms:
            raise ConfigError("a leader without arms", where="arms", remedy="add one")
        known = MODELS[self.bus]
        for name, arm in self.arms.items():
            for joint, servo in arm.servos.items():
                if servo.model not in known:
                    raise ConfigError(
                        f"{servo.model!r} is not a known model on a {self.bus} bus",
                        where=f"arms.{name}.{_place(joint)}.model",
                        remedy=f"use one of {', '.join(known)}",
                    )
        ports = [arm.port for arm in self.arms.values()]
        for name, arm in self.arms.items():
            if ports.count(arm.port) > 1:
                raise ConfigError(
                    f"two arms on {arm.port}", where=f"arms.{name}.port",
                    remedy="give each arm its own port; /dev/serial/by-id tells them apart",
                )
        if bool(self.pedal) is not ("pedal" in (self.deadman, self.clutch)):
            raise ConfigError(
                "the pedal has no function" if self.pedal else "no pedal is named",
                where="pedal", remedy="name its file in config/devices, and write deadman: pedal "
                "or clutch: pedal",
            )
        for field, switch in (("deadman", self.deadman), ("clutch", self.clutch)):
            if isinstance(switch, JointSwitch):
                _check_switch(switch, field, self.arms)

    @property
    def keys(self) -> bool:
        """Whether a terminal is needed."""
        return "keys" in (self.deadman, self.clutch)


def load_leader(name: str | Path) -> LeaderFile:
    """Return a leader, given its name in config/devices or its path; raises ConfigError."""
    return load_device_file(name, DEVICE, LeaderFile)


def _check_switch(switch: JointSwitch, field: str, arms: Mapping[str, ArmFile]) -> None:
    if switch.arm not in arms:
        raise ConfigError(
            f"no arm {switch.arm!r}", where=f"{field}.arm",
            remedy=f"use one of {', '.join(arms)}",
        )
    servos = arms[switch.arm].servos
    if switch.joint not in servos:
        raise ConfigError(
            f"arm {switch.arm} has no joint {switch.joint!r}", where=f"{field}.joint",
            remedy=f"use one of {', '.join(servos)}",
        )


def _place(joint: str) -> str:
    return GRIPPER if joint == GRIPPER else f"joints.{joint}"
