"""The stand-in's gripper actions on ROS."""

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import rclpy
from action_msgs.msg import GoalStatusArray
from control_msgs.action import GripperCommand
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from hiwm_core.robot_config import load_robot
from hiwm_core.ros_domains import domain_id
from hiwm_robot.standin_controllers import RESULT_S, GripperInput
from hiwm_test_support.nodes import spin_until

pytestmark = pytest.mark.nodes


@pytest.fixture
def ros_node() -> Iterator[Node]:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id())
    node = rclpy.create_node("gripper", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def test_ended_goals_leave_the_list_that_goes_with_every_change(ros_node: Node) -> None:
    """Lock-step sends a goal with every tick: lists of all of them would fill the machine."""
    output = load_robot("yam_pair").outputs["left_gripper"]
    (entry,) = output.entries
    robot: Any = SimpleNamespace(
        joint_names=[entry.joint], goal=lambda name, goal: "",
        scene=SimpleNamespace(joint_positions=[0.5]),
    )
    gripper = GripperInput(
        ros_node, "left_gripper", output, robot, lambda: None, lambda name, problem: None
    )
    lists: list[int] = []
    ros_node.create_subscription(
        GoalStatusArray, f"{output.action}/_action/status",
        lambda message: lists.append(len(message.status_list)),
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    client = ActionClient(ros_node, GripperCommand, output.action)
    executor = SingleThreadedExecutor(context=ros_node.context)
    executor.add_node(ros_node)

    def send() -> None:
        goal = GripperCommand.Goal()
        goal.command.position = entry.of_driver(0.5)
        answer = client.send_goal_async(goal)
        assert spin_until(executor, answer.done, 10.0)
        result = answer.result().get_result_async()
        gripper.check()  # it is there already
        assert spin_until(executor, result.done, 10.0)
        assert result.result().result.reached_goal

    assert spin_until(executor, client.server_is_ready, 10.0)
    for _ in range(5):
        send()
    assert spin_until(executor, lambda: max(lists, default=0) >= 5, 10.0)

    def forgotten() -> bool:
        lists.clear()
        send()
        return spin_until(executor, lambda: bool(lists), 10.0) and max(lists) <= 2

    spin_until(executor, lambda: False, 2.0 * RESULT_S)
    assert spin_until(executor, forgotten, 10.0)
    executor.shutdown()
