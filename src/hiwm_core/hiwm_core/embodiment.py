"""Embodiments: the meaning and units of a robot's actions, proprioception and cameras.

The only definition of the mapping between topics and arrays. Live nodes, bag conversion,
checkpoints and limits all read it from the same text, whose hash is stored in every bag and
checkpoint.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiwm_core.config_files import find_config, parse_mapping, text_hash
from hiwm_core.config_schema import settings
from hiwm_core.errors import ConfigError

# Units of an entry. Other units are refused rather than converted: topics carry SI units.
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

    def __post_init__(self) -> None:
        _check_unit(self.unit)
        if not self.lower < self.upper:
            raise ConfigError(
                f"lower {self.lower} and upper {self.upper} are not a range", where="upper",
                remedy="give two finite numbers, the lower one first",
            )
        for key in ("max_velocity", "max_acceleration"):
            if not getattr(self, key) > 0:
                raise ConfigError(
                    f"{key} is {getattr(self, key)}", where=key,
                    remedy="give a positive, finite number",
                )


@dataclass(frozen=True, kw_only=True)
class ProprioceptionEntry:
    """One entry of the proprioception array, read from joint_states by joint name."""

    name: str
    joint: str
    field: str  # one of FIELDS
    unit: str

    def __post_init__(self) -> None:
        _check_unit(self.unit)
        if self.field not in FIELDS:
            raise ConfigError(
                f"field {self.field!r} is not a field of JointState", where="field",
                remedy=f"use one of {', '.join(FIELDS)}",
            )


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """One camera, as published by worlds."""

    name: str
    width: int  # [px]
    height: int  # [px]
    encoding: str  # rgb8
    # Width and height of its view of the table [m]; (0, 0) = not planar.
    view_m: tuple[float, float] = (0.0, 0.0)

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
class Embodiment:
    """The robot's interface to policies and world models."""

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
    return parse_embodiment(path.read_text(), str(path))


def parse_embodiment(text: str, where: str) -> Embodiment:
    """Return the embodiment that a YAML text describes.

    Args:
        text: the YAML; its sha256 is the embodiment's hash.
        where: file name or bag, for error messages.

    Raises:
        ConfigError: see `load_embodiment`.
    """
    file = settings(_EmbodimentFile, parse_mapping(text, where), where)
    return Embodiment(
        name=file.name, frame=file.frame, rate_hz=file.rate_hz, arms=file.arms,
        actions=file.actions, proprioception=file.proprioception, home=file.home,
        cameras=file.cameras, text=text, hash=text_hash(text),
    )


@dataclass(frozen=True, kw_only=True)
class _EmbodimentFile:
    name: str
    frame: str
    rate_hz: float
    arms: tuple[str, ...]
    actions: tuple[ActionEntry, ...]
    proprioception: tuple[ProprioceptionEntry, ...]
    home: tuple[float, ...]
    cameras: tuple[CameraSpec, ...]

    def __post_init__(self) -> None:
        for label in ("actions", "proprioception", "cameras"):
            names = [entry.name for entry in getattr(self, label)]
            if not names or len(set(names)) != len(names):
                raise ConfigError(
                    f"{label} are empty or share a name: {names}", where=label,
                    remedy="give each entry a unique name",
                )
        if not self.rate_hz > 0:
            raise ConfigError(
                f"rate_hz is {self.rate_hz}", where="rate_hz",
                remedy="give control steps per second",
            )
        for i, entry in enumerate(self.actions):
            if entry.arm not in self.arms:
                raise ConfigError(
                    f"arm {entry.arm!r} is not listed", where=f"actions[{i}].arm",
                    remedy=f"use one of {', '.join(self.arms)}",
                )
        if len(self.home) != len(self.actions):
            raise ConfigError(
                f"{len(self.home)} numbers for {len(self.actions)} actions", where="home",
                remedy="give one number for each action",
            )
        for entry, value in zip(self.actions, self.home, strict=True):
            if not entry.lower <= value <= entry.upper:
                raise ConfigError(
                    f"home {value} of {entry.name} is outside its limits", where="home",
                    remedy=f"keep it in [{entry.lower}, {entry.upper}]",
                )


def _check_unit(value: str) -> None:
    if value not in UNITS:
        raise ConfigError(
            f"unit {value!r} is not SI", where="unit",
            remedy=f"use one of {', '.join(UNITS)} and convert the numbers",
        )
