"""Leader, teleop node and arbiter as processes: servos' bytes in, commands to a robot out."""

import array
import contextlib
import os
import pty
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from hiwm_interfaces.msg import Command, ControlState, OperatorCommand, Tick, WorldInfo
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from hiwm_core.config_files import default_task
from hiwm_core.control import Mode
from hiwm_core.embodiment import load_embodiment
from hiwm_core.frames import observation_streams
from hiwm_core.ros_domains import domain_id
from hiwm_core.tasks import load_task
from hiwm_nodes import qos
from hiwm_nodes.messages import image_message, joint_state_message, stamp_tick, time_message
from hiwm_test_support.nodes import NodeProcess, spin_until
from hiwm_test_support.pty_servos import READ, SYNC_READ

sys.path.insert(0, str(Path(__file__).parent))
from leader_rig import EMBODIMENT, leader  # noqa: E402

pytestmark = pytest.mark.nodes
flaky = pytest.mark.flaky(
    reruns=2, reason="an operator silent for 0.5 s loses control; a starved process is silent"
)

PICTURE = np.zeros((96, 96, 3), np.uint8)
NEAR = [0.4, 0.25, -0.35, -0.4, 0.25, 0.4]


class Robot(Node):
    """A world whose robot is at its target, ten times a second."""

    def __init__(self, context, embodiment):
        super().__init__("robot", context=context)
        self.embodiment = embodiment
        self.place = list(embodiment.home)
        self.step = 0
        self.said, self.commands, self.mode, self.reason = [], [], -1, ""
        info = self.create_publisher(WorldInfo, "world_info", qos.LATCHED)
        self.ticks = self.create_publisher(Tick, "tick", qos.TICK)
        self.images = self.create_publisher(Image, "cameras/top/image_raw", qos.IMAGE_PUB)
        self.joints = self.create_publisher(JointState, "joint_states", qos.TICK)
        self.create_subscription(Command, "command", self.on_command, qos.COMMAND)
        self.create_subscription(OperatorCommand, "operator/command", self.said.append, qos.TICK)
        self.create_subscription(ControlState, "control_state", self.on_state, qos.LATCHED)
        task = load_task(default_task())
        info.publish(WorldInfo(
            kind="imagination", lockstep=False, embodiment=embodiment.name,
            embodiment_hash=embodiment.hash, embodiment_yaml=embodiment.text, task=task.name,
            task_hash=task.hash, task_yaml=task.text, can_restore=True, can_fork=True,
        ))
        self.create_timer(0.1, self.show)

    def on_command(self, command):
        self.commands.append(command)
        self.place = list(command.action)

    def on_state(self, state):
        self.mode, self.reason = state.mode, state.reason

    def show(self):
        self.step += 1
        stamp = time_message(self.step)
        self.images.publish(image_message(PICTURE, stamp, "base"))
        names = self.embodiment.joint_names
        self.joints.publish(joint_state_message(names, self.place, stamp))
        tick = Tick(epoch=1, step=self.step, episode_id="ep_0001", branch_id="ep_0001-b000",
                    trust=1.0, applied_action=array.array("d", self.place))
        cameras = [camera.name for camera in self.embodiment.cameras]
        stamp_tick(tick, stamp, observation_streams(cameras))
        self.ticks.publish(tick)


class Graph:
    def __init__(self, embodiment):
        self.domain = domain_id()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.robot = Robot(self.context, embodiment)
        self.executor.add_node(self.robot)

    def until(self, predicate, every=lambda: None):
        def look():
            every()
            return predicate()
        return spin_until(self.executor, look, 60.0)

    def end(self):
        self.executor.shutdown()
        self.robot.destroy_node()
        self.context.shutdown()


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


@pytest.fixture
def graph(request):
    made = Graph(load_embodiment(getattr(request, "param", EMBODIMENT)))
    yield made
    made.end()


@flaky
def test_a_leader_leads_is_lost_comes_back_and_hands_back(graph, tmp_path, terminal):
    keys, tty = terminal
    robot = graph.robot
    with leader(tmp_path, "dynamixel") as made:
        shown = bytearray()

        def hold():
            """Hold the leader as a hand does, turning the elbows continuously, and look."""
            with contextlib.suppress(BlockingIOError):
                shown.extend(os.read(keys, 65536))
            turn = 0.3 * np.sin(2.0 * time.monotonic())
            for arm in made.servos:
                made.point(arm, [*NEAR[:2], NEAR[2] + turn, *NEAR[3:]])

        options = {"device": "leader_arm", "device_file": str(made.file), "tty": tty}
        hold()
        typed_at = 0.0

        def take_over():
            """Type t until it is accepted: a busy machine sometimes loses an arm briefly."""
            nonlocal typed_at
            hold()
            if robot.mode != Mode.HUMAN and time.monotonic() - typed_at > 3.0:
                os.write(keys, b"t")
                typed_at = time.monotonic()

        patient = {"operator_timeout_s": 5.0}  # the device itself must report the loss
        with NodeProcess(
            "hiwm_control", "arbiter", domain=graph.domain, parameters=patient
        ), NodeProcess(
            "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
        ) as teleop:
            assert graph.until(lambda: bool(robot.said), hold), teleop.output
            assert not robot.said[-1].deadman
            assert graph.until(lambda: len(robot.commands) > 40, take_over), (teleop.output, shown)
            assert {command.source for command in robot.commands} == {Command.SOURCE_HUMAN}
            assert {command.device for command in robot.commands} == {"leader_arm"}
            elbow = [command.action[9] for command in robot.commands]
            assert max(elbow) - min(elbow) > 0.2
            begun = np.abs(np.subtract(robot.commands[0].action, robot.embodiment.home))
            assert begun.max() < 0.2  # although the leader was elsewhere

            made.servos["left"].unplug()
            assert graph.until(lambda: robot.mode == Mode.PAUSED, hold), teleop.output
            assert "arm left is lost" in robot.reason
            stood = list(robot.place)
            count = len(robot.commands)
            made.servos["left"].plug_in()
            assert graph.until(lambda: b"leader_arm is back" in shown, hold), teleop.output
            assert robot.mode == Mode.PAUSED
            assert len(robot.commands) == count and robot.place == stood
            assert graph.until(lambda: robot.mode == Mode.HUMAN, take_over), (teleop.output, shown)
            os.write(keys, b"h")
            assert graph.until(lambda: robot.mode == Mode.PAUSED, hold), teleop.output
            assert "no policy is running" in robot.reason
            os.write(keys, b"q")
            assert graph.until(lambda: teleop.process.poll() is not None, hold), teleop.output
            assert teleop.wait() == 0, teleop.output
        assert made.servos["right"].instructions == {READ, SYNC_READ}


@pytest.mark.parametrize("graph", ["planar_bimanual"], indirect=True)
def test_a_robot_that_the_leader_does_not_fit_is_one_clear_line(graph, tmp_path, terminal):
    with leader(tmp_path, "feetech") as made:
        options = {"device": "leader_arm", "device_file": str(made.file), "tty": terminal[1]}
        with NodeProcess(
            "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
        ) as teleop:
            assert graph.until(lambda: teleop.process.poll() is not None), teleop.output
            assert teleop.wait() == 1
        assert "error: embodiment planar_bimanual has no joint 'left_waist_joint'" in teleop.output
        assert "Traceback" not in teleop.output
