"""Robots: where a robot's drivers are found, and how it is commanded.

The robot bridge reads one of config/robots; nothing above the bridge does. An adapter or a pace
that this version cannot serve is refused on load, not when the first command is due.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiwm_core.config_files import find_config, nearest, parse_mapping, ros_name, strict_fields
from hiwm_core.errors import ConfigError

# How commands reach controllers, and whether this version can send them.
ADAPTERS = {
    "joint_trajectory": True,
    "float64_multi_array": True,
    "twist_stamped": False,
    "pose_stamped": False,
}
PACES = ("camera", "timer")


@dataclass(frozen=True, kw_only=True)
class CameraTopic:
    """Where the driver of one camera publishes."""

    name: str  # of the embodiment's camera
    image: str  # topic of sensor_msgs/Image, or CompressedImage when compressed
    compressed: bool = False


@dataclass(frozen=True, kw_only=True)
class CommandTopic:
    """Where and how targets are sent."""

    adapter: str  # a key of ADAPTERS
    topic: str
    time_from_start_s: float = 0.1  # joint_trajectory: time to reach a target [s]


@dataclass(frozen=True, kw_only=True)
class RobotConfig:
    """One robot behind its drivers' topics. Topic names are relative to the bridge's namespace."""

    name: str
    stand_in: bool  # True: a simulation standing in for a robot
    embodiment: str
    pace: str  # one of PACES: a tick for each image of the first camera, or by a timer
    lockstep: bool  # True: the driver waits for the command of each observation
    stale_after_s: float  # age at which an image or a joint state holds the robot [s]
    joint_states: str
    cameras: tuple[CameraTopic, ...]
    command: CommandTopic
    reset_service: str = ""  # hiwm_interfaces/srv/PlaceScene; empty: reset by a person
    ground_truth: str = ""  # hiwm_interfaces/msg/GroundTruth; empty on robots
    text: str = ""


def load_robot(name: str | Path) -> RobotConfig:
    """Return the robot of a name in config/robots, or of a path.

    Raises:
        ConfigError: missing file, unknown key, wrong value, or an adapter not yet supported.
    """
    path = find_config("robots", name)
    return parse_robot(path.read_text(), str(path))


def parse_robot(text: str, where: str) -> RobotConfig:
    """Return the robot a YAML text describes.

    Args:
        text: the YAML.
        where: file name, for error messages.

    Raises:
        ConfigError: as `load_robot`.
    """
    data = strict_fields(
        parse_mapping(text, where), where,
        {"name": str, "stand_in": bool, "embodiment": str, "pace": str, "stale_after_s": float,
         "joint_states": str, "cameras": dict, "command": dict},
        {"lockstep": bool, "reset": dict, "ground_truth": str},
    )
    if data["pace"] not in PACES:
        raise ConfigError(
            f"pace {data['pace']!r}", where=f"{where}: pace",
            remedy=f"use one of {', '.join(PACES)}" + nearest(data["pace"], PACES),
        )
    if not data["cameras"]:
        raise ConfigError("no camera", where=f"{where}: cameras", remedy="name at least one")
    lockstep = bool(data.get("lockstep", False))
    if lockstep and data["pace"] != "camera":
        raise ConfigError(
            "lockstep with pace timer", where=where,
            remedy="use pace camera, since a lock-step driver publishes when it was commanded",
        )
    reset = ""
    if "reset" in data:
        service = strict_fields(data["reset"], f"{where}: reset", {"service": str})["service"]
        reset = ros_name(service, f"{where}: reset.service")
    truth = data.get("ground_truth", "")
    return RobotConfig(
        name=data["name"], stand_in=data["stand_in"], embodiment=data["embodiment"],
        pace=data["pace"], lockstep=lockstep,
        stale_after_s=_seconds(data["stale_after_s"], f"{where}: stale_after_s", 60.0),
        joint_states=ros_name(data["joint_states"], f"{where}: joint_states"),
        cameras=tuple(
            _camera(str(name), entry, f"{where}: cameras.{name}")
            for name, entry in data["cameras"].items()
        ),
        command=_command(data["command"], f"{where}: command"),
        reset_service=reset,
        ground_truth=ros_name(truth, f"{where}: ground_truth") if truth else "",
        text=text,
    )


def _camera(name: str, entry: Any, where: str) -> CameraTopic:
    data = strict_fields(entry, where, {"image": str}, {"compressed": bool})
    return CameraTopic(
        name=name, image=ros_name(data["image"], f"{where}.image"),
        compressed=data.get("compressed", False),
    )


def _command(entry: Any, where: str) -> CommandTopic:
    data = strict_fields(
        entry, where, {"adapter": str, "topic": str}, {"time_from_start_s": float}
    )
    adapter = data["adapter"]
    if adapter not in ADAPTERS:
        raise ConfigError(
            f"adapter {adapter!r}", where=f"{where}.adapter",
            remedy=f"use one of {', '.join(ADAPTERS)}" + nearest(adapter, ADAPTERS),
        )
    if not ADAPTERS[adapter]:
        served = ", ".join(name for name, is_served in ADAPTERS.items() if is_served)
        raise ConfigError(
            f"adapter {adapter!r} is not yet supported", where=f"{where}.adapter",
            remedy=f"use a controller that takes one of {served}",
        )
    if "time_from_start_s" in data and adapter != "joint_trajectory":
        raise ConfigError(
            f"time_from_start_s has no meaning for {adapter}", where=where,
            remedy="leave it out, or use the adapter joint_trajectory",
        )
    seconds = _seconds(data.get("time_from_start_s", 0.1), f"{where}.time_from_start_s", 10.0)
    return CommandTopic(
        adapter=adapter, topic=ros_name(data["topic"], f"{where}.topic"),
        time_from_start_s=seconds,
    )


def _seconds(value: float, where: str, upper: float) -> float:
    # Milliseconds written where seconds are meant land above the upper bound.
    if not 0 < value <= upper:
        raise ConfigError(
            f"{value} s", where=where, remedy=f"give seconds, above 0 and at most {upper:g}"
        )
    return float(value)
