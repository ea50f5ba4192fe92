"""What a robot needs before it may move, and what stops it.

None of this is an emergency stop: that is a circuit of the robot. Tested by
``test_robot_config.py``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from hiwm_core.config_files import ros_name
from hiwm_core.config_schema import number
from hiwm_core.errors import ConfigError

_TYPE_NAME = re.compile(r"^[a-z][a-z0-9_]*/(msg|srv)/[A-Z][A-Za-z0-9]*$")
_FIELD_NAME = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")


@dataclass(frozen=True, kw_only=True)
class ServiceCall:
    """One call of a driver's service."""

    service: str
    type: str  # as in ROS: std_srvs/srv/SetBool
    request: Mapping[str, Any] = field(default_factory=dict)  # fields of the request
    expect: Mapping[str, Any] = field(default_factory=dict)  # fields that the response must have
    timeout_s: float = number(5.0, lower=0.1, upper=60.0)

    def __post_init__(self) -> None:
        ros_name(self.service, "service")
        _check_type(self.type, "srv")


@dataclass(frozen=True, kw_only=True)
class Enabling:
    """Calls in the order of the file."""

    on_activate: tuple[ServiceCall, ...] = ()  # a failure refuses the activation
    on_deactivate: tuple[ServiceCall, ...] = ()  # a failure is reported


@dataclass(frozen=True, kw_only=True)
class Controllers:
    """Controllers that must be active before the bridge may be."""

    manager: str  # name of the controller manager: /controller_manager
    required: tuple[str, ...]

    def __post_init__(self) -> None:
        ros_name(self.manager, "manager")
        if not self.required:
            raise ConfigError(
                "no controller", where="required", remedy="list them, or leave out controllers"
            )


@dataclass(frozen=True, kw_only=True)
class FineRange:
    """Numbers that let the robot move, both ends included."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if self.lower > self.upper:
            raise ConfigError(
                f"lower {self.lower:g} is above upper {self.upper:g}", where="upper",
                remedy="swap them",
            )


@dataclass(frozen=True, kw_only=True)
class Interlock:
    """A topic that must report a fine value; any other, or none, stops the robot.

    A person re-arms the bridge with `world/rearm`, which starts a new epoch.
    """

    topic: str
    type: str  # as in ROS: std_msgs/msg/Bool
    field: str  # of the message; a dot enters a message in it: mode.mode
    fine: tuple[bool | int | float | str, ...] | FineRange
    latched: bool = False  # the driver publishes it once, transient local
    stale_after_s: float | None = number(None, lower=1e-2, upper=60.0)  # absent: never stale

    def __post_init__(self) -> None:
        ros_name(self.topic, "topic")
        _check_type(self.type, "msg")
        if not _FIELD_NAME.match(self.field):
            raise ConfigError(
                f"{self.field!r} is not a field", where="field",
                remedy="give a field of the message, such as data",
            )
        if not self.fine:
            raise ConfigError(
                "no value is fine", where="fine", remedy="list values, or give lower and upper"
            )
        if self.latched and self.stale_after_s is not None:
            raise ConfigError(
                "a latched topic is sent once and gets old", where="stale_after_s",
                remedy="leave it out, or set latched: false",
            )

    def may_be_fine(self, value: object) -> bool:
        """Return whether any value of the same type as this one is fine."""
        if isinstance(self.fine, FineRange):
            return _is_number(value)
        return any(
            type(one) is type(value) or (_is_number(one) and _is_number(value))
            for one in self.fine
        )

    def is_fine(self, value: object) -> bool:
        """Return whether a field's value lets the robot move; NaN never does."""
        if isinstance(self.fine, FineRange):
            return _is_number(value) and self.fine.lower <= value <= self.fine.upper
        # True == 1 in Python: a bool and a number are different values here.
        return any(
            value == one and isinstance(value, bool) == isinstance(one, bool) for one in self.fine
        )


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number; True is not one here, although True == 1 in Python."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class Jump:
    """Largest first step after activation, reset or re-arming; a larger one is refused.

    Absent: only the limits apply, and the arm moves to a far target slowly.
    """

    rad: float | None = number(None, lower=1e-3, upper=7.0)  # joints and rotations [rad]
    m: float | None = number(None, lower=1e-4, upper=5.0)  # positions [m]
    ratio: float | None = number(None, lower=1e-3, upper=1.0)  # grippers


