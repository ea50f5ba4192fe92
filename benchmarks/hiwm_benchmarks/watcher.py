"""The measuring node: receives the graph's ticks, takes over as an operator, and rolls back."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from hiwm_interfaces.msg import Command, ControlState, OperatorCommand, Tick
from hiwm_interfaces.srv import Rollback
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState

from hiwm_core.errors import HiwmError
from hiwm_nodes import qos

from .graph import Graph

START_S = 180.0  # two nodes load torch, on a busy machine
STEP_S = 60.0
REPEAT_S = 0.02  # a held device publishes at 50 Hz


class Watcher:
    """A node beside the graph; its methods spin it.

    Args:
        graph: if it exits, waiting raises HiwmError.
        domain: ROS domain id.
        namespace: of the graph.
    """

    def __init__(self, graph: Graph, domain: int, namespace: str = "hiwm") -> None:
        self._graph = graph
        self.domain = domain
        self.namespace = namespace
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = rclpy.create_node("bench", context=self._context, namespace=namespace)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self.ticks: list[tuple[float, Tick]] = []  # steady clock at reception
        self.mode = -1
        self.joints: list[float] = []
        self.values: dict[str, dict[str, str]] = {}
        self._node.create_subscription(Tick, "tick", self._on_tick, qos.TICK)
        self._node.create_subscription(ControlState, "control_state", self._on_state, qos.LATCHED)
        self._node.create_subscription(JointState, "joint_states", self._on_joints, qos.TICK)
        self._node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, 10
        )
        self._operator = self._node.create_publisher(
            OperatorCommand, "operator/command", qos.COMMAND
        )
        self._rollback = self._node.create_client(Rollback, "branches/rollback")

    def _on_tick(self, message: Tick) -> None:
        # A tick may be published again for a late joiner.
        if not self.ticks or message.header.stamp != self.tick.header.stamp:
            self.ticks.append((time.monotonic(), message))

    def _on_state(self, message: ControlState) -> None:
        self.mode = int(message.mode)

    def _on_joints(self, message: JointState) -> None:
        self.joints = list(message.position)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.values[status.name] = {pair.key: pair.value for pair in status.values}

    @property
    def tick(self) -> Tick:
        """The newest tick."""
        return self.ticks[-1][1]

    def listen(
        self, kind: type, name: str, callback: Callable[[Any], None], profile: QoSProfile
    ) -> None:
        """Subscribe to one more topic."""
        self._node.create_subscription(kind, name, callback, profile)

    def until(self, predicate: Callable[[], bool], what: str, timeout_s: float = STEP_S) -> None:
        """Spin until the predicate holds.

        Raises:
            HiwmError: the graph exited, or the predicate did not hold in time.
        """
        deadline = time.monotonic() + timeout_s
        while not predicate():
            self._graph.check()
            if time.monotonic() > deadline:
                raise HiwmError(
                    f"no {what} within {timeout_s:.0f} s", where=str(self._graph.log),
                    remedy="read that file, or measure only this row on a less busy machine",
                )
            self._executor.spin_once(timeout_sec=0.05)

    def until_running(self, source: int) -> None:
        """Wait for 20 ticks after the first action of a source, until all nodes are warm."""
        self.until(
            lambda: bool(self.ticks) and self.tick.applied_source == source,
            "tick of that source", START_S,
        )
        first = len(self.ticks)
        self.until(lambda: len(self.ticks) >= first + 20, "further ticks")

    def watch(self, seconds: float) -> list[tuple[float, Tick]]:
        """Return the ticks received in the next seconds, or until the graph exits."""
        first = len(self.ticks)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._graph.ended():
            self._executor.spin_once(timeout_sec=0.05)
        return self.ticks[first:]

    def take_over(self) -> tuple[int, float]:
        """Take over once and hand back; return ticks and seconds to the first human step.

        Ticks counts those published between the command and the tick of the step. 0 means that the
        person's action answered the tick that was waiting at the time.
        """
        self.until(
            lambda: self.mode == ControlState.POLICY and bool(self.joints), "policy in control"
        )
        before = len(self.ticks)
        start = time.monotonic()
        published = 0.0
        target = list(self.joints)

        def stepped() -> bool:
            nonlocal published
            if time.monotonic() - published >= REPEAT_S:
                published = time.monotonic()
                self._publish(True, target)
            return any(
                tick.applied_source == Command.SOURCE_HUMAN for _, tick in self.ticks[before:]
            )

        self.until(stepped, "step by a person")
        ticks, received = next(
            (index, at) for index, (at, tick) in enumerate(self.ticks[before:])
            if tick.applied_source == Command.SOURCE_HUMAN
        )

        def released() -> bool:
            nonlocal published
            if time.monotonic() - published >= REPEAT_S and self.mode == ControlState.HUMAN:
                published = time.monotonic()
                self._publish(False, [])
            return self.mode == ControlState.POLICY

        self.until(released, "handback")
        return ticks, received - start

    def _publish(self, deadman: bool, action: list[float]) -> None:
        message = OperatorCommand(
            epoch=self.tick.epoch, step=self.tick.step, device="bench", deadman=deadman,
            action=action,
        )
        message.header.stamp = self.tick.header.stamp
        self._operator.publish(message)

    def call(
        self, service_type: Any, name: str, request: Any, timeout_s: float = STEP_S
    ) -> Any:
        """Return a service's answer; raises HiwmError if it refuses."""
        client = self._node.create_client(service_type, name)
        try:
            self.until(client.service_is_ready, name)
            future = client.call_async(request)
            self.until(future.done, f"answer of {name}", timeout_s)
        finally:
            self._node.destroy_client(client)
        answer: Any = future.result()
        if not answer.ok:
            raise HiwmError(answer.message, where=name)
        return answer

    def roll_back(self, steps: int) -> float:
        """Roll back and return the seconds from the call to the first tick after it."""
        self.until(self._rollback.service_is_ready, "branch manager")
        epoch = self.tick.epoch
        start = time.monotonic()
        future = self._rollback.call_async(Rollback.Request(steps=steps))
        self.until(
            lambda: self.tick.epoch > epoch or (future.done() and not future.result().ok),
            "frame after a rollback",
        )
        received = next((at for at, tick in self.ticks if tick.epoch > epoch), start)
        self.until(future.done, "answer to a rollback")
        answer: Any = future.result()
        if not answer.ok:
            raise HiwmError(
                f"rollback refused: {answer.message}", where="branches/rollback",
                remedy="measure this row in imagination",
            )
        return received - start

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)
