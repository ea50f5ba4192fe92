"""Embodiments: what a robot's actions, proprioception and cameras mean, in which units.

The one translation between topics and arrays. Live nodes, bag conversion, checkpoints and the
limits all read it from the same text, whose hash travels with every bag and checkpoint.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiwm_core.config_files import (
    find_config,
    number_list,
    parse_mapping,
    strict_fields,
    text_hash,
)
from hiwm_core.errors import ConfigError

# Units an entry may have. Anything else is refused rather than converted: SI on the wire.
UNITS = ("m", "rad", "1")
FIELDS = ("position", "velocity", "effort")


@dataclass(frozen=True, kw_only=True)
class ActionEntry:
    """One entry of the action array: an absolute target of one joint."""

    name: str
    arm: str
    joint: str
    unit: str  # one of UNITS; "1" = a ratio, such as a gripper's opening
    lower: float  # [unit]
    upper: float  # [unit]
    max_velocity: float  # [unit/s]; entries of one arm in m are limited as one vector
    max_acceleration: float  # [unit/s^2]


@dataclass(frozen=True, kw_only=True)
class ProprioceptionEntry:
    """One entry of the proprioception array, read from joint_states by joint name."""

    name: str
    joint: str
    field: str  # one of FIELDS
    unit: str


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """One camera as worlds publish it."""

    name: str
    width: int  # [px]
    height: int  # [px]
    encoding: str  # rgb8
    view_m: tuple[float, float]  # width and height of the table it sees [m]; (0, 0) = not planar


@dataclass(frozen=True, kw_only=True)
class Embodiment:
    """A robot as policies and world models see it."""

    name: str
    frame: str
    rate_hz: float
    arms: tuple[str, ...]
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
    def joint_names(self) -> tuple[str, ...]:
        """Joints in the order of the action array."""
        return tuple(entry.joint for entry in self.actions)

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
        """Velocity limits, [A], unit/s."""
        return np.array([entry.max_velocity for entry in self.actions])

    @property
    def max_acceleration(self) -> NDArray[np.float64]:
        """Acceleration limits, [A], unit/s^2."""
        return np.array([entry.max_acceleration for entry in self.actions])

    def camera(self, name: str) -> CameraSpec:
        """Return one camera by name; raises ConfigError where there is none."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ConfigError(
            f"no camera {name!r}", where=f"embodiment {self.name}",
            remedy=f"use one of {', '.join(c.name for c in self.cameras)}",
        )


def load_embodiment(name: str | Path) -> Embodiment:
    """Return the embodiment of a name in config/embodiments, or of a path.

    Raises:
        ConfigError: missing file, unknown key, wrong unit or value; names file and field.
    """
    path = find_config("embodiments", name)
    return parse_embodiment(path.read_text(), str(path))


def parse_embodiment(text: str, where: str) -> Embodiment:
    """Return the embodiment a YAML text describes.

    Args:
        text: the YAML, whose sha256 becomes the embodiment's hash.
        where: file name or bag, for error messages.

    Raises:
        ConfigError: as `load_embodiment`.
    """
    data = strict_fields(
        parse_mapping(text, where), where,
        {"name": str, "frame": str, "rate_hz": float, "arms": list, "actions": list,
         "proprioception": list, "home": list, "cameras": list},
    )
    arms = tuple(str(arm) for arm in data["arms"])
    actions = tuple(
        _action(entry, f"{where}: actions[{i}]", arms) for i, entry in enumerate(data["actions"])
    )
    proprioception = tuple(
        _proprioception(entry, f"{where}: proprioception[{i}]")
        for i, entry in enumerate(data["proprioception"])
    )
    cameras = tuple(
        _camera(entry, f"{where}: cameras[{i}]") for i, entry in enumerate(data["cameras"])
    )
    for label, names in (
        ("actions", [entry.name for entry in actions]),
        ("proprioception", [entry.name for entry in proprioception]),
        ("cameras", [entry.name for entry in cameras]),
    ):
        if not names or len(set(names)) != len(names):
            raise ConfigError(
                f"{label} are empty or share a name: {names}", where=f"{where}: {label}",
                remedy="give each entry a name of its own",
            )
    if not 0 < data["rate_hz"] < math.inf:
        raise ConfigError(
            f"rate_hz is {data['rate_hz']}", where=where, remedy="give control steps per second"
        )
    home = number_list(data["home"], len(actions), f"{where}: home")
    for entry, value in zip(actions, home, strict=True):
        if not entry.lower <= value <= entry.upper:
            raise ConfigError(
                f"home {value} of {entry.name} is outside its limits",
                where=f"{where}: home", remedy=f"keep it in [{entry.lower}, {entry.upper}]",
            )
    return Embodiment(
        name=data["name"], frame=data["frame"], rate_hz=float(data["rate_hz"]), arms=arms,
        actions=actions, proprioception=proprioception, home=home, cameras=cameras, text=text,
        hash=text_hash(text),
    )


def _unit(value: str, where: str) -> str:
    if value not in UNITS:
        raise ConfigError(
            f"unit {value!r} is not SI", where=where,
            remedy=f"use one of {', '.join(UNITS)} and convert the numbers",
        )
    return value


def _action(entry: object, where: str, arms: tuple[str, ...]) -> ActionEntry:
    data = strict_fields(
        entry, where,
        {"name": str, "arm": str, "joint": str, "unit": str, "lower": float, "upper": float,
         "max_velocity": float, "max_acceleration": float},
    )
    if data["arm"] not in arms:
        raise ConfigError(
            f"arm {data['arm']!r} is not listed", where=where,
            remedy=f"use one of {', '.join(arms)}",
        )
    if not -math.inf < data["lower"] < data["upper"] < math.inf:
        raise ConfigError(
            f"lower {data['lower']} and upper {data['upper']} are no range", where=where,
            remedy="give two finite numbers, the lower one first",
        )
    for key in ("max_velocity", "max_acceleration"):
        if not 0 < data[key] < math.inf:
            raise ConfigError(
                f"{key} is {data[key]}", where=where, remedy="give a positive, finite number"
            )
    numbers = {
        key: float(data[key]) for key in ("lower", "upper", "max_velocity", "max_acceleration")
    }
    return ActionEntry(
        name=data["name"], arm=data["arm"], joint=data["joint"],
        unit=_unit(data["unit"], where), **numbers,
    )


def _proprioception(entry: object, where: str) -> ProprioceptionEntry:
    data = strict_fields(entry, where, {"name": str, "joint": str, "field": str, "unit": str})
    if data["field"] not in FIELDS:
        raise ConfigError(
            f"field {data['field']!r} is not in JointState", where=where,
            remedy=f"use one of {', '.join(FIELDS)}",
        )
    return ProprioceptionEntry(
        name=data["name"], joint=data["joint"], field=data["field"],
        unit=_unit(data["unit"], where),
    )


def _camera(entry: object, where: str) -> CameraSpec:
    data = strict_fields(
        entry, where, {"name": str, "width": int, "height": int, "encoding": str},
        {"view_m": list},
    )
    if data["encoding"] != "rgb8":
        raise ConfigError(
            f"encoding {data['encoding']!r}", where=where, remedy="worlds publish rgb8 alone"
        )
    if min(data["width"], data["height"]) < 8:
        raise ConfigError("image smaller than 8 px", where=where, remedy="mend width and height")
    view = number_list(data.get("view_m", [0.0, 0.0]), 2, f"{where}: view_m")
    return CameraSpec(
        name=data["name"], width=data["width"], height=data["height"],
        encoding=data["encoding"], view_m=(view[0], view[1]),
    )
