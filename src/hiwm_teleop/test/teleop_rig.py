"""Shared by the tests of the teleop node: a played world, and the node as a process."""

import array

import numpy as np
import pytest
import rclpy
from hiwm_interfaces.msg import (
    Command,
    OperatorCommand,
    PolicyPlan,
    Tick,
    WorldInfo,
)
from hiwm_interfaces.srv import Fork, Label, Reset, Rollback
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.frames import observation_streams
from hiwm_core.ros_domains import domain_id
from hiwm_core.tasks import load_task
from hiwm_nodes import qos
from hiwm_nodes.messages import image_message, joint_state_message, stamp_tick, time_message
from hiwm_test_support.nodes import spin_until

# Of an arbiter: a starved process is silent, and a loss must be the one that the device detects.
PATIENT = {"operator_timeout_s": 10.0}
EMBODIMENT = load_embodiment("planar_bimanual")
TASK = load_task(default_task())
HOME = list(EMBODIMENT.home)
START = np.array([0.05, 0.05, 0.7])


class PlayedWorld(Node):
    """World, policy and branch manager in a few lines.

    The policy holds still, so every rollout stalls; any action of a person moves the object
    straight towards its goal.
    """

    def __init__(self, context, can_restore=True):
        super().__init__("played_world", context=context)
        self.can_restore = can_restore
        self.pose, self.history = START.copy(), [START.copy()]
        self.scene = TASK.stand_in().scene(EMBODIMENT)
        self.epoch, self.step, self.branch, self.stamp = 1, 0, 0, 0
        self.device = ""
        self.sources, self.labels, self.forked, self.said = [], [], [], []
        info = self.create_publisher(WorldInfo, "world_info", qos.LATCHED)
        self.ticks = self.create_publisher(Tick, "tick", qos.TICK)
        self.images = self.create_publisher(Image, "cameras/top/image_raw", qos.IMAGE_PUB)
        self.joints = self.create_publisher(JointState, "joint_states", qos.TICK)
        self.plans = self.create_publisher(PolicyPlan, "policy/plan", qos.TICK)
        self.create_subscription(Command, "command", self.on_command, qos.COMMAND)
        self.create_subscription(OperatorCommand, "operator/command", self.said.append, qos.TICK)
        self.create_service(Rollback, "branches/rollback", self.on_rollback)
        self.create_service(Fork, "branches/fork", self.on_fork)
        self.create_service(Label, "branches/label", self.on_label)
        self.create_service(Reset, "world/reset", self.on_reset)
        info.publish(WorldInfo(
            kind="imagination" if can_restore else "hardware", lockstep=True,
            embodiment=EMBODIMENT.name, embodiment_hash=EMBODIMENT.hash,
            embodiment_yaml=EMBODIMENT.text, task=TASK.name, task_hash=TASK.hash,
            task_yaml=TASK.text, can_restore=can_restore, can_fork=can_restore, auto_reset=True,
        ))
        self.show()
        self.create_timer(0.5, self.show)  # for late subscribers

    def picture(self):
        self.scene.place(dict(zip(TASK.start_names, self.pose, strict=True)))
        return self.scene.render()

    def show(self):
        self.stamp += 1
        stamp = time_message(self.stamp)
        self.images.publish(image_message(self.picture(), stamp, "table"))
        self.joints.publish(joint_state_message(EMBODIMENT.joint_names, HOME, stamp))
        tick = Tick(
            epoch=self.epoch, step=self.step, episode_id="ep_0001",
            branch_id=f"ep_0001-b{self.branch:03d}", trust=1.0, progress=float("nan"),
            success=float("nan"), applied_action=array.array("d", HOME if self.step else []),
            applied_source=self.sources[-1] if self.sources else Command.SOURCE_NONE,
            applied_device=self.device,
        )
        stamp_tick(tick, stamp, observation_streams(["top"]))
        self.ticks.publish(tick)
        plan = PolicyPlan(
            epoch=self.epoch, step=self.step, horizon=8, execute_horizon=8, action_dim=4,
            actions=array.array("d", HOME * 8), policy="still",
        )
        self.plans.publish(plan)

    def on_command(self, command):
        if (command.epoch, command.step) != (self.epoch, self.step):
            return
        self.sources.append(command.source)
        self.device = command.device
        if command.source == Command.SOURCE_HUMAN:
            self.pose = self.pose * 0.9
        self.step += 1
        self.history = [*self.history[: self.step], self.pose.copy()]
        self.show()

    def go(self, step):
        self.step, self.pose = step, self.history[step].copy()
        self.epoch += 1
        self.branch += 1
        self.show()

    def on_rollback(self, request, response):
        response.ok = self.can_restore
        if not self.can_restore:
            response.message = "hardware cannot go back: reset the scene instead"
            return response
        self.go(max(0, self.step - request.steps))
        response.node_id, response.epoch, response.step = f"n:{self.step}", self.epoch, self.step
        return response

    def on_fork(self, request, response):
        self.forked.append(request.node_id)
        self.go(int(request.node_id.split(":")[1]) if request.node_id else self.step)
        response.ok, response.epoch, response.step = True, self.epoch, self.step
        response.node_id = request.node_id
        return response

    def on_label(self, request, response):
        self.labels.append((request.branch_id, request.label))
        response.ok = True
        return response

    def on_reset(self, request, response):
        self.pose, self.history, self.step, self.branch = START.copy(), [START.copy()], 0, 0
        self.epoch += 1
        self.show()
        response.ok, response.epoch = True, self.epoch
        return response


class Graph:
    def __init__(self, **world):
        self.domain = domain_id()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.world = PlayedWorld(self.context, **world)
        self.executor.add_node(self.world)

    def until(self, predicate, timeout_s=60.0):
        return spin_until(self.executor, predicate, timeout_s)

    def end(self):
        self.executor.shutdown()
        self.world.destroy_node()
        self.context.shutdown()


@pytest.fixture(name="graph")
def graph_fixture(request):
    graph = Graph(**getattr(request, "param", {}))
    yield graph
    graph.end()
