"""Robot configs: the topics of a robot's drivers, and how it is commanded.

Only the robot bridge reads a file of config/robots. An adapter or pace that this version does not
support is refused on load, not at the first command.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hiwm_core.config_files import find_config, nearest, parse_mapping, ros_name
from hiwm_core.config_schema import settings
from hiwm_core.errors import ConfigError

# Command types of controllers, and whether this version supports them.
ADAPTERS = {
    "joint_trajectory": True,
    "float64_multi_array": True,
    "twist_stamped": False,
    "pose_stamped": False,
}


@dataclass(frozen=True, kw_only=True)
class CameraTopic:
    """The topic of one camera's driver."""

    name: str  # name of the embodiment's camera
    image: str  # topic of sensor_msgs/Image, or CompressedImage when compressed
    compressed: bool = False


@dataclass(frozen=True, kw_only=True)
class CommandTopic:
    """The topic and form of commands."""

    adapter: str  # a key of ADAPTERS
    topic: str
    time_from_start_s: float  # joint_trajectory: time to reach a target [s]


@dataclass(frozen=True, kw_only=True)
class RobotConfig:
    """One robot with its drivers' topics. Topic names are relative to the bridge's namespace."""

    name: str
    stand_in: bool  # True: a simulation in place of a robot
    embodiment: str
    pace: str  # camera: one tick per image of the first camera; timer: by a timer
    lockstep: bool  # True: the driver waits for the command of each observation
    stale_after_s: float  # maximum age of images and joint states; then the robot is held [s]
    joint_states: str
    cameras: tuple[CameraTopic, ...]
    command: CommandTopic
    reset_service: str = ""  # hiwm_interfaces/srv/PlaceScene; empty: reset by a person
    ground_truth: str = ""  # hiwm_interfaces/msg/GroundTruth; empty on robots
    text: str = ""


def load_robot(name: str | Path) -> RobotConfig:
    """Return the robot with a name in config/robots, or at a path.

    Raises:
        ConfigError: missing file, unknown key, wrong value, or an unsupported adapter.
    """
    path = find_config("robots", name)
    return parse_robot(path.read_text(), str(path))


@dataclass(frozen=True, kw_only=True)
class _CameraEntry:
    image: str
    compressed: bool = False

    def __post_init__(self) -> None:
        ros_name(self.image, "image")


@dataclass(frozen=True, kw_only=True)
class _CommandEntry:
    adapter: str
    topic: str
    time_from_start_s: float | None = None

    def __post_init__(self) -> None:
        ros_name(self.topic, "topic")
        if self.adapter not in ADAPTERS:
            raise ConfigError(
                f"unknown adapter {self.adapter!r}", where="adapter",
                remedy=f"use one of {', '.join(ADAPTERS)}" + nearest(self.adapter, ADAPTERS),
            )
        if not ADAPTERS[self.adapter]:
            supported = ", ".join(name for name, is_supported in ADAPTERS.items() if is_supported)
            raise ConfigError(
                f"adapter {self.adapter!r} is not yet supported", where="adapter",
                remedy=f"use a controller that accepts one of {supported}",
            )
        if self.time_from_start_s is None:
            return
        if self.adapter != "joint_trajectory":
            raise ConfigError(
                f"time_from_start_s does not apply to {self.adapter}", where="time_from_start_s",
                remedy="leave it out, or use the adapter joint_trajectory",
            )
        _check_seconds(self.time_from_start_s, "time_from_start_s", 10.0)


@dataclass(frozen=True, kw_only=True)
class _ResetEntry:
    service: str

    def __post_init__(self) -> None:
        ros_name(self.service, "service")


@dataclass(frozen=True, kw_only=True)
class _RobotFile:
    name: str
    stand_in: bool
    embodiment: str
    pace: Literal["camera", "timer"]
    stale_after_s: float
    joint_states: str
    cameras: Mapping[str, _CameraEntry]
    command: _CommandEntry
    lockstep: bool = False
    reset: _ResetEntry | None = None
    ground_truth: str | None = None

    def __post_init__(self) -> None:
        ros_name(self.joint_states, "joint_states")
        if self.ground_truth is not None:
            ros_name(self.ground_truth, "ground_truth")
        _check_seconds(self.stale_after_s, "stale_after_s", 60.0)
        if not self.cameras:
            raise ConfigError("no camera", where="cameras", remedy="name at least one")
        if self.lockstep and self.pace != "camera":
            raise ConfigError(
                "lockstep with pace timer", where="lockstep",
                remedy="use pace camera; a lock-step driver publishes after each command",
            )


def parse_robot(text: str, where: str) -> RobotConfig:
    """Return the robot that a YAML text describes.

    Args:
        text: the YAML.
        where: file name, for error messages.

    Raises:
        ConfigError: see `load_robot`.
    """
    file = settings(_RobotFile, parse_mapping(text, where), where)
    seconds = file.command.time_from_start_s
    return RobotConfig(
        name=file.name, stand_in=file.stand_in, embodiment=file.embodiment, pace=file.pace,
        lockstep=file.lockstep, stale_after_s=file.stale_after_s, joint_states=file.joint_states,
        cameras=tuple(
            CameraTopic(name=name, image=entry.image, compressed=entry.compressed)
            for name, entry in file.cameras.items()
        ),
        command=CommandTopic(
            adapter=file.command.adapter, topic=file.command.topic,
            time_from_start_s=0.1 if seconds is None else seconds,
        ),
        reset_service=file.reset.service if file.reset else "",
        ground_truth=file.ground_truth or "", text=text,
    )


def _check_seconds(value: float, where: str, upper: float) -> None:
    # The upper bound catches milliseconds given as seconds.
    if not 0 < value <= upper:
        raise ConfigError(
            f"{value} s", where=where, remedy=f"give seconds, above 0 and at most {upper:g}"
        )
