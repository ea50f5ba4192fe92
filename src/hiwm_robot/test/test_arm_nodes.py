"""A bridge to a robot with two sources, two outputs and an interlock, over DDS."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from hiwm_interfaces.msg import Command, Tick
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Float64MultiArray, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from hiwm_core.embodiment import load_embodiment
from hiwm_core.ros_domains import domain_id
from hiwm_nodes import qos
from hiwm_nodes.messages import image_message
from hiwm_test_support.nodes import NodeProcess, spin_until

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(600)]

HOME = np.array(load_embodiment("planar_bimanual").home)
GUARD_S = 200.0  # hang guard; a busy machine may take a minute to start a process
RATE_HZ = 50.0
ROBOT = """
name: twin
stand_in: false
embodiment: planar_bimanual
pace: camera
stale_after_s: 5.0
joint_states:
  left: {topic: left/joint_states, joints: {x: left_x_joint, y: left_y_joint}}
  right: {topic: right/joint_states, joints: {x: right_x_joint, y: right_y_joint}}
cameras:
  top: {image: camera/image_raw}
outputs:
  left:
    adapter: float64_multi_array
    topic: left/commands
    joints: {left_y_joint: y, left_x_joint: x}
    silence: hold_last
    rate_hz: 50
    silence_after_s: 5.0
  right:
    adapter: joint_trajectory
    topic: right/trajectory
    joints: {right_x_joint: x, right_y_joint: y}
    silence: stop_sending
enable:
  on_activate:
    - {service: enable, type: std_srvs/srv/SetBool, request: {data: true}, expect: {success: true}}
  on_deactivate:
    - {service: enable, type: std_srvs/srv/SetBool, request: {data: false}}
workspace:
  urdf_topic: robot_description
  links: [left_hand, right_hand]
  box: {lower: [-1.0, -1.0, -1.0], upper: [1.0, 1.0, 1.0]}
interlocks:
  running: {topic: running, type: std_msgs/msg/Bool, field: data, fine: [true], latched: true}
