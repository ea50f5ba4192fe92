"""Robot files: what a robot's drivers publish, and how the robot is commanded.

The robot bridge reads a file of config/robots, and the console its views. Its sections are in
`hiwm_core.robots`. Driver names, units and transforms end here: above the bridge there is only the
embodiment. Tested by ``test_robot_config.py``; docs/robots.md explains every key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from hiwm_core.config_files import config_text, file_name, find_config, parse_mapping, ros_name
from hiwm_core.config_schema import number, settings
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.robots.cameras import CameraTopic, ViewTopic
from hiwm_core.robots.checks import check_robot
from hiwm_core.robots.outputs import Output
from hiwm_core.robots.safety import Activation, Controllers, Enabling, Interlock, Workspace
from hiwm_core.robots.sources import LONGEST_AGE_S, JointSource, PoseSource, check_unique


@dataclass(frozen=True, kw_only=True)
class ResetService:
    """A driver that places the scene itself, hiwm_interfaces/srv/PlaceScene."""

    service: str

    def __post_init__(self) -> None:
        ros_name(self.service, "service")


@dataclass(frozen=True, kw_only=True)
class RobotConfig:
    """One robot with its drivers. Names are relative to the bridge's namespace."""

    name: str
    stand_in: bool  # True: a simulation in place of a robot
    embodiment: str
    # camera: a tick per image of the embodiment's first camera, never above its rate; timer
    pace: Literal["camera", "timer"]
    stale_after_s: float = number(lower=1e-3, upper=LONGEST_AGE_S)  # maximum age by arrival [s]
    joint_states: Mapping[str, JointSource]
    cameras: Mapping[str, CameraTopic]  # by the name of the embodiment's camera
    outputs: Mapping[str, Output]
    poses: Mapping[str, PoseSource] = field(default_factory=dict)  # by name in the embodiment
    views: Mapping[str, ViewTopic] = field(default_factory=dict)  # by name; for the person only
    lockstep: bool = False  # True: the driver waits for the command of each observation
    # same: stamps follow the bridge's clock, which is checked on activation; own: they follow
    # another one, such as a camera's, and only their order counts
    clock: Literal["same", "own"] = "same"
    clock_tolerance_s: float = number(1.0, lower=1e-3, upper=60.0)  # for clock: same
    enable: Enabling = field(default_factory=Enabling)
    controllers: tuple[Controllers, ...] = ()  # one entry per controller manager
    interlocks: Mapping[str, Interlock] = field(default_factory=dict)
    activation: Activation = field(default_factory=Activation)
    workspace: Workspace | None = None
    reset: ResetService | None = None  # absent: a person resets the scene
    ground_truth: str = ""  # stand-ins: topic of hiwm_interfaces/msg/GroundTruth

    def __post_init__(self) -> None:
        file_name(self.name)
        for label in ("joint_states", "cameras", "outputs"):
            if not getattr(self, label):
                raise ConfigError(f"no entry in {label}", where=label, remedy="name at least one")
        if self.ground_truth:
            ros_name(self.ground_truth, "ground_truth")
        if self.lockstep and self.pace != "camera":
            raise ConfigError(
                "lockstep with pace timer", where="lockstep",
                remedy="use pace camera; a lock-step driver publishes after each command",
            )
        _check_once(
            {name: [entry.joint for entry in source.entries]
             for name, source in self.joint_states.items()}, "joint_states", "sources",
        )
        _check_once(
            {name: [entry.joint for entry in output.entries] or [f"group {output.group}"]
             for name, output in self.outputs.items()}, "outputs", "outputs",
        )
        # One topic may carry several arrays of the driver: only an address of two outputs is an
        # error, since each would overwrite the other's targets.
        check_unique(
            [output.address for output in self.outputs.values()
             if output.adapter not in ("joint_group_command", "joint_single_command")],
            "outputs", "address",
        )
        self._check_types_of_topics()

    def _check_types_of_topics(self) -> None:
        """Raise ConfigError if a topic would be read as two types: it carries one."""
        read = [
            *((f"joint_states.{name}", "joint states", one.topic)
              for name, one in self.joint_states.items()),
            *((f"cameras.{name}.image", f"{'compressed ' * one.compressed}images", one.image)
              for name, one in self.cameras.items()),
            *((f"cameras.{name}.info", "camera infos", one.info)
              for name, one in self.cameras.items()),
            *((f"views.{name}.image", f"{'compressed ' * one.compressed}images", one.image)
              for name, one in self.views.items()),
            *((f"poses.{name}", "poses", one.topic) for name, one in self.poses.items()),
            *((f"interlocks.{name}", one.type, one.topic)
              for name, one in self.interlocks.items()),
        ]
        kinds: dict[str, str] = {}
        for where, kind, topic in read:
            if topic and kinds.setdefault(topic, kind) != kind:
                raise ConfigError(
                    f"topic {topic} is read as {kinds[topic]} and as {kind}", where=where,
                    remedy="correct one of the two topics",
                )

    @property
    def reset_service(self) -> str:
        """Service that places the scene; empty if a person resets it."""
        return self.reset.service if self.reset else ""


def load_robot(name: str | Path) -> RobotConfig:
    """Return the robot with a name in config/robots, or at a path.

    Raises:
        ConfigError: missing file, unknown key or wrong value, or a robot that does not fit its
            embodiment; names the file and field.
    """
    path = find_config("robots", name)
    robot = parse_robot(config_text(path), str(path))
    if robot.workspace is not None and robot.workspace.urdf:
        urdf = path.parent / Path(robot.workspace.urdf).expanduser()
        robot = replace(robot, workspace=replace(robot.workspace, urdf=str(urdf)))
    check_robot(robot, load_embodiment(robot.embodiment), str(path))
    return robot


def parse_robot(text: str, where: str) -> RobotConfig:
    """Return the robot that a YAML text describes, not yet checked against its embodiment.

    Args:
        text: the YAML.
        where: file name, for error messages.

    Raises:
        ConfigError: see `load_robot`.
    """
    return settings(RobotConfig, parse_mapping(text, where), where)


def _check_once(joints: Mapping[str, list[str]], where: str, what: str) -> None:
    """Raise ConfigError if a joint belongs to two entries."""
    owners: dict[str, str] = {}
    for name, names in joints.items():
        for joint in names:
            other = owners.setdefault(joint, name)
            if other != name:
                raise ConfigError(
                    f"joint {joint!r} is in two {what}, {other} and {name}"
                    if not joint.startswith("group ")
                    else f"{joint} is in two {what}, {other} and {name}",
                    where=f"{where}.{name}", remedy="leave it in one of them",
                )
