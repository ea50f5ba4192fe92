"""The bridge's outputs on ROS: publishers and action clients, and the thread that keeps their rate.

Outputs with a rate have a thread of their own, so that decoding an image does not delay them.
Tested by ``test_robot_outputs.py``.
"""

import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus
from numpy.typing import NDArray
from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNode

from hiwm_core.embodiment import Embodiment
from hiwm_core.robot_config import RobotConfig
from hiwm_core.robots.outputs import GOALS_PER_S
from hiwm_nodes import qos
from hiwm_robot.adapters import make_adapter
from hiwm_robot.interface_types import interface_type
from hiwm_robot.output_map import OutputMap
from hiwm_robot.output_runner import OutputRunner, Sample

Array = NDArray[np.float64]

# Longest wait for the interpreter while another thread runs Python code. Python's default of 5 ms
# is half a period at 100 Hz.
SWITCH_S = 0.0005
# The default callbacks log a QoS mismatch. Each adds an entity to every wait.
QUIET = PublisherEventCallbacks(use_default_callbacks=False)


class OutputLink:
    """One output: its part of the action array, its runner, and where its messages go.

    Args:
        node: creates the publisher or action client.
        robot: of the output.
        name: of the output.
        embodiment: the action array.
        note: called with a source and its problem; empty if there is none.
        lockstep: as in the bridge.
    """

    def __init__(
        self, node: LifecycleNode, robot: RobotConfig, name: str, embodiment: Embodiment,
        note: Callable[[str, str], None], *, lockstep: bool,
    ) -> None:
        self.output = output = robot.outputs[name]
        self.map = OutputMap(embodiment, output)
        self.runner = OutputRunner(
            output, 1.0 / embodiment.rate_hz, self.map.between, lockstep=lockstep
        )
        self._node = node
        self._source = f"output {name}"
        self._note = note
        self._interface = interface_type(
            output.interface, f"robot {robot.name}: outputs.{name}.adapter"
        )
        self._adapter = make_adapter(output, self._interface, 1.0 / embodiment.rate_hz)
        self._publisher: Any = None
        self._client: ActionClient | None = None
        self._goals = 0  # sent so far
        self.gripper = ""  # what became of the newest goal; empty if it is on its way or reached

    def connect(self) -> None:
        """Create the publisher or action client."""
        if self.output.action:
            self._client = ActionClient(self._node, self._interface, self.output.action)
        else:
            self._publisher = self._node.create_lifecycle_publisher(
                self._interface, self.output.topic, qos.TICK, event_callbacks=QUIET
            )

    def send(self, sample: Sample | None, measured: Array) -> None:
        """Send a sample, if there is one; measured is the output's part [N]."""
        if sample is None:
            return
        try:
            values = self.map.message_values(sample.values, measured, sample.zero)
        except ValueError as error:  # not a rotation; the arm must not keep its speed
            self._note(self._source, f"{self._source}: {error}")
            if self.output.drives != "twist":
                return
            values = self.map.message_values(sample.values, measured, zero=True)
        message = self._adapter.message(values, self._node.get_clock().now().to_msg())
        if self._client is None:
            self._publisher.publish(message)
            return
        if not self._client.server_is_ready():
            self._note(self._source, f"no action server {self.output.action}: start the gripper's")
            self.runner.forget_goal()
            return
        self._goals += 1
        self._client.send_goal_async(message).add_done_callback(
            partial(self._on_answer, self._goals)
        )

    def _on_answer(self, goal: int, future: Any) -> None:
        handle = future.result()
        accepted = handle is not None and handle.accepted
        problem = "" if accepted else f"{self.output.action} rejected a goal"
        self._note(self._source, problem)
        if accepted:
            self.gripper = ""
            handle.get_result_async().add_done_callback(partial(self._on_result, goal))

    def _on_result(self, goal: int, future: Any) -> None:
        """Report a gripper that ended before its goal; the arms go on meanwhile."""
        answer = future.result()
        if goal != self._goals or answer is None:
            return  # the next goal has preempted it
        if answer.result.stalled and not answer.result.reached_goal:
            self.gripper = "stalled before its goal: it holds an object, or is blocked"
            self._node.get_logger().info(f"{self.output.action}: {self.gripper}")
        elif answer.status == GoalStatus.STATUS_ABORTED:
            self._note(self._source, f"{self.output.action} aborted a goal")


