"""Embodiments: the meaning and units of a robot's actions, proprioception and cameras.

The only definition of the mapping between topics and arrays. Live nodes, bag conversion,
checkpoints and limits all read it from the same text. Its hash (`embodiment_hash`) is stored in
every bag and checkpoint. ``embodiment_file`` reads the YAML; docs/embodiments.md describes it.
"""

import builtins
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.config_files import config_text, find_config, parse_mapping
from hiwm_core.config_schema import settings
from hiwm_core.embodiment_file import (
    ROTATION_6D,
    CameraSpec,
    EmbodimentFile,
    EntryLine,
    GroupFile,
    Kind,
    Kinematics,
    Measured,
    ProprioceptionEntry,
    Rotation,
)
from hiwm_core.embodiment_upgrade import is_earlier
from hiwm_core.errors import ConfigError
from hiwm_core.formats import MIGRATE

__all__ = [
    "ActionEntry", "ActionGroup", "CameraSpec", "Embodiment", "Kinematics", "Measured",
    "ProprioceptionEntry", "load_embodiment", "parse_embodiment",
]


@dataclass(frozen=True, kw_only=True)
class ActionEntry:
    """One entry of the action array: an absolute target.

    The six entries of a 6D rotation share limits in radians of the rotation angle; their ``unit``
    is "1", and ``lower`` and ``upper`` are -1 and 1.
    """

    name: str
    arm: str
    unit: str  # m, rad or 1; a gripper's 1 is a ratio, 0 shut, 1 open
    lower: float  # [unit]
    upper: float  # [unit]
    max_velocity: float  # [unit/s]; positions in m of one group are limited as one vector
    max_acceleration: float  # [unit/s^2]
    max_following_error: float  # [unit], how far a target may lead the measured position
    joint: str = ""  # "" for entries of an end effector


@dataclass(frozen=True, kw_only=True)
class ActionGroup:
    """Entries of the action array that belong together.

    An ``ee_position`` group has x, y and z in m, then nothing, a yaw in rad, or the six entries of
    a rotation: the first two columns of the rotation matrix, column by column (Zhou et al. 2019).
    """

    name: str
    arm: str
    kind: Kind
    measured: Measured
    start: int  # index of the first entry in the action array
    size: int  # number of entries
    rotation: Rotation = "none"
    frame: str = ""  # frame of the position and rotation of an end effector
    tip: str = ""  # the frame that is moved
    joints: tuple[str, ...] = ()  # joint_position and gripper: the joint of each entry
    kinematics: Kinematics | None = None  # joint_position: of the tip that the joints move

    @property
    def slice(self) -> builtins.slice:
        """The group's entries in the action array."""
        return builtins.slice(self.start, self.start + self.size)

    @property
    def rotation_slice(self) -> builtins.slice:
        """The rotation's entries in the action array; empty without a rotation."""
        first = self.start + (3 if self.rotation != "none" else self.size)
        return builtins.slice(first, self.start + self.size)


