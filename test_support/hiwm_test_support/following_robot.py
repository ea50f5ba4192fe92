"""A robot that is always at its target, and a graph of it with the nodes under test."""

import array
from collections.abc import Callable

import numpy as np
import rclpy
from hiwm_interfaces.msg import Command, ControlState, OperatorCommand, Tick, WorldInfo
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import Embodiment
from hiwm_core.frames import observation_streams
from hiwm_core.ros_domains import domain_id
from hiwm_core.tasks import load_task
from hiwm_nodes import qos
from hiwm_nodes.messages import image_message, joint_state_message, stamp_tick, time_message
from hiwm_test_support.nodes import spin_until


class Robot(Node):
    """A world whose robot is at its target, ten times a second."""

    def __init__(self, context: rclpy.Context, embodiment: Embodiment) -> None:
        super().__init__("robot", context=context)
        self.embodiment = embodiment
        self.place = list(embodiment.home)
        self.step = 0
        self.said: list[OperatorCommand] = []
        self.commands: list[Command] = []
        self.mode, self.reason = -1, ""
        info = self.create_publisher(WorldInfo, "world_info", qos.LATCHED)
        self.ticks = self.create_publisher(Tick, "tick", qos.TICK)
        self.images = self.create_publisher(Image, "cameras/top/image_raw", qos.IMAGE_PUB)
        self.joints = self.create_publisher(JointState, "joint_states", qos.TICK)
        self.create_subscription(Command, "command", self.on_command, qos.COMMAND)
        self.create_subscription(OperatorCommand, "operator/command", self.said.append, qos.TICK)
        self.create_subscription(ControlState, "control_state", self.on_state, qos.LATCHED)
        task, camera = load_task(default_task()), embodiment.cameras[0]
        info.publish(WorldInfo(
            kind="imagination", lockstep=False, embodiment=embodiment.name,
            embodiment_hash=embodiment.hash, embodiment_yaml=embodiment.text, task=task.name,
            task_hash=task.hash, task_yaml=task.text, can_restore=True, can_fork=True,
            cameras=["top"], camera_widths=[camera.width], camera_heights=[camera.height],
        ))
        self.create_timer(0.1, self.show)

    def on_command(self, command: Command) -> None:
        """Go to a target."""
        self.commands.append(command)
        self.place = list(command.action)

    def on_state(self, state: ControlState) -> None:
        """Remember the mode."""
        self.mode, self.reason = state.mode, state.reason

    def show(self) -> None:
        """Publish an observation."""
        self.step += 1
        stamp = time_message(self.step)
        camera = self.embodiment.cameras[0]
        picture = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.images.publish(image_message(picture, stamp, "base"))
        names = self.embodiment.joint_names
        self.joints.publish(joint_state_message(names, self.place, stamp))
        tick = Tick(epoch=1, step=self.step, episode_id="ep_0001", branch_id="ep_0001-b000",
                    trust=1.0, applied_action=array.array("d", self.place))
        cameras = [camera.name for camera in self.embodiment.cameras]
        stamp_tick(tick, stamp, observation_streams(cameras))
        self.ticks.publish(tick)


class Graph:
    """A domain of its own with the robot; the test starts its nodes there."""

    def __init__(self, embodiment: Embodiment) -> None:
        self.domain = domain_id()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.robot = Robot(self.context, embodiment)
        self.executor.add_node(self.robot)

    def until(
        self, predicate: Callable[[], bool], every: Callable[[], object] = lambda: None
    ) -> bool:
        """Spin until the predicate holds, with a call at every turn; False after a minute."""
        def look() -> bool:
            every()
            return predicate()
        return spin_until(self.executor, look, 60.0)

    def end(self) -> None:
        """Leave the domain."""
        self.executor.shutdown()
        self.robot.destroy_node()
        self.context.shutdown()
