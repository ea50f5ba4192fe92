"""Drives the stand-in through episodes of one kind, so that the graph records them.

The node reads the stand-in's ground truth, which is allowed only for making data and labels. Its
commands take the route of every operator's: operator/command, arbiter, bridge, driver.
"""

import sys
import time

from hiwm_interfaces.msg import GroundTruth, OperatorCommand, Tick, WorldInfo
from hiwm_interfaces.srv import Reset
from rclpy.node import Node
from sensor_msgs.msg import JointState

from hiwm_core.embodiment import parse_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.frames import JOINT_STATES, stream_stamps
from hiwm_core.measured import MeasuredAction
from hiwm_core.robot_config import load_robot
from hiwm_core.stamps import stamp_ns
from hiwm_core.task_plugin import DEMONSTRATION, Behaviour, TaskPlugin
from hiwm_core.tasks import parse_task
from hiwm_nodes.listening import Listening
from hiwm_nodes.parameters import parameter
from hiwm_nodes.qos import COMMAND, LATCHED, TICK
from hiwm_nodes.running import NodeEnd, run


class Demonstrator(Node):
    """Runs `episodes` episodes of one kind and exits."""

    def __init__(self) -> None:
        super().__init__("demonstrator")
        self._kind = parameter(self, "kind", DEMONSTRATION, "kind of data, one of the task's")
        self._episodes = parameter(self, "episodes", 10, "episodes to record", 1, 100_000)
        self._horizon = parameter(self, "horizon", 150, "control steps of an episode", 1, 10_000)
        self._seed = parameter(self, "seed", 0, "seed of the first episode", 0, 2**31 - 1)
        self._info: WorldInfo | None = None
        self._expert: TaskPlugin  # of the task, from world_info
        self._behaviour: Behaviour | None = None
        self._episode_id = ""
        self._started = 0
        self._ticks = 0
        self._start_time = time.monotonic()
        self._truth: dict[int, GroundTruth] = {}
        self._joints: dict[int, JointState] = {}
        self._waiting: Tick | None = None
        self._sent: OperatorCommand | None = None  # newest
        self._publisher = self.create_publisher(OperatorCommand, "operator/command", COMMAND)
        self._reset = self.create_client(Reset, "world/reset")
        self._listening = Listening(self)
        self.create_subscription(WorldInfo, "world_info", self._on_info, LATCHED)
        self.create_subscription(JointState, "joint_states", self._on_joints, TICK)
        self.create_subscription(Tick, "tick", self._on_tick, TICK)

    def _on_info(self, info: WorldInfo) -> None:
        if self._info is not None:
            return
        if not info.stand_in:
            raise ConfigError(
                f"world {info.kind} {info.robot} is not the stand-in", where="world_info",
                remedy="only the stand-in has ground truth; on a robot, record demonstrations by "
                "teleoperation with launch/record.launch.xml",
            )
        self._info = info
        topic = load_robot(info.robot).ground_truth
        if not topic:
            raise ConfigError(
                "no ground truth", where=f"robot {info.robot}: ground_truth",
                remedy="name the stand-in's topic: the expert needs it",
            )
        self.create_subscription(GroundTruth, topic, self._on_truth, TICK)
        self._embodiment = parse_embodiment(info.embodiment_yaml, "world_info")
        self._measured = MeasuredAction(self._embodiment)
        self._expert = parse_task(info.task_yaml, "world_info").stand_in()
        if self._kind not in self._expert.data_kinds:
            raise ConfigError(
                f"unknown kind {self._kind!r}", where="parameter kind of demonstrator",
                remedy=f"use one of {', '.join(self._expert.data_kinds)}",
            )
        self._listening.on_world(info)
        self._begin_if_ready()

    def _begin_if_ready(self) -> None:
        """Begin the first episode after the first tick: before it, the bridge refuses a reset."""
        if self._started == 0 and self._info is not None and self._waiting is not None:
            self._next_episode()

    def _next_episode(self) -> None:
        if self._started >= self._episodes:
            elapsed = time.monotonic() - self._start_time
            raise NodeEnd(
                0, f"{self._kind}: {self._started} episodes, {self._ticks} ticks, "
                f"{self._ticks / elapsed:.0f} ticks/s",
            )
        if self._started and self._started % max(1, self._episodes // 20) == 0:
            elapsed = time.monotonic() - self._start_time
            left = elapsed / self._started * (self._episodes - self._started)
            self.get_logger().info(
                f"{self._kind} {self._started}/{self._episodes}, {self._ticks / elapsed:.0f} "
                f"ticks/s, {left:.0f} s left"
            )
        seed = self._seed + self._started
        self._started += 1
        self._behaviour = self._expert.behaviour(self._kind, self._embodiment, seed)
        self._episode_id = ""
        request = Reset.Request(seed=seed)
        start = self._behaviour.start()
        request.start_names = list(start)
        request.start_values = list(start.values())
        self._reset.wait_for_service()
        self._reset.call_async(request).add_done_callback(self._on_reset)

    def _on_reset(self, future: object) -> None:
        answer = future.result()  # type: ignore[attr-defined]
        if not answer.ok:
            raise ConfigError(answer.message, where="world/reset", remedy="see the bridge's log")
        self._episode_id = answer.episode_id
        self._answer()

    def _on_truth(self, truth: GroundTruth) -> None:
        _keep(self._truth, stamp_ns(truth.header.stamp), truth)
        self._answer()

    def _on_joints(self, joints: JointState) -> None:
        _keep(self._joints, stamp_ns(joints.header.stamp), joints)
        self._answer()

    def _on_tick(self, tick: Tick) -> None:
        sent = self._sent
        if sent is not None and (sent.epoch, sent.step) == (tick.epoch, tick.step):
            # The world repeats the tick for a node that has joined.
            self._publisher.publish(sent)
            return
        self._waiting = tick
        self._begin_if_ready()
        self._answer()

    def _answer(self) -> None:
        """Answer the waiting tick once all messages with its stamp have arrived."""
        tick = self._waiting
        if tick is None or not self._episode_id or tick.episode_id != self._episode_id:
            return
        stamp = stamp_ns(tick.header.stamp)
        joints = self._joints.get(stream_stamps(tick).get(JOINT_STATES, -1))
        if stamp not in self._truth or joints is None or self._behaviour is None:
            return
        self._waiting = None
        self._ticks += 1
        truth = self._truth[stamp]
        known = dict(zip(truth.names, truth.values, strict=True))
        measured = self._measured.joint_state(joints)
        if self._behaviour.finished(known) or tick.step >= self._horizon:
            self._next_episode()
            return
        target = self._behaviour.targets(known, measured)
        command = OperatorCommand(
            header=tick.header, epoch=tick.epoch, step=tick.step, device=self._kind, deadman=True,
            synchronous=True, demonstration=True, action=[float(v) for v in target],
        )
        self._sent = command
        self._publisher.publish(command)


def _keep(buffer: dict, stamp: int, message: object) -> None:  # type: ignore[type-arg]
    buffer[stamp] = message
    while len(buffer) > 8:
        del buffer[min(buffer)]


def main() -> None:
    """Run the node."""
    sys.exit(run(Demonstrator))