@dataclass(frozen=True, kw_only=True)
class Embodiment:
    """The robot's interface to policies and world models."""

    name: str
    frame: str
    rate_hz: float
    groups: tuple[ActionGroup, ...]
    actions: tuple[ActionEntry, ...]
    proprioception: tuple[ProprioceptionEntry, ...]
    home: tuple[float, ...]
    cameras: tuple[CameraSpec, ...]
    text: str
    hash: str

    @property
    def action_dim(self) -> int:
        """Length of an action array."""
        return len(self.actions)

    @property
    def proprio_dim(self) -> int:
        """Length of a proprioception array."""
        return len(self.proprioception)

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms in the order of their first group."""
        return tuple(dict.fromkeys(group.arm for group in self.groups))

    @property
    def action_joints(self) -> tuple[str, ...]:
        """Joint of each action entry; "" for entries of an end effector."""
        return tuple(entry.joint for entry in self.actions)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Every joint of joint_states: of actions, of kinematics, then only of proprioception."""
        names = [name for name in self.action_joints if name]
        names += [name for group in self.groups for name in group.measured.joints]
        names += [entry.joint for entry in self.proprioception if entry.joint]
        return tuple(dict.fromkeys(names))

    @property
    def pose_names(self) -> tuple[str, ...]:
        """Pose streams that measure end effectors."""
        names = (group.measured.pose for group in self.groups)
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def lower(self) -> NDArray[np.float64]:
        """Lower limits, [A], in each entry's unit."""
        return np.array([entry.lower for entry in self.actions])

    @property
    def upper(self) -> NDArray[np.float64]:
        """Upper limits, [A], in each entry's unit."""
        return np.array([entry.upper for entry in self.actions])

    @property
    def max_velocity(self) -> NDArray[np.float64]:
        """Velocity limits, [A], unit/s; rad/s for 6D rotations."""
        return np.array([entry.max_velocity for entry in self.actions])

    @property
    def max_acceleration(self) -> NDArray[np.float64]:
        """Acceleration limits, [A], unit/s^2; rad/s^2 for 6D rotations."""
        return np.array([entry.max_acceleration for entry in self.actions])

    @property
    def max_following_error(self) -> NDArray[np.float64]:
        """How far targets may lead the measured position, [A], unit; rad for 6D rotations."""
        return np.array([entry.max_following_error for entry in self.actions])

    def group(self, name: str) -> ActionGroup:
        """Return one group by name; raises ConfigError if there is none."""
        for group in self.groups:
            if group.name == name:
                return group
        raise ConfigError(
            f"no group {name!r}", where=f"embodiment {self.name}",
            remedy=f"use one of {', '.join(g.name for g in self.groups)}",
        )

    def camera(self, name: str) -> CameraSpec:
        """Return one camera by name; raises ConfigError if there is none."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ConfigError(
            f"no camera {name!r}", where=f"embodiment {self.name}",
            remedy=f"use one of {', '.join(c.name for c in self.cameras)}",
        )


def load_embodiment(name: str | Path) -> Embodiment:
    """Return the embodiment with a name in config/embodiments, or at a path.

    Raises:
        ConfigError: missing file, unknown key, wrong unit or value; names file and field.
    """
    path = find_config("embodiments", name)
    return parse_embodiment(config_text(path), str(path))


def parse_embodiment(text: str, where: str) -> Embodiment:
    """Return the embodiment that a YAML text describes.

    Args:
        text: the YAML.
        where: file name or bag, for error messages.

    Raises:
        ConfigError: see `load_embodiment`.
    """
    if is_earlier(text):
        raise ConfigError("written for an earlier version of hiwm", where=where, remedy=MIGRATE)
    file = settings(EmbodimentFile, parse_mapping(text, where), where)
    groups: list[ActionGroup] = []
    actions: list[ActionEntry] = []
    home: list[float] = []
    for given in file.groups:
        entries, at = _flat_entries(given)
        assert given.measured is not None  # checked on load
        groups.append(ActionGroup(
            name=given.name, arm=given.arm, kind=given.kind, measured=given.measured,
            start=len(actions), size=len(entries), rotation=given.rotation,
            frame=(given.frame or file.frame) if given.kind == "ee_position" else "",
            tip=given.tip, joints=tuple(entry.joint for entry in entries if entry.joint),
            kinematics=given.kinematics,
        ))
        actions += entries
        home += at
    units = {entry.name: entry.unit for entry in actions}
    joint_units = {entry.joint: entry.unit for entry in actions if entry.joint}
    for i, entry in enumerate(file.proprioception):
        if entry.action and units.get(entry.action) != entry.unit:
            raise ConfigError(
                f"no action entry {entry.action!r} in {entry.unit}",
                where=f"{where}: proprioception[{i}].action",
                remedy=f"use one of {', '.join(units)}, in its unit",
            )
        commanded = joint_units.get(entry.joint)
        if entry.field == "position" and commanded not in (None, entry.unit):
            raise ConfigError(
                f"joint {entry.joint} is in {entry.unit} here, and in {commanded} as an action",
                where=f"{where}: proprioception[{i}].unit", remedy="give both in the same unit",
            )
    return Embodiment(
        name=file.name, frame=file.frame, rate_hz=file.rate_hz, groups=tuple(groups),
        actions=tuple(actions), proprioception=file.proprioception, home=tuple(home),
        cameras=file.cameras, text=text, hash=_meaning_hash(file, groups, actions),
    )


def _flat_entries(group: GroupFile) -> tuple[list[ActionEntry], list[float]]:
    """Return a group's entries of the action array, and their home."""
    entries: list[ActionEntry] = []
    home: list[float] = []
    for line in group.entries:
        if line is group.rotation_line and group.rotation == "6d":
            entries += [
                _entry(group.arm, line, f"{line.name}_{part}", "1", (-1.0, 1.0))
                for part in ROTATION_6D
            ]
            home += line.home_rotation
        else:
            entries.append(_entry(group.arm, line, line.name, line.unit, line.limits))
            home.append(line.home_value)
    return entries, home


def _entry(
    arm: str, line: EntryLine, name: str, unit: str, limits: tuple[float, float]
) -> ActionEntry:
    return ActionEntry(
        name=name, arm=arm, unit=unit, lower=limits[0], upper=limits[1],
        max_velocity=line.max_velocity, max_acceleration=line.max_acceleration,
        max_following_error=line.max_following_error, joint=line.joint,
    )


def _meaning_hash(
    file: EmbodimentFile, groups: list[ActionGroup], actions: list[ActionEntry]
) -> str:
    """Return the sha256 of the values that give recorded numbers their meaning.

    These are order, kind, unit, joint, frames and source of every number, the cameras and the rate.
    Names of entries, groups, arms and of the embodiment, limits, home, and what only devices use
    are left out: they do not change what a recorded number says.
    """
    order: list[dict[str, Any]] = []
    for group in groups:
        if group.kind == "ee_position":
            order.append({
                "kind": group.kind, "rotation": group.rotation, "frame": group.frame,
                "tip": group.tip, "measured": asdict(group.measured),
            })
        else:
            order += [
                {"kind": group.kind, "joint": entry.joint, "unit": entry.unit}
                for entry in actions[group.slice]
            ]
    index = {entry.name: i for i, entry in enumerate(actions)}
    meaning = {
        "frame": file.frame, "rate_hz": file.rate_hz, "actions": order,
        "proprioception": [
            {"action": index[entry.action]} if entry.action
            else {"joint": entry.joint, "field": entry.field, "unit": entry.unit}
            for entry in file.proprioception
        ],
        "cameras": [
            {key: value for key, value in asdict(camera).items() if key != "away_rad"}
            for camera in file.cameras
        ],
    }
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
