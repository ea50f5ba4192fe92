"""How a robot is commanded: one output per controller, and the table of adapters.

Tested by ``test_robot_config.py``. `hiwm_robot.adapters` has one entry per row of `ADAPTERS`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hiwm_core.config_files import nearest, ros_name
from hiwm_core.config_schema import number
from hiwm_core.errors import ConfigError
from hiwm_core.robots.sources import GripperMap, JointEntry, JointNames, check_unique

# A gripper's action server handles a goal in tens of milliseconds, and each goal preempts the last.
GOALS_PER_S = 10.0

Silence = Literal["hold_last", "hold_measured", "stop_sending", "zero"]
Drives = Literal["joints", "gripper", "pose", "twist"]


@dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """One way to command a controller."""

    drives: Drives  # joints and gripper need `joints`; pose and twist need `group`
    interface: str  # ROS type of the topic or action
    options: tuple[str, ...] = ()  # fields of Output that only some adapters have
    needs: tuple[str, ...] = ()  # those of them without a default
    one_joint: bool = False


ADAPTERS = {
    "joint_trajectory": AdapterSpec(
        drives="joints", interface="trajectory_msgs/msg/JointTrajectory",
        options=("time_from_start_s",),
    ),
    "float64_multi_array": AdapterSpec(
        drives="joints", interface="std_msgs/msg/Float64MultiArray"
    ),
    "joint_state": AdapterSpec(drives="joints", interface="sensor_msgs/msg/JointState"),
    "joint_group_command": AdapterSpec(
        drives="joints", interface="interbotix_xs_msgs/msg/JointGroupCommand",
        options=("group_name",), needs=("group_name",),
    ),
    "joint_single_command": AdapterSpec(
        drives="joints", interface="interbotix_xs_msgs/msg/JointSingleCommand", one_joint=True
    ),
    "gripper_command": AdapterSpec(
        drives="gripper", interface="control_msgs/action/GripperCommand",
        options=("max_effort",), one_joint=True,
    ),
    "parallel_gripper_command": AdapterSpec(
        drives="gripper", interface="control_msgs/action/ParallelGripperCommand",
        options=("max_effort",), one_joint=True,
    ),
    "pose_stamped": AdapterSpec(
        drives="pose", interface="geometry_msgs/msg/PoseStamped", options=("frame", "orientation"),
        needs=("frame",),
    ),
    "twist": AdapterSpec(
        drives="twist", interface="geometry_msgs/msg/Twist",
        options=("gain_per_s", "full_scale", "tool_axes"),
    ),
    "twist_stamped": AdapterSpec(
        drives="twist", interface="geometry_msgs/msg/TwistStamped",
        options=("frame", "gain_per_s", "full_scale", "tool_axes"), needs=("frame",),
    ),
}


@dataclass(frozen=True, kw_only=True)
class FullScale:
    """Speeds that a unitless twist's 1 stands for, as in MoveIt Servo's `scale`."""

    linear_m_per_s: float = number(lower=1e-3, upper=10.0)
    rotational_rad_per_s: float = number(lower=1e-3, upper=20.0)


@dataclass(frozen=True, kw_only=True)
class Output:
    """One controller, and what it is sent."""

    adapter: str  # a key of ADAPTERS
    silence: Silence  # what a missing command does; twists must have zero
    topic: str = ""
    action: str = ""  # instead of topic, for the gripper actions
    # embodiment's joint: driver's name, or {joint, shut, open}; a list if the names are equal.
    # Arrays are sent in this order.
    joints: JointNames = ()
    group: str = ""  # pose and twist: the embodiment's action group
    # Messages per second between targets; absent: one message per target [Hz]
    rate_hz: float | None = number(None, lower=1.0, upper=200.0)
    interpolate: Literal["linear", "none"] | None = None  # linear if there is a rate
    # Largest change of a joint from one message to the next, embodiment units; needs a rate
    max_step: float | None = number(None, lower=1e-5, upper=10.0)
    # Without a command or hold for this long, the output applies `silence` by itself [s]
    silence_after_s: float = number(0.5, lower=0.02, upper=5.0)
    time_from_start_s: float | None = number(None, lower=1e-3, upper=10.0)
    group_name: str = ""  # joint_group_command: the driver's name of the joints
    max_effort: float = number(0.0, lower=0.0, upper=1000.0)  # 0: the controller's own
    frame: str = ""  # frame_id of messages
    # pose_stamped without a 6D rotation: the tool's quaternion x, y, z, w at yaw 0
    orientation: tuple[float, float, float, float] | None = None
    gain_per_s: float = number(2.0, lower=0.05, upper=50.0)  # speed per unit of error
    full_scale: FullScale | None = None  # absent: twists are in m/s and rad/s
    tool_axes: bool = False  # twists along the tool's axes, not those of the group's frame

    def __post_init__(self) -> None:
        spec = self._spec()
        for key in (
            "time_from_start_s", "group_name", "max_effort", "frame", "orientation", "full_scale",
            "tool_axes",
        ):
            if getattr(self, key) and key not in spec.options:
                raise ConfigError(
                    f"{key} does not apply to {self.adapter}", where=key, remedy="leave it out"
                )
        for key in spec.needs:
            if not getattr(self, key):
                raise ConfigError(
                    f"{self.adapter} without {key}", where=key,
                    remedy={"frame": "name the frame that the controller expects",
                            "group_name": "give the driver's group, such as arm"}[key],
                )
        if self.orientation is not None and abs(math.hypot(*self.orientation) - 1) > 1e-3:
            raise ConfigError(
                f"orientation {list(self.orientation)} is not a unit quaternion",
                where="orientation", remedy="give x, y, z, w with a length of 1",
            )
        self._check_address(spec)
        self._check_contents(spec)
        self._check_timing(spec)

    @property
    def drives(self) -> Drives:
        """What the adapter moves."""
        return ADAPTERS[self.adapter].drives

    @property
    def interface(self) -> str:
        """ROS type of the topic or action."""
        return ADAPTERS[self.adapter].interface

    @property
    def address(self) -> str:
        """Name of the topic or action."""
        return self.topic or self.action

    @property
    def interpolated(self) -> bool:
        """Whether the output moves through intermediate values between targets."""
        return self.rate_hz is not None and self.interpolate != "none"

    @property
    def entries(self) -> tuple[JointEntry, ...]:
        """Joints in the order of the message."""
        if not isinstance(self.joints, Mapping):
            return tuple(JointEntry(joint=name, driver=name) for name in self.joints)
        return tuple(
            JointEntry(joint=joint, driver=value.joint, gripper=value)
            if isinstance(value, GripperMap) else JointEntry(joint=joint, driver=value)
            for joint, value in self.joints.items()
        )

    def point_seconds(self, control_period_s: float) -> float:
        """Return joint_trajectory's time from start: given, or the time between messages [s]."""
        if self.time_from_start_s is not None:
            return self.time_from_start_s
        return control_period_s if self.rate_hz is None else 1.0 / self.rate_hz

    def _spec(self) -> AdapterSpec:
        if self.adapter not in ADAPTERS:
            raise ConfigError(
                f"unknown adapter {self.adapter!r}", where="adapter",
                remedy=f"use one of {', '.join(ADAPTERS)}" + nearest(self.adapter, ADAPTERS),
            )
        return ADAPTERS[self.adapter]

    def _check_address(self, spec: AdapterSpec) -> None:
        used, unused = ("action", "topic") if spec.drives == "gripper" else ("topic", "action")
        if getattr(self, unused) or not getattr(self, used):
            raise ConfigError(
                f"{self.adapter} is sent to {'an action' if used == 'action' else 'a topic'}",
                where=used, remedy=f"give {used}, and leave out {unused}",
            )
        ros_name(self.address, used)

    def _check_contents(self, spec: AdapterSpec) -> None:
        of_joints = spec.drives in ("joints", "gripper")
        used, unused = ("joints", "group") if of_joints else ("group", "joints")
        if getattr(self, unused) or not getattr(self, used):
            raise ConfigError(
                f"{self.adapter} moves {'joints' if of_joints else 'an action group'}",
                where=used, remedy=f"give {used}, and leave out {unused}",
            )
        if spec.one_joint and len(self.joints) != 1:
            raise ConfigError(
                f"{self.adapter} has {len(self.joints)} joints", where="joints",
                remedy="give one joint, and one output for each of the others",
            )
        if of_joints:
            check_unique([entry.joint for entry in self.entries], "joints", "joint")
            check_unique([entry.driver for entry in self.entries], "joints", "driver's joint")

    def _check_timing(self, spec: AdapterSpec) -> None:
        if (self.silence == "zero") != (spec.drives == "twist"):
            raise ConfigError(
                f"{self.adapter} with silence {self.silence}", where="silence",
                remedy="use zero: the last twist would move the arm for ever"
                if spec.drives == "twist"
                else "use hold_last, hold_measured or stop_sending; zero is for twists",
            )
        if self.rate_hz is None and spec.drives == "twist":
            raise ConfigError(
                f"{self.adapter} without rate_hz", where="rate_hz",
                remedy="give 50 to 100: a speed must be corrected between targets",
            )
        if self.rate_hz is None and self.interpolate == "linear":
            raise ConfigError(
                "interpolate without rate_hz", where="rate_hz", remedy="give 50 to 100"
            )
        if self.max_step is not None and (self.rate_hz is None or spec.drives != "joints"):
            raise ConfigError(
                f"{self.adapter} with max_step"
                + ("" if spec.drives != "joints" else ", without rate_hz"), where="max_step",
                remedy="leave it out" if spec.drives != "joints"
                else "give rate_hz: the steps between two targets must be small",
            )
        if spec.drives == "gripper":
            if self.rate_hz is not None and self.rate_hz > GOALS_PER_S:
                raise ConfigError(
                    f"{self.rate_hz:g} goals per second", where="rate_hz",
                    remedy=f"give at most {GOALS_PER_S:g}: every goal preempts the last",
                )
            if self.interpolate == "linear":
                raise ConfigError(
                    "a gripper action is sent on change only", where="interpolate",
                    remedy="leave it out",
                )
        if self.rate_hz is not None and (self.time_from_start_s or 0.0) > 1.0 / self.rate_hz:
            raise ConfigError(
                f"time_from_start_s {self.time_from_start_s:g} is longer than one period of "
                f"{self.rate_hz:g} Hz", where="time_from_start_s",
                remedy="leave it out: a point that is replaced before it ends moves erratically",
            )
