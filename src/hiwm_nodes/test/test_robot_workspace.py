"""The workspace of a robot, with a URDF that is published on a topic."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from rclpy.node import Node
from std_msgs.msg import String

from hiwm_core.errors import ConfigError, DeviceError
from hiwm_core.robot_config import RobotConfig, parse_robot
from hiwm_core.ros_domains import domain_id
from hiwm_nodes import qos
from hiwm_nodes.robot_workspace import robot_workspace
from hiwm_test_support.arms import two_arms, two_arms_urdf
from hiwm_test_support.robots import SMALL_ROBOT

ARMS = two_arms()


def robot(**workspace: object) -> RobotConfig:
    data = yaml.safe_load(SMALL_ROBOT)
    if workspace:
        data["workspace"] = workspace
    return parse_robot(yaml.safe_dump(data), "small.yaml")


ON_TOPIC = robot(urdf_topic="robot_description", links=["left_hand"], table_z_m=0.0)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id())
    node = rclpy.create_node("above", namespace="arms", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def describe(node: Node, text: str) -> None:
    node.create_publisher(String, "robot_description", qos.LATCHED).publish(String(data=text))


def test_the_urdf_of_a_topic_bounds_the_links(node: Node) -> None:
    describe(node, two_arms_urdf())
    check = robot_workspace(node, ON_TOPIC, ARMS, 30.0)
    assert check is not None
    action = np.zeros(ARMS.action_dim)
    action[ARMS.action_joints.index("left_shoulder")] = 1.0
    assert "left hand would be" in check.problem(action, np.zeros(ARMS.action_dim))


def test_a_urdf_that_never_arrives_is_named(node: Node) -> None:
    with pytest.raises(DeviceError) as error:
        robot_workspace(node, ON_TOPIC, ARMS, 0.1)
    for word in ("/arms/robot_description", "0.1 s", "robot small: workspace.urdf_topic",
                 "robot_state_publisher"):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (two_arms_urdf().replace("left_hand", "left_paw"),
         ["the URDF on robot_description has no link 'left_hand'", "left_paw"]),
        ("robot:\n  name: arms", ["the URDF on robot_description", "not a URDF"]),
    ],
)
def test_a_urdf_that_does_not_fit_is_refused(node: Node, text: str, words: list[str]) -> None:
    describe(node, text)
    with pytest.raises(ConfigError) as error:
        robot_workspace(node, ON_TOPIC, ARMS, 30.0)
    for word in words:
        assert word in str(error.value)


def test_a_robot_without_workspace_waits_for_nothing(node: Node, tmp_path: Path) -> None:
    assert robot_workspace(node, robot(), ARMS, 30.0) is None
