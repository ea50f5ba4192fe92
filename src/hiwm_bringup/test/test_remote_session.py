"""An imagined session whose world model is behind a server: takeover, rollback, a lost server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from hiwm_interfaces.msg import BranchTree, ControlState, OperatorCommand, Tick, WorldInfo
from hiwm_interfaces.srv import Rollback
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.ros_domains import domain_id
from hiwm_core.stamps import stamp_ns
from hiwm_core.tasks import load_task
from hiwm_nodes import qos
from hiwm_test_support.nodes import NodeProcess, spin_until
from hiwm_test_support.remote_worlds import connected_checkpoint, drawn_server

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]
GUARD_S = 300.0
EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)
HOME = np.array(EMBODIMENT.home)


class Graph:
    """World, arbiter and branch manager as processes; a person; the server in this process."""

    def __init__(self, folder: Path) -> None:
        self.served = folder / "served"
        self.server = drawn_server(self.served)
        checkpoint = connected_checkpoint(folder, self.server.url)
        session = str(folder / "session")
        self.context = rclpy.Context()
        domain = domain_id()
        rclpy.init(context=self.context, domain_id=domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.node = node = rclpy.create_node("person", context=self.context)
        self.executor.add_node(node)
        self.ticks: list[Tick] = []
        self.frames: dict[int, bytes] = {}
        self.infos: list[WorldInfo] = []
        self.control = ControlState()
        self.head = ""
        camera = EMBODIMENT.cameras[0].name
        node.create_subscription(Tick, "tick", self.ticks.append, qos.TICK)
        node.create_subscription(WorldInfo, "world_info", self.infos.append, qos.LATCHED)
        node.create_subscription(
            Image, f"cameras/{camera}/image_raw", self._on_image, qos.TICK
        )
        node.create_subscription(ControlState, "control_state", self._on_control, qos.LATCHED)
        node.create_subscription(BranchTree, "branches/tree", self._on_tree, qos.LATCHED)
        self.operator = node.create_publisher(OperatorCommand, "operator/command", qos.TICK)
        self.rollback = node.create_client(Rollback, "branches/rollback")
        parts: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("hiwm_world", "imagination", {
                "checkpoint": str(checkpoint), "session_dir": session, "rate": 0.0,
            }),
            ("hiwm_branching", "branch_manager", {"session_dir": session}),
            ("hiwm_control", "arbiter", {"operator_timeout_s": 10.0}),
        )
        self.nodes = [
            NodeProcess(package, name, domain=domain, parameters=values)
            for package, name, values in parts
        ]
        # A latched message may arrive after the ticks of its sender.
        self.until(lambda: bool(self.ticks) and bool(self.infos)
                   and self.operator.get_subscription_count() == 1
                   and self.rollback.service_is_ready() and self.head != "")

    def _on_image(self, message: Image) -> None:
        self.frames[stamp_ns(message.header.stamp)] = bytes(message.data)

    def _on_control(self, message: ControlState) -> None:
        self.control = message

    def _on_tree(self, message: BranchTree) -> None:
        self.head = message.head_id

    def until(self, predicate: Callable[[], bool]) -> None:
        output = "\n".join(node.output for node in getattr(self, "nodes", ()))
        assert spin_until(self.executor, predicate, GUARD_S), output

    def hold(self, action: np.ndarray, deadman: bool = True) -> None:
        now = self.ticks[-1]
        self.operator.publish(OperatorCommand(
            epoch=now.epoch, step=now.step, device="test", deadman=deadman, synchronous=True,
            action=action.tolist(),
        ))

    def step(self, action: np.ndarray) -> None:
        now = (self.ticks[-1].epoch, self.ticks[-1].step)
        self.hold(action)
        self.until(lambda: (self.ticks[-1].epoch, self.ticks[-1].step) == (now[0], now[1] + 1))

    def close(self) -> None:
        for node in self.nodes:
            node.__exit__(None, None, None)
        self.server.close()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    graph = Graph(tmp_path)
    yield graph
    graph.close()


def test_takeover_rollback_and_a_server_that_is_lost_and_returns(graph: Graph) -> None:
    assert graph.infos[-1].can_restore and graph.infos[-1].can_fork
    for i in range(3):
        graph.step(HOME + 0.002 * (i + 1))
    assert graph.control.mode == ControlState.HUMAN
    assert list(graph.ticks[-1].applied_action) != HOME.tolist()

    branch, epoch = graph.ticks[-1].branch_id, graph.ticks[-1].epoch
    at_one = next(tick for tick in graph.ticks if tick.step == 1)
    graph.until(lambda: graph.head == f"{branch}:3")
    future = graph.rollback.call_async(Rollback.Request(node_id=f"{branch}:1"))
    graph.until(future.done)
    assert future.result().ok, future.result().message
    graph.until(lambda: graph.ticks[-1].epoch == epoch + 1)
    back = graph.ticks[-1]
    graph.until(lambda: stamp_ns(back.header.stamp) in graph.frames)
    assert (back.step, back.branch_id != branch, back.state_id) == (1, True, at_one.state_id)
    assert graph.frames[stamp_ns(back.header.stamp)] == graph.frames[stamp_ns(at_one.header.stamp)]
    graph.step(HOME)

    # The server is lost: the session pauses with the reason, and the tick stays.
    step, port = graph.ticks[-1].step, graph.server.port
    graph.server.close()
    graph.hold(HOME)
    graph.until(lambda: graph.control.mode == ControlState.PAUSED)
    assert "world server" in graph.control.reason
    assert graph.ticks[-1].step == step
    # It returns without its states: the waiting command is taken from what the world has kept.
    graph.server = drawn_server(graph.served, port=port)
    graph.until(lambda: graph.ticks[-1].step == step + 1)
    assert graph.control.mode == ControlState.PAUSED
    graph.hold(HOME, deadman=False)
    graph.step(HOME)
