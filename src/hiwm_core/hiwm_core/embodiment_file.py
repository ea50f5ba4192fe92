"""The YAML form of an embodiment: what is refused on load, with file, field and remedy.

Only ``embodiment`` uses it. docs/embodiments.md describes the form for users.
"""

import math
from dataclasses import dataclass
from typing import Literal

from hiwm_core.config_files import file_name
from hiwm_core.errors import ConfigError

Kind = Literal["joint_position", "ee_position", "gripper"]
Rotation = Literal["none", "yaw", "6d"]
Source = Literal["joint_states", "pose", "urdf"]

# Units of an entry. Other units are refused rather than converted: topics carry SI units.
UNITS = {
    "position": ("m", "rad", "1"), "velocity": ("m/s", "rad/s", "1/s"), "effort": ("N", "N m", "1")
}
# The first two columns of a rotation matrix, column by column (Zhou et al. 2019).
ROTATION_6D = ("r11", "r21", "r31", "r12", "r22", "r32")
_POSITION = 3  # x, y, z come first in a group of an end effector


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Where the measured counterpart of a group's entries comes from.

    ``joint_states``: the positions of the group's joints. ``pose``: the stream of that name.
    ``urdf``: forward kinematics of ``link`` in the group's frame, from the positions of ``joints``.
    """

    source: Source
    pose: str = ""
    urdf: str = ""  # file in config/urdf, or a path
    link: str = ""
    joints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wanted = {
            "joint_states": set(), "pose": {"pose"}, "urdf": {"urdf", "link", "joints"},
        }[self.source]
        for key in ("pose", "urdf", "link", "joints"):
            if bool(getattr(self, key)) is not (key in wanted):
                raise ConfigError(
                    f"source {self.source} {'lacks' if key in wanted else 'does not use'} {key}",
                    where=key, remedy=f"give {', '.join(sorted(wanted)) or 'nothing else'}",
                )


@dataclass(frozen=True, kw_only=True)
class Kinematics:
    """The tip that a group of joints moves, for devices that move a tip."""

    urdf: str  # file in config/urdf, or a path
    tip: str  # link that is moved
    frame: str = ""  # link whose axes are x, y and z; empty: the root link


@dataclass(frozen=True, kw_only=True)
class EntryLine:
    """One line of ``entries``: one entry of the action array, or the six of a 6D rotation."""

    name: str
    unit: str
    max_velocity: float
    max_acceleration: float
    max_following_error: float
    joint: str = ""
    lower: float | None = None
    upper: float | None = None
    home: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check_unit(self.unit, "position")
        for key in ("max_velocity", "max_acceleration", "max_following_error"):
            if not getattr(self, key) > 0:
                raise ConfigError(
                    f"{key} is {getattr(self, key)}", where=key,
                    remedy="give a positive, finite number",
                )

    @property
    def limits(self) -> tuple[float, float]:
        """Lower and upper limit; raises ConfigError without a range."""
        if self.lower is None or self.upper is None or not self.lower < self.upper:
            raise ConfigError(
                f"lower {self.lower} and upper {self.upper} of {self.name} are not a range",
                where="upper", remedy="give two finite numbers, the lower one first",
            )
        return self.lower, self.upper

    @property
    def home_value(self) -> float:
        """Home of a single entry; raises ConfigError if it is missing or outside the limits."""
        lower, upper = self.limits
        if not isinstance(self.home, float | int) or not lower <= self.home <= upper:
            raise ConfigError(
                f"home {self.home} of {self.name} is outside its limits", where="home",
                remedy=f"give a number in [{lower}, {upper}]",
            )
        return float(self.home)

    @property
    def home_rotation(self) -> tuple[float, ...]:
        """Home of a 6D rotation; the identity if it is not given."""
        home = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0) if self.home is None else self.home
        good = isinstance(home, tuple) and len(home) == len(ROTATION_6D) and all(
            abs(value - wanted) < 1e-3 for value, wanted in (
                (math.hypot(*home[:3]), 1.0), (math.hypot(*home[3:]), 1.0),
                (sum(a * b for a, b in zip(home[:3], home[3:], strict=True)), 0.0),
            )
        )
        if not good or not isinstance(home, tuple):
            raise ConfigError(
                f"home {home} is not the first two columns of a rotation matrix", where="home",
                remedy=f"give {', '.join(ROTATION_6D)}, or leave it out for the identity",
            )
        return home


@dataclass(frozen=True, kw_only=True)
class GroupFile:
    """One group of action entries."""

    name: str
    arm: str
    kind: Kind
    entries: tuple[EntryLine, ...]
    measured: Measured | None = None
    rotation: Rotation = "none"
    frame: str = ""
    tip: str = ""
    kinematics: Kinematics | None = None

    def __post_init__(self) -> None:
        if self.kinematics is not None and self.kind != "joint_position":
            raise ConfigError(
                f"a group of kind {self.kind} does not use kinematics", where="kinematics",
                remedy="remove it" if self.kind == "gripper" else "remove it: its tip is moved "
                "directly",
            )
        end_effector = self.kind == "ee_position"
        if self.measured is None:
            raise ConfigError(
                f"group {self.name} has no measured counterpart", where="measured",
                remedy="say where the robot reports it: "
                + ("{source: pose, pose: NAME} or {source: urdf, urdf: FILE, link: LINK, "
                   "joints: [...]}" if end_effector else "{source: joint_states}"),
            )
        if (self.measured.source == "joint_states") is end_effector:
            raise ConfigError(
                f"source {self.measured.source} does not measure {self.kind}",
                where="measured.source",
                remedy="use pose or urdf" if end_effector else "use joint_states",
            )
        if end_effector:
            self._check_end_effector()
        else:
            self._check_joints()

    @property
    def rotation_line(self) -> EntryLine | None:
        """The line of the rotation, if the group has one."""
        return self.entries[_POSITION] if self.rotation != "none" else None

    def _check_end_effector(self) -> None:
        if not self.tip:
            raise ConfigError(
                "an end effector needs the frame that is moved", where="tip",
                remedy="give its frame, such as tool0",
            )
        wanted = _POSITION + (self.rotation != "none")
        if len(self.entries) != wanted:
            raise ConfigError(
                f"{len(self.entries)} entries for a position with rotation {self.rotation}",
                where="entries",
                remedy=f"give {wanted}: x, y, z" + (", rotation" if wanted > _POSITION else ""),
            )
        for i, line in enumerate(self.entries):
            _require_unit(line, "rad" if i == _POSITION else "m", i)
            if line.joint:
                raise ConfigError(
                    f"{line.name} of an end effector has a joint", where=f"entries[{i}].joint",
                    remedy="remove it; measured.joints lists the joints of the kinematics",
                )
            with _at(i):
                if i == _POSITION and self.rotation == "6d":
                    self._check_6d(line)
                else:
                    _ = line.home_value
                    if i == _POSITION and not (
                        line.limits[0] >= -math.pi - 1e-3 and line.limits[1] <= math.pi + 1e-3
                    ):
                        raise ConfigError(
                            f"yaw limits {line.limits} exceed half a turn", where="lower",
                            remedy="keep them in [-3.1416, 3.1416]; that range has no limit",
                        )

    def _check_6d(self, line: EntryLine) -> None:
        for key in ("lower", "upper"):
            if getattr(line, key) is not None:
                raise ConfigError(
                    f"a 6D rotation has no {key} limit", where=key, remedy="remove it"
                )
        _ = line.home_rotation

    def _check_joints(self) -> None:
        for key in ("tip", "frame", "rotation"):
            if getattr(self, key) not in ("", "none"):
                raise ConfigError(
                    f"a {self.kind} group has no {key}", where=key,
                    remedy="remove it, or use kind: ee_position",
                )
        for i, line in enumerate(self.entries):
            with _at(i):
                if not line.joint:
                    raise ConfigError(
                        f"{line.name} names no joint", where="joint",
                        remedy="give its name in joint_states",
                    )
                if self.kind == "gripper" and line.limits != (0.0, 1.0):
                    raise ConfigError(
                        f"gripper {line.name} has the range {line.limits}", where="lower",
                        remedy="give 0 and 1: a gripper is a ratio, 0 shut, 1 open; the robot "
                        "file maps it to the driver's numbers",
                    )
                _ = line.home_value
            if self.kind == "gripper":
                _require_unit(line, "1", i)
            elif line.unit == "1":
                raise ConfigError(
                    f"joint position {line.name} has no unit", where=f"entries[{i}].unit",
                    remedy="use m or rad, or kind: gripper for a ratio",
                )


@dataclass(frozen=True, kw_only=True)
class ProprioceptionEntry:
    """One entry of the proprioception array: a field of a joint, or a measured action entry."""

    name: str
    unit: str
    joint: str = ""
    field: Literal["", "position", "velocity", "effort"] = ""
    action: str = ""  # name of the action entry whose measured counterpart this is

    def __post_init__(self) -> None:
        if bool(self.joint) is bool(self.action) or bool(self.joint) is not bool(self.field):
            raise ConfigError(
                f"{self.name} names neither one joint and field, nor one action", where="joint",
                remedy="give joint and field (position, velocity or effort), or action",
            )
        _check_unit(self.unit, self.field or "position")


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """One camera, as published by worlds."""

    name: str
    width: int  # [px]
    height: int  # [px]
    encoding: str  # rgb8
    # Width and height of its view of the table [m]; (0, 0) = not planar.
    view_m: tuple[float, float] = (0.0, 0.0)
    # Direction of what is up in its picture, or farther away: angle about z from the x axis of the
    # arms' frame [rad]. Devices drive along it. None = unknown, or the camera moves.
    away_rad: float | None = None

    def __post_init__(self) -> None:
        if self.encoding != "rgb8":
            raise ConfigError(
                f"unsupported encoding {self.encoding!r}", where="encoding",
                remedy="use rgb8, the only encoding that worlds publish",
            )
        if min(self.width, self.height) < 8:
            raise ConfigError(
                "image smaller than 8 px", where="width", remedy="correct width and height"
            )


@dataclass(frozen=True, kw_only=True)
class EmbodimentFile:
    """The whole file."""

    name: str
    frame: str
    rate_hz: float
    groups: tuple[GroupFile, ...]
    proprioception: tuple[ProprioceptionEntry, ...]
    cameras: tuple[CameraSpec, ...]

    def __post_init__(self) -> None:
        file_name(self.name)
        if not self.rate_hz > 0:
            raise ConfigError(
                f"rate_hz is {self.rate_hz}", where="rate_hz",
                remedy="give control steps per second",
            )
        lines = [line for group in self.groups for line in group.entries]
        _unique([group.name for group in self.groups], "groups", "groups")
        _unique([line.name for line in lines], "groups", "entries")
        _unique([line.joint for line in lines if line.joint], "groups", "entries", "joint")
        _unique([entry.name for entry in self.proprioception], "proprioception", "proprioception")
        _unique([camera.name for camera in self.cameras], "cameras", "cameras")
        for g, group in enumerate(self.groups):
            for i, line in enumerate(group.entries):
                step = line.max_velocity / self.rate_hz
                if line.max_following_error < step * (1.0 - 1e-9):
                    raise ConfigError(
                        f"max_following_error {line.max_following_error} of {line.name} is less "
                        f"than one tick at max_velocity ({step:g})",
                        where=f"groups[{g}].entries[{i}].max_following_error",
                        remedy=f"give {step:g} or more; docs/embodiments.md says how to choose it",
                    )


class _at:  # noqa: N801 - reads as a statement
    """Adds the index of an entry to the field of a ConfigError."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConfigError):
            raise ConfigError(
                error.what, where=f"entries[{self._index}].{error.where}", remedy=error.remedy
            ) from None


def _require_unit(line: EntryLine, unit: str, index: int) -> None:
    if line.unit != unit:
        raise ConfigError(
            f"{line.name} is in {line.unit}", where=f"entries[{index}].unit",
            remedy=f"use {unit} and convert the numbers",
        )


def _check_unit(value: str, field: str) -> None:
    if value not in UNITS[field]:
        raise ConfigError(
            f"unit {value!r} is not SI", where="unit",
            remedy=f"use one of {', '.join(UNITS[field])} and convert the numbers",
        )


def _unique(names: list[str], where: str, label: str, what: str = "name") -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or (not names and what == "name"):
        raise ConfigError(
            f"{label} share a {what}: {', '.join(twice)}" if twice else f"{label} are empty",
            where=where, remedy=f"give each entry a unique {what}",
        )