@dataclass(frozen=True, kw_only=True)
class Activation:
    """How a robot starts to move."""

    jump: Jump = field(default_factory=Jump)
    # Commands blend in over this time, from the measured state [s]
    ramp_s: float = number(0.0, lower=0.0, upper=10.0)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box in the workspace's frame."""

    lower: tuple[float, float, float]  # x, y, z [m]
    upper: tuple[float, float, float]  # x, y, z [m]

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ConfigError(
                f"lower {list(self.lower)} is not below upper {list(self.upper)}", where="upper",
                remedy="give each corner as x, y, z in m, the smaller one first",
            )


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where links and end effectors may be, checked before a target is sent (`workspace_check`)."""

    # Path, relative to the robot file's folder. Without urdf and urdf_topic, all arms must be
    # commanded by end effector: only the commanded position is checked, against box and table.
    urdf: str = ""
    urdf_topic: str = ""  # instead: latched std_msgs/String with the URDF, robot_description
    links: tuple[str, ...] = ()  # kept inside the box and above the table
    # Frame of box and table. A link of the URDF, empty for its root; without a URDF the frame in
    # which end effectors are commanded
    frame: str = ""
    box: Box | None = None
    table_z_m: float | None = number(None, lower=-10.0, upper=10.0)  # height of the table's top
    pairs: tuple[tuple[str, str], ...] = ()  # links that must stay clear of each other
    clearance_m: float = number(0.0, lower=0.0, upper=1.0)  # smallest distance of pairs and table

    def __post_init__(self) -> None:
        if self.box is None and self.table_z_m is None and not self.pairs:
            raise ConfigError(
                "nothing to check", where="box", remedy="give box, table_z_m or pairs"
            )
        if self.urdf_topic:
            ros_name(self.urdf_topic, "urdf_topic")
        if self.urdf and self.urdf_topic:
            raise ConfigError(
                "both urdf and urdf_topic", where="urdf_topic", remedy="leave one of them out"
            )
        if (self.links or self.pairs) and not self.has_urdf:
            raise ConfigError(
                "links without a URDF", where="urdf",
                remedy="give the path of the robot's URDF, or urdf_topic",
            )
        bounded = self.box is not None or self.table_z_m is not None
        if self.has_urdf and not self.links and bounded:
            raise ConfigError(
                "box and table without links", where="links", remedy="list the links they bound"
            )
        if self.links and self.box is None and self.table_z_m is None:
            raise ConfigError(
                "links without a box or table", where="links",
                remedy="give box or table_z_m, or leave out links",
            )
        for i, (first, second) in enumerate(self.pairs):
            if first == second:
                raise ConfigError(
                    f"link {first!r} is paired with itself", where=f"pairs[{i}]",
                    remedy="name two links",
                )

    @property
    def has_urdf(self) -> bool:
        """Whether links are checked by forward kinematics."""
        return bool(self.urdf or self.urdf_topic)

    @property
    def named_links(self) -> tuple[str, ...]:
        """Every link that the URDF must have, each once."""
        names = [*([self.frame] if self.frame else []), *self.links]
        names += [link for pair in self.pairs for link in pair]
        return tuple(dict.fromkeys(names))


def _check_type(name: str, kind: str) -> None:
    match = _TYPE_NAME.match(name)
    if not match or match.group(1) != kind:
        example = "std_srvs/srv/SetBool" if kind == "srv" else "std_msgs/msg/Bool"
        raise ConfigError(
            f"{name!r} is not a type", where="type", remedy=f"write it like {example}"
        )
