"""A gamepad drives the tips of joint arms through the teleop node and the arbiter."""

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from hiwm_interfaces.msg import Command
from sensor_msgs.msg import Joy

from hiwm_core.embodiment import load_embodiment
from hiwm_core.tips import Tips
from hiwm_nodes import qos
from hiwm_test_support.following_robot import Graph
from hiwm_test_support.nodes import NodeProcess

pytestmark = pytest.mark.nodes

PAD = """
device: joy
topic: joy
stale_after_s: 2.0
hands:
  - {arms: [left], axes: {x: {axis: 0}, y: {axis: 1}}, buttons: {3: gripper}}
  - {arms: [right], axes: {z: {axis: 2}}}
motion: {linear_m_s: 0.2, expo: 0.0}
buttons: {0: deadman, 1: next_frame, 2: next_speed}
"""


def test_sticks_move_the_tips_of_joint_arms_to_the_edge_and_the_person_is_told(tmp_path):
    robot = load_embodiment("yam_pair")
    graph, tips = Graph(robot), Tips(robot)
    node, home = graph.robot, np.array(robot.home)
    file = tmp_path / "pad.yaml"
    file.write_text(PAD)
    health = {}

    def on_health(message):
        for status in message.status:
            health[status.name] = (
                status.message, {pair.key: pair.value for pair in status.values}
            )

    node.create_subscription(DiagnosticArray, "/diagnostics", on_health, 100)
    joys = node.create_publisher(Joy, "joy", qos.SENSOR)
    axes, buttons, sent = [0.0] * 3, [0] * 4, 0.0

    def hold():
        nonlocal sent
        if time.monotonic() - sent > 0.02:
            sent = time.monotonic()
            joys.publish(Joy(axes=axes, buttons=buttons))

    def moved(arm):
        return tips.pose(arm, np.array(node.place)).position - tips.pose(arm, home).position

    options = {"device": "joy", "device_file": str(file)}
    patient = {"operator_timeout_s": 10.0}  # a starved process is silent
    with NodeProcess(
        "hiwm_control", "arbiter", domain=graph.domain, parameters=patient
    ), NodeProcess(
        "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
    ) as teleop:
        assert graph.until(lambda: bool(node.said), hold), teleop.output
        buttons[0], axes[0], axes[2] = 1, 1.0, -1.0  # right in the picture, which is -y; down
        assert graph.until(lambda: moved("left")[1] < -0.03, hold), teleop.output
        assert graph.until(lambda: moved("right")[2] < -0.03, hold), teleop.output
        assert np.abs(moved("left")[[0, 2]]).max() < 0.003
        assert np.abs(moved("right")[:2]).max() < 0.003
        buttons[3] = 1
        assert graph.until(lambda: node.place[6] < 0.5, hold), teleop.output
        axes[0], axes[1], axes[2] = 0.0, 1.0, 0.0  # away
        assert graph.until(lambda: "left at the" in node.said[-1].note, hold), teleop.output
        assert graph.until(lambda: "left at the" in health["/teleop"][0], hold)
        assert moved("left")[0] > 0.2
        buttons[1] = buttons[2] = 1
        assert graph.until(
            lambda: health["/teleop"][1].get("steering") == "base frame, 50 % speed", hold
        ), health
    graph.end()
    assert {command.source for command in node.commands} == {Command.SOURCE_HUMAN}
    targets = np.array([command.action for command in node.commands])
    assert (targets >= robot.lower).all() and (targets <= robot.upper).all()