"""


DESCRIPTION = '<robot name="twin"><link name="table"/>' + "".join(
    f'<link name="{arm}_{link}"/><joint name="{arm}_{axis}_joint" type="prismatic">'
    f'<parent link="{parent}"/><child link="{arm}_{link}"/><axis xyz="{way}"/>'
    '<limit lower="-1" upper="1" effort="1" velocity="1"/></joint>'
    for arm in ("left", "right")
    for axis, link, parent, way in (
        ("x", "carriage", "table", "1 0 0"), ("y", "hand", f"{arm}_carriage", "0 1 0"),
    )
) + "</robot>"


class Arms:
    """The drivers, and everything above the bridge. Its arms go where they are sent at once."""

    def __init__(self, context: rclpy.Context, domain: int) -> None:
        self.domain = domain
        self.node = rclpy.create_node("arms", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.position = HOME.copy()
        self.left: list[tuple[float, np.ndarray]] = []
        self.right: list[JointTrajectory] = []
        self.ticks: list[Tick] = []
        self.joints: list[JointState] = []
        # The left controller, with its joints in the wrong order at first.
        self.controller = rclpy.create_node("left", context=context)
        self.controller.declare_parameter("joints", ["x", "y"])
        self.executor.add_node(self.controller)
        self.goal: np.ndarray | None = None
        self.homed = False
        self.enabled = False
        self.node.create_service(SetBool, "enable", self._on_enable)
        make = self.node.create_publisher
        self.states = [make(JointState, f"{arm}/joint_states", qos.TICK) for arm in SIDES]
        self.images = make(Image, "camera/image_raw", qos.IMAGE_PUB)
        self.running = make(Bool, "running", qos.LATCHED)
        self.descriptions = make(String, "robot_description", qos.LATCHED)
        self.commands = make(Command, "command", qos.COMMAND)
        self.listen(Float64MultiArray, "left/commands", self._on_left)
        self.listen(JointTrajectory, "right/trajectory", self._on_right)
        self.listen(JointState, "joint_states", self.joints.append)
        self.listen(Tick, "tick", self._on_tick)
        self.node.create_timer(0.05, self._observe)

    def listen(self, kind: Any, topic: str, callback: Callable[[Any], Any]) -> None:
        self.node.create_subscription(kind, topic, callback, qos.TICK)

    def _observe(self) -> None:
        stamp = self.node.get_clock().now().to_msg()
        for publisher, part in zip(self.states, (slice(0, 2), slice(2, 4)), strict=True):
            x, y = self.position[part].tolist()
            for name, value in (("x", x), ("y", y)):  # one joint a message
                message = JointState(name=[name], position=[value])
                message.header.stamp = stamp
                publisher.publish(message)
        self.images.publish(image_message(np.zeros((96, 96, 3), np.uint8), stamp, "camera"))

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self.homed
        response.message = "" if self.homed else "not homed"
        self.enabled = request.data and self.homed
        return response

    def _on_left(self, message: Float64MultiArray) -> None:
        self.left.append((time.monotonic(), np.array(message.data)))
        self.position[:2] = message.data[::-1]

    def _on_right(self, message: JointTrajectory) -> None:
        self.right.append(message)
        self.position[2:] = message.points[0].positions

    def _on_tick(self, tick: Tick) -> None:
        self.ticks.append(tick)
        if self.goal is not None:
            self.commands.publish(Command(
                epoch=tick.epoch, step=tick.step, source=Command.SOURCE_POLICY, device="test",
                action=self.goal.tolist(),
            ))

    def until(self, predicate: Callable[[], bool]) -> None:
        assert spin_until(self.executor, predicate, GUARD_S), "the hang guard expired"

    def more(self, messages: list[Any], count: int) -> None:
        goal = len(messages) + count
        self.until(lambda: len(messages) >= goal)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        self.node.destroy_client(client)
        return future.result()

    def rearm(self) -> Trigger.Response:
        return self.call(Trigger, "world/rearm", Trigger.Request())


SIDES = ("left", "right")


@pytest.fixture
def arms() -> Iterator[Arms]:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    context = rclpy.Context()
    domain = domain_id()
    rclpy.init(context=context, domain_id=domain)
    yield Arms(context, domain)
    context.try_shutdown()


def test_two_outputs_follow_and_an_interlock_stops_them_until_they_are_rearmed(
    arms: Arms, tmp_path: Path
) -> None:
    (tmp_path / "twin.yaml").write_text(ROBOT)
    parameters = {"robot": str(tmp_path / "twin.yaml"), "connect_timeout_s": 1.0}
    with NodeProcess(
        "hiwm_robot", "robot_bridge", domain=arms.domain, parameters=parameters
    ) as bridge:
        # The workspace is not known before the URDF has been heard.
        arms.until(lambda: "no URDF on /robot_description within 1 s" in bridge.output)
        arms.descriptions.publish(String(data=DESCRIPTION.replace("right_hand", "right_paw")))
        lacking = "the URDF on robot_description has no link 'right_hand'"
        arms.until(lambda: lacking in bridge.output)
        assert not arms.ticks
        arms.descriptions.publish(String(data=DESCRIPTION))
        # Nothing moves before the interlock has been heard.
        arms.goal = HOME + 0.02
        arms.until(lambda: "not activated: interlock running: nothing on running" in bridge.output)
        assert not arms.ticks
        arms.running.publish(Bool(data=True))
        arms.until(lambda: "outputs.left sends y, x, but the joints of /left" in bridge.output)
        arms.controller.set_parameters([Parameter("joints", value=["y", "x"])])
        arms.until(lambda: "answered success: False, not True (not homed)" in bridge.output)
        assert not arms.ticks
        arms.homed = True
        arms.until(lambda: bool(arms.left) and np.abs(arms.position - arms.goal).max() < 1e-6)
        assert arms.enabled
        assert arms.joints[-1].name == list(load_embodiment("planar_bimanual").joint_names)
        assert arms.right[-1].joint_names == ["x", "y"]
        streams = dict(zip(arms.ticks[-1].streams, arms.ticks[-1].stream_stamps, strict=True))
        assert list(streams) == [
            "cameras/top/image_raw", "joint_states", "joint_states/left", "joint_states/right"
        ]
        assert streams["joint_states/left"] in [joints.header.stamp for joints in arms.joints]
        # The array output has samples between targets; the trajectory has one point per target.
        assert len(arms.left) > 2 * len(arms.right)
        steps = np.abs(np.diff([values for _, values in arms.left], axis=0)).max(axis=1)
        assert steps.max() < 0.012  # less than one target's step

        arms.running.publish(Bool(data=False))
        arms.until(lambda: "stopped: interlock running: running data is False" in bridge.output)
        epoch, ticks, trajectories = arms.ticks[-1].epoch, len(arms.ticks), len(arms.right)
        arms.more(arms.left, 20)  # holds its last target, and says so at its rate
        assert np.ptp([values for _, values in arms.left[-10:]], axis=0).max() == 0.0
        assert len(arms.right) <= trajectories + 1 and len(arms.ticks) <= ticks + 1
        refused = arms.rearm()
        assert not refused.success and "False, not True" in refused.message
        arms.running.publish(Bool(data=True))
        arms.more(arms.left, 20)
        assert arms.ticks[-1].epoch == epoch  # a value that is fine again releases nothing
        assert arms.rearm().success
        arms.until(lambda: arms.ticks[-1].epoch == epoch + 1)

        # Another node that commands the robot is noticed.
        other = arms.node.create_publisher(Float64MultiArray, "left/commands", qos.TICK)
        arms.until(lambda: "/arms also publishes on" in bridge.output)
        arms.more(arms.left, 20)
        assert "stop it" in arms.rearm().message
        arms.node.destroy_publisher(other)
        arms.until(lambda: arms.rearm().success)
        arms.until(lambda: arms.ticks[-1].epoch == epoch + 2)

        off = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
        assert arms.call(ChangeState, "robot_bridge/change_state", off).success
        assert not arms.enabled
