"""Every adapter makes its controller's message, and a missing interface package is named."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from hiwm_core.errors import ConfigError
from hiwm_core.robots.outputs import ADAPTERS, Output
from hiwm_robot.adapters import _CLASSES, make_adapter
from hiwm_robot.interface_types import field_value, interface_type, set_fields

STAMP = Time(sec=5)
JOINTS = {"left_waist": "waist", "left_shoulder": "arm_1/shoulder"}


def output(adapter: str, **changes: Any) -> Output:
    spec = ADAPTERS[adapter]
    given: dict[str, Any] = {"adapter": adapter, "silence": "hold_last"}
    given |= {"action" if spec.drives == "gripper" else "topic": "c"}
    if spec.drives in ("joints", "gripper"):
        given["joints"] = dict(list(JOINTS.items())[: 1 if spec.one_joint else 2])
    else:
        given["group"] = "tool"
    if spec.drives == "twist":
        given |= {"silence": "zero", "rate_hz": 100.0}
    given |= dict.fromkeys(spec.needs, "x")
    return Output(**{**given, **changes})


class Interbotix:
    """Both Interbotix messages."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.cmd: Any = None


class Goals:
    """Both gripper actions."""

    class Goal:
        """A goal with the fields of both."""

        def __init__(self) -> None:
            self.command = SimpleNamespace(name=[], position=[], effort=[], max_effort=0.0)


def stand_in_for(monkeypatch: pytest.MonkeyPatch, module: str, **types: Any) -> None:
    """Make a package importable that no machine of the tests has."""
    package = module.split(".")[0]
    monkeypatch.setitem(sys.modules, package, ModuleType(package))
    made = ModuleType(module)
    for name, kind in types.items():
        setattr(made, name, kind)
    monkeypatch.setitem(sys.modules, module, made)


def sent(adapter: str, values: list[float], **changes: Any) -> Any:
    one = output(adapter, **changes)
    made = make_adapter(one, interface_type(one.interface, "outputs.one.adapter"), 0.1)
    return made.message(np.array(values), STAMP)


def test_the_two_tables_name_the_same_adapters() -> None:
    assert list(_CLASSES) == list(ADAPTERS)


def test_joint_trajectory_has_drivers_names_one_point_and_no_stamp() -> None:
    message = sent("joint_trajectory", [0.1, 0.2])
    assert message.joint_names == list(JOINTS.values())
    assert (message.header.stamp.sec, len(message.points)) == (0, 1)
    assert list(message.points[0].positions) == [0.1, 0.2]
    assert message.points[0].time_from_start.nanosec == 100_000_000
    assert sent("joint_trajectory", [0.1, 0.2], rate_hz=50.0).points[0].time_from_start.nanosec == (
        20_000_000
    )


def test_float64_multi_array_has_the_values_in_order() -> None:
    assert list(sent("float64_multi_array", [0.1, 0.2]).data) == [0.1, 0.2]


def test_joint_state_has_names_values_and_a_stamp() -> None:
    message = sent("joint_state", [0.1, 0.2])
    assert message.name == list(JOINTS.values())
    assert list(message.position) == [0.1, 0.2]
    assert message.header.stamp.sec == 5


def test_interbotix_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_for(
        monkeypatch, "interbotix_xs_msgs.msg", JointGroupCommand=Interbotix,
        JointSingleCommand=Interbotix,
    )
    group = sent("joint_group_command", [0.1, 0.2], group_name="arm")
    assert (group.name, group.cmd) == ("arm", [0.1, 0.2])
    single = sent("joint_single_command", [1.2])
    assert (single.name, single.cmd) == ("waist", 1.2)


def test_gripper_goals(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_for(
        monkeypatch, "control_msgs.action", GripperCommand=Goals, ParallelGripperCommand=Goals
    )
    goal = sent("gripper_command", [0.04], max_effort=20.0)
    assert (goal.command.position, goal.command.max_effort) == (0.04, 20.0)
    both = sent("parallel_gripper_command", [0.04], max_effort=20.0)
    assert both.command.name == ["waist"]
    assert (both.command.position, both.command.effort) == ([0.04], [20.0])
    assert sent("parallel_gripper_command", [0.04]).command.effort == []


def test_pose_and_twists() -> None:
    pose = sent("pose_stamped", [1, 2, 3, 0, 0, 0.6, 0.8], frame="base")
    assert (pose.header.frame_id, pose.header.stamp.sec) == ("base", 5)
    assert (pose.pose.position.y, pose.pose.orientation.w) == (2.0, 0.8)
    twist = sent("twist", [1, 2, 3, 4, 5, 6])
    assert (twist.linear.z, twist.angular.x) == (3.0, 4.0)
    stamped = sent("twist_stamped", [1, 2, 3, 4, 5, 6], frame="base")
    assert (stamped.header.frame_id, stamped.header.stamp.sec) == ("base", 5)
    assert (stamped.twist.linear.x, stamped.twist.angular.z) == (1.0, 6.0)


def test_a_missing_package_is_refused_with_what_to_install() -> None:
    with pytest.raises(ConfigError) as error:
        interface_type("absent_msgs/msg/Thing", "twin.yaml: interlocks.stop.type")
    for word in ("absent_msgs", "interlocks.stop.type", "ros-jazzy-absent-msgs", "scripts/setup"):
        assert word in str(error.value)


def test_a_type_that_the_package_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'Bool'"):
        interface_type("std_msgs/msg/Boole", "twin.yaml")


def test_requests_are_set_by_field_and_refused_by_name() -> None:
    assert set_fields(SetBool.Request(), {"data": True}, "twin.yaml").data
    with pytest.raises(ConfigError, match="dat"):
        set_fields(SetBool.Request(), {"dat": True}, "twin.yaml")
    with pytest.raises(ConfigError, match=r"twin.yaml.*data"):
        set_fields(SetBool.Request(), {"data": 3}, "twin.yaml")
    nested = set_fields(JointState(), {"header": {"stamp": {"sec": 7}}}, "twin.yaml")
    assert field_value(nested, "header.stamp.sec") == 7
    with pytest.raises(AttributeError):
        field_value(Bool(), "state")


