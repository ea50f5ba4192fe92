"""What a robot's drivers publish: joint states and poses, with the drivers' own names.

Driver names appear only in robot files. A source translates them to the embodiment's joints, and a
gripper's position in the driver's unit to a ratio. Tested by ``test_robot_config.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hiwm_core.config_files import ros_name
from hiwm_core.config_schema import number
from hiwm_core.errors import ConfigError

# driver: the stamp of the message's header; arrival: the bridge's clock, for drivers without stamps
Stamps = Literal["driver", "arrival"]
# The upper bound catches milliseconds given as seconds.
LONGEST_AGE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class GripperMap:
    """A joint with a linear map between a gripper's ratio and its driver's unit."""

    joint: str  # as a source: the embodiment's joint; as an output: the driver's joint
    shut: float  # the driver's value of ratio 0: rad, m, or whatever the driver uses
    open: float  # the driver's value of ratio 1

    def __post_init__(self) -> None:
        if self.shut == self.open:
            raise ConfigError(
                f"shut and open are both {self.shut:g}", where="open",
                remedy="measure the driver's value with the gripper shut, and again fully open",
            )

    @property
    def span(self) -> float:
        """The driver's value of an open gripper minus that of a shut one."""
        return self.open - self.shut

    def ratio(self, value: float) -> float:
        """Return the ratio, 0 shut to 1 open, of a driver's value; not clipped."""
        return (value - self.shut) / self.span

    def value(self, ratio: float) -> float:
        """Return the driver's value of a ratio."""
        return self.shut + ratio * self.span


# A list of joints whose names are equal on both sides, or a translation.
JointNames = tuple[str, ...] | Mapping[str, str | GripperMap]


@dataclass(frozen=True, kw_only=True)
class JointEntry:
    """One joint of a source or output."""

    joint: str  # the embodiment's joint
    driver: str  # the driver's name of it; drivers may use slashes
    gripper: GripperMap | None = None  # None: the same value on both sides

    def embodied(self, value: float) -> float:
        """Return a driver's position in the embodiment's unit."""
        return self.gripper.ratio(value) if self.gripper else value

    def of_driver(self, value: float) -> float:
        """Return the embodiment's position in the driver's unit."""
        return self.gripper.value(value) if self.gripper else value


@dataclass(frozen=True, kw_only=True)
class JointSource:
    """One topic of joint states, sensor_msgs/JointState. Messages may hold only some joints."""

    topic: str
    # driver's name: embodiment's joint, or {joint, shut, open}; a list if the names are equal
    joints: JointNames
    stamps: Stamps = "driver"
    # Maximum age by arrival; the robot's stale_after_s if absent [s]
    stale_after_s: float | None = number(None, lower=1e-3, upper=LONGEST_AGE_S)

    def __post_init__(self) -> None:
        ros_name(self.topic, "topic")
        if not self.joints:
            raise ConfigError(
                "no joints", where="joints", remedy="list the joints that the topic carries"
            )
        check_unique([entry.joint for entry in self.entries], "joints", "joint")
        check_unique([entry.driver for entry in self.entries], "joints", "driver's joint")

    @property
    def entries(self) -> tuple[JointEntry, ...]:
        """Joints in the order of the file."""
        if not isinstance(self.joints, Mapping):
            return tuple(JointEntry(joint=name, driver=name) for name in self.joints)
        return tuple(
            JointEntry(joint=value.joint, driver=driver, gripper=value)
            if isinstance(value, GripperMap) else JointEntry(joint=value, driver=driver)
            for driver, value in self.joints.items()
        )


@dataclass(frozen=True, kw_only=True)
class PoseSource:
    """One topic of poses, geometry_msgs/PoseStamped."""

    topic: str
    frame: str = ""  # required frame_id; empty accepts any
    stamps: Stamps = "driver"
    stale_after_s: float | None = number(None, lower=1e-3, upper=LONGEST_AGE_S)  # as above

    def __post_init__(self) -> None:
        ros_name(self.topic, "topic")


def check_unique(names: list[str], where: str, what: str) -> None:
    """Raise ConfigError if a name occurs twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"{what} {', '.join(twice)} is named twice", where=where, remedy="name it once"
        )
