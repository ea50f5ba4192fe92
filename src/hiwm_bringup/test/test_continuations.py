"""Continuations with real nodes: world, policy and branch manager as processes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from hiwm_interfaces.msg import BranchTree, Command, Tick
from hiwm_interfaces.srv import Continue, ContinueState, Reset, RestoreState
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future
from sensor_msgs.msg import Image

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.ros_domains import domain_id
from hiwm_core.stamps import stamp_ns
from hiwm_core.tasks import load_task
from hiwm_nodes import qos
from hiwm_test_support.layered_worlds import write_drawn_checkpoint
from hiwm_test_support.nodes import NodeProcess, spin_until
from hiwm_test_support.policies import write_untrained_policy

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]
GUARD_S = 300.0

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)
HOME = np.array(EMBODIMENT.home)


class Session:
    """The three nodes, and a client that sends commands and requests."""

    def __init__(self, folder: Path) -> None:
        self.domain = domain_id()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.node = rclpy.create_node("person", context=self.context)
        self.executor.add_node(self.node)
        self.frames: dict[int, bytes] = {}
        self.ticks: list[Tick] = []
        self.node.create_subscription(Image, "cameras/top/image_raw", self._on_image, qos.TICK)
        self.node.create_subscription(Tick, "tick", self.ticks.append, qos.TICK)
        self.head = ""
        self.node.create_subscription(BranchTree, "branches/tree", self._on_tree, qos.LATCHED)
        self.command = self.node.create_publisher(Command, "command", qos.COMMAND)
        self._clients = {
            kind: self.node.create_client(kind, name)
            for kind, name in (
                (Continue, "branches/continue"), (ContinueState, "world/continue_state"),
                (Reset, "world/reset"), (RestoreState, "world/restore_state"),
            )
        }
        folder.mkdir()
        self._policy_parameters = {"checkpoint": str(write_untrained_policy(folder, EMBODIMENT))}
        session = str(folder / "session")
        self.world = self.start("hiwm_world", "imagination", {
            "checkpoint": str(write_drawn_checkpoint(folder)), "session_dir": session,
            "rate": 0.0,
        })
        self.manager = self.start("hiwm_branching", "branch_manager", {"session_dir": session})
        self.policy: NodeProcess | None = None
        self.until(lambda: bool(self.ticks) and self.command.get_subscription_count() == 1)
        self.until_in_tree()

    def start(self, package: str, executable: str, parameters: dict[str, Any]) -> NodeProcess:
        return NodeProcess(package, executable, domain=self.domain, parameters=parameters)

    def start_policy(self) -> None:
        self.policy = self.start("hiwm_policy", "policy", self._policy_parameters)
        self.until(lambda: self.node.count_subscribers("tick") >= 3)

    def _on_image(self, message: Image) -> None:
        self.frames[stamp_ns(message.header.stamp)] = bytes(message.data)

    def _on_tree(self, message: BranchTree) -> None:
        self.head = message.head_id

    def until_in_tree(self) -> None:
        """Wait until the branch manager has the newest tick."""
        tick = self.ticks[-1]
        self.until(lambda: self.head == f"{tick.branch_id}:{tick.step}")

    def until(self, predicate: Callable[[], bool]) -> None:
        assert spin_until(self.executor, predicate, GUARD_S), self.output

    @property
    def output(self) -> str:
        nodes = (self.world, self.manager, self.policy)
        return "\n".join(node.output for node in nodes if node)

    def ask(self, request: Any) -> Future:
        client = next(c for kind, c in self._clients.items() if isinstance(request, kind.Request))
        self.until(client.service_is_ready)
        return client.call_async(request)

    def call(self, request: Any) -> Any:
        future = self.ask(request)
        self.until(future.done)
        return future.result()

    def reset(self) -> Tick:
        answer = self.call(Reset.Request(start="a", seed=1))
        self.until(lambda: self.ticks[-1].epoch == answer.epoch)
        self.until_in_tree()
        return self.ticks[-1]

    def restore(self, state_id: str) -> None:
        answer = self.call(RestoreState.Request(state_id=state_id, branch_id="again"))
        assert answer.ok, answer.message
        self.until(lambda: self.ticks[-1].epoch == answer.epoch)

    def step(self, action: np.ndarray) -> tuple[bytes, str]:
        """Send a command; return the frame and state id after it."""
        before = self.ticks[-1]
        self.command.publish(Command(
            epoch=before.epoch, step=before.step, source=Command.SOURCE_HUMAN, device="test",
            action=action.tolist(),
        ))
        self.until(lambda: self.ticks[-1].step == before.step + 1)
        stamp = stamp_ns(self.ticks[-1].header.stamp)
        self.until(lambda: stamp in self.frames)
        return self.frames[stamp], self.ticks[-1].state_id

    def close(self) -> None:
        for node in (self.policy, self.manager, self.world):
            if node:
                node.__exit__(None, None, None)
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """World and branch manager, without a policy yet."""
    session = Session(tmp_path_factory.mktemp("graph") / "models")
    yield session
    session.close()


@pytest.fixture(scope="module")
def session(bare: Session) -> Session:
    """World, branch manager and policy."""
    bare.start_policy()
    bare.until(lambda: bare.call(ContinueState.Request(count=1, steps=1)).ok)
    return bare


def outcome(answer: Any) -> list[Any]:
    assert answer.ok, answer.message
    return [
        (one.seed, one.end, one.success, one.progress, one.trust, list(one.progress_by_step),
         list(one.frame_steps), [bytes(frame.data) for frame in one.frames])
        for one in answer.continuations
    ]


def test_without_a_policy_a_continuation_is_refused_and_the_world_goes_on(bare: Session) -> None:
    bare.reset()
    answer = bare.call(Continue.Request(count=2, steps=5))
    assert not answer.ok
    assert "no policy serves" in answer.message and "start the policy" in answer.message
    bare.step(HOME)


def test_continuing_a_failure_state_does_not_change_the_world(session: Session) -> None:
    plan = HOME + np.linspace(0.0, 0.01, 6)[:, None]
    first = session.reset()
    without = [session.step(action) for action in plan]
    session.restore(first.state_id)
    for action in plan[:3]:
        session.step(action)
    session.until_in_tree()
    node = f"{first.branch_id}:2"
    request = Continue.Request(node_id=node, count=4, steps=8, seed=70, frames=2)
    future = session.ask(request)
    meanwhile = [session.step(action) for action in plan[3:]]  # during the request, or after it
    session.until(future.done)
    answer = future.result()
    found = outcome(answer)
    assert meanwhile == without[3:]  # byte for byte, with the state ids
    assert session.ticks[-1].step == 6
    assert answer.node_id == node
    assert [one.seed for one in answer.continuations] == [70, 71, 72, 73]
    for one in answer.continuations:
        assert len(one.progress_by_step) == one.steps == 8 and not one.end
        assert list(one.frame_steps) == [4, 8]
        assert (one.frames[0].height, one.frames[0].width) == (96, 96)
        assert 0.0 < one.trust < 1.0 and 0.0 < one.success < 0.5
    assert len({tuple(one.progress_by_step) for one in answer.continuations}) == 4
    # The same again from the stored state, and again in part.
    assert outcome(session.call(request)) == found
    present = outcome(session.call(Continue.Request(count=1, steps=3, seed=70)))
    assert present[0][6:] == ([], [])
    assert present != found[:1]


def test_a_later_request_or_a_rollback_cancels_running_continuations(session: Session) -> None:
    start = session.reset()
    long = ContinueState.Request(count=64, steps=1000)
    first = session.ask(long)
    second = session.ask(long)
    session.until(first.done)
    assert not first.result().ok and "a later request" in first.result().message
    assert not second.done()
    session.restore(start.state_id)
    session.until(second.done)
    assert not second.result().ok and "cancelled" in second.result().message
    third = session.ask(long)
    while not third.done():  # a reset may arrive before the request: the services are separate
        session.reset()
    assert "the world was reset" in third.result().message


def test_values_out_of_bounds_and_unknown_nodes_are_refused(session: Session) -> None:
    session.reset()
    for request, words in (
        (Continue.Request(count=0, steps=5), "1 to 64"),
        (Continue.Request(count=2, steps=100_000), "1 to 1000"),
        (Continue.Request(node_id="b9:3", count=1, steps=1), "no node 'b9:3'"),
        (ContinueState.Request(state_id="0" * 32, count=1, steps=1), "0" * 32),
    ):
        answer = session.call(request)
        assert not answer.ok and words in answer.message and not answer.continuations
    session.step(HOME)


def test_the_answer_reports_a_policy_that_dies_meanwhile(session: Session) -> None:
    session.reset()
    future = session.ask(ContinueState.Request(count=64, steps=1000))
    session.step(HOME)
    assert session.policy is not None
    session.policy.interrupt()
    session.until(future.done)
    assert not future.result().ok and "polic" in future.result().message
    session.step(HOME)