class RobotOutputs:
    """All outputs of a robot.

    Args:
        node: creates publishers, action clients and timers.
        robot: its outputs.
        embodiment: the action array.
        measured: returns the newest measured position [A]; None before the first.
        note: called with a source and its problem; empty if there is none.
        lockstep: the driver waits for a message of every output: one goes with each target.

    Raises:
        ConfigError: an interface package is not installed.
    """

    def __init__(
        self, node: LifecycleNode, robot: RobotConfig, embodiment: Embodiment,
        measured: Callable[[], Array | None], note: Callable[[str, str], None], *,
        lockstep: bool = False,
    ) -> None:
        self._node = node
        self._measured = measured
        self._lock = threading.Lock()
        self._links = [
            OutputLink(node, robot, name, embodiment, note, lockstep=lockstep)
            for name in robot.outputs
        ]
        self._grippers = [link for link in self._links if link.output.action and not lockstep]
        self._rated = [
            link for link in self._links
            if link.output.rate_hz and not link.output.action and not lockstep
        ]
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    @property
    def topics(self) -> list[str]:
        """Command topics; actions have no publishers of their own."""
        return [link.output.topic for link in self._links if link.output.topic]

    @property
    def grippers(self) -> dict[str, str]:
        """What became of the newest goal of each action; empty if it is on its way or reached."""
        return {link.output.action: link.gripper for link in self._grippers}

    def connect(self) -> None:
        """Create publishers and action clients; only once."""
        for link in self._links:
            link.connect()
        if self._grippers:
            self._node.create_timer(
                1.0 / GOALS_PER_S, self._sample_grippers,
                clock=Clock(clock_type=ClockType.STEADY_TIME),
            )

    def start(self) -> None:
        """Start the thread of outputs with a rate. They send nothing before the first target."""
        if self._rated and self._thread is None:
            sys.setswitchinterval(SWITCH_S)
            self._ending.clear()
            self._thread = threading.Thread(target=self._run, name="outputs", daemon=True)
            self._thread.start()

    def stop(self, hold: Array | None) -> None:
        """Send a last hold [A], if there is one, and then nothing more."""
        if self._thread is not None:
            self._ending.set()
            self._thread.join()
            self._thread = None
        if hold is not None:
            self.hold(hold)
            measured = self._position(hold)
            now = time.monotonic()
            for link in self._rated:
                part = measured[link.map.entries]
                link.send(link.runner.sample(now, part), part)
        for link in self._links:
            link.runner.stop()

    def target(self, action: Array, period_s: float) -> None:
        """Move to a limited target [A], by the time of the next one."""
        measured = self._position(action)
        now = time.monotonic()
        for link in self._links:
            part = measured[link.map.entries]
            with self._lock:
                link.runner.period_s = period_s
                sample = link.runner.target(action[link.map.entries], part, now)
            link.send(sample, part)

    def hold(self, action: Array) -> None:
        """Apply each output's rule for silence; action [A] is what to hold."""
        measured = self._position(action)
        now = time.monotonic()
        for link in self._links:
            with self._lock:
                sample = link.runner.hold(action[link.map.entries], now)
            link.send(sample, measured[link.map.entries])

    def _position(self, fallback: Array) -> Array:
        measured = self._measured()
        return fallback if measured is None else measured

    def _sample_grippers(self) -> None:
        now = time.monotonic()
        for link in self._grippers:
            nowhere = np.zeros(len(link.map.entries))
            link.send(link.runner.sample(now, nowhere), nowhere)

    def _run(self) -> None:
        """Sample each output on a grid of its own."""
        start = time.monotonic()
        due = [start + 1.0 / _rate(link) for link in self._rated]
        while not self._ending.wait(max(0.0, min(due) - time.monotonic())):
            now = time.monotonic()
            position = self._measured()
            for i, link in enumerate(self._rated):
                if now < due[i]:
                    continue
                # After a stall the grid goes on from now: samples are not made up for.
                due[i] = max(due[i] + 1.0 / _rate(link), now)
                if position is None:
                    continue
                part = position[link.map.entries]
                with self._lock:
                    sample = link.runner.sample(now, part)
                link.send(sample, part)


def _rate(link: OutputLink) -> float:
    assert link.output.rate_hz is not None
    return link.output.rate_hz
