"""The branch manager in its own process, with a world and a client in this one."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from hiwm_interfaces.msg import Branch, BranchNode, BranchTree, Command, ControlState
from hiwm_interfaces.srv import Continue, Discard, Fork, Label, ListBranches, Propose, Rollback
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from hiwm_core.blob_store import BlobStore
from hiwm_core.branch_reader import BranchReader
from hiwm_core.ros_domains import domain_id
from hiwm_nodes.qos import LATCHED
from hiwm_test_support.nodes import NodeProcess, spin_until

sys.path.insert(0, str(Path(__file__).parent))
from fake_world import FakeWorld  # noqa: E402

pytestmark = pytest.mark.nodes

B0, B1, B2 = "ep_0001-b000", "ep_0001-b001", "ep_0001-b002"


class Session:
    """A world, a manager process, and a client that builds the tree from its increments."""

    def __init__(self, folder: Path, *, hardware: bool = False, **parameters: Any) -> None:
        self.folder = folder
        self.domain = domain_id()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.world = FakeWorld(self.context, hardware=hardware)
        self.person = rclpy.create_node("person", context=self.context)
        self.executor.add_node(self.world)
        self.executor.add_node(self.person)
        self.control = self.person.create_publisher(ControlState, "control_state", LATCHED)
        self.known: dict[str, BranchNode] = {}
        self.revision = -1
        self.gaps = 0
        self.head = ""
        # Latched as for every client: the first change may come before the topics are matched.
        self.person.create_subscription(BranchTree, "branches/tree", self._on_tree, QoSProfile(
            depth=100, reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        ))
        self.parameters = {"session_dir": str(folder), **parameters}
        self.manager: NodeProcess
        self.start_manager()

    def start_manager(self) -> None:
        self.manager = NodeProcess(
            "hiwm_branching", "branch_manager", domain=self.domain, parameters=self.parameters
        )
        self.until(
            lambda: (
                self.world.count_subscribers("tick") == 1
                and self.person.count_publishers("branches/tree") == 1
                and self.control.get_subscription_count() == 1
            )
        )

    def _on_tree(self, tree: BranchTree) -> None:
        if self.revision >= 0 and tree.since > self.revision:
            self.gaps += 1
        self.revision, self.head = tree.revision, tree.head_id
        self.known |= {node.node_id: node for node in tree.nodes}

    def until(self, predicate: Callable[[], bool]) -> None:
        assert spin_until(self.executor, predicate), self.manager.output

    def until_head(self, node_id: str) -> None:
        """Wait for a node; repeat its tick for a manager that has just started."""
        deadline = time.monotonic() + 30.0
        while self.head != node_id and time.monotonic() < deadline:
            self.world.repeat()
            self.executor.spin_once(timeout_sec=0.05)
        assert self.head == node_id, self.manager.output

    def reset(self) -> None:
        self.world.reset()
        self.until_head(f"{self.world.branch}:0")

    def call(self, service_type: Any, name: str, **fields: Any) -> Any:
        client = self.person.create_client(service_type, f"branches/{name}")
        self.until(client.service_is_ready)
        future = client.call_async(service_type.Request(**fields))
        self.until(future.done)
        self.person.destroy_client(client)
        return future.result()

    def nodes(self) -> dict[str, BranchNode]:
        """The listed nodes."""
        return {node.node_id: node for page in self.listed() for node in page.nodes}

    def branches(self) -> dict[str, Branch]:
        """The listed branches."""
        return {branch.branch_id: branch for page in self.listed() for branch in page.branches}

    def labels(self) -> dict[str, str]:
        """The label of each listed branch."""
        return {name: branch.label for name, branch in self.branches().items()}

    def listed(self) -> list[BranchTree]:
        """The listed tree, in pages of at most seven nodes and branches."""
        pages = [self._page(0)]
        while pages[-1].revision < pages[-1].latest:
            pages.append(self._page(pages[-1].revision))
        return pages

    def _page(self, since: int) -> BranchTree:
        """One page; retries while a killed manager still looks alive to DDS."""
        client = self.person.create_client(ListBranches, "branches/list")
        self.until(client.service_is_ready)
        for _ in range(10):
            future = client.call_async(ListBranches.Request(since=since, limit=7))
            if spin_until(self.executor, future.done, 3.0):
                break
        self.person.destroy_client(client)
        assert future.done(), self.manager.output
        answer = future.result()
        assert answer.ok and answer.tree.since == since
        assert len(answer.tree.nodes) + len(answer.tree.branches) <= 7
        return answer.tree

    def close(self) -> None:
        self.manager.__exit__(None, None, None)
        self.executor.shutdown()
        self.person.destroy_node()
        self.world.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def open_session(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    sessions: list[Session] = []

    def make(**parameters: Any) -> Session:
        sessions.append(Session(tmp_path, **parameters))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


@pytest.fixture
def session(open_session: Callable[..., Session]) -> Session:
    """A session in imagination at step 10."""
    session = open_session()
    session.reset()
    session.world.go(10)
    session.until_head(f"{B0}:10")
    return session


def test_rollback_restores_the_world_and_marks_the_abandoned_nodes(session: Session) -> None:
    answer = session.call(Rollback, "rollback", steps=4)
    assert answer.ok, answer.message
    assert (answer.node_id, answer.branch_id, answer.step) == (f"{B0}:6", B1, 6)
    assert answer.epoch == session.world.epoch == 2
    assert session.world.restored == [(session.known[f"{B0}:6"].state_id, B1, "ep_0001")]
    session.world.go(2)
    session.until_head(f"{B1}:8")
    nodes = session.nodes()
    assert {name for name, node in nodes.items() if node.rolled_back} == {
        f"{B0}:{step}" for step in range(7, 11)
    }
    assert nodes[f"{B1}:7"].parent_id == f"{B0}:6"
    # A client that applied the increments has the same tree.
    assert session.known == nodes and session.gaps == 0
    # To a node by name, across the fork point.
    answer = session.call(Rollback, "rollback", node_id=f"{B0}:3")
    assert answer.ok and session.world.step == 3 and session.world.branch == B2


def test_one_state_is_continued_many_times(session: Session) -> None:
    failure = f"{B0}:7"
    for number in range(1, 4):
        answer = session.call(Fork, "fork", node_id=failure)
        assert answer.ok, answer.message
        assert (answer.branch_id, answer.step) == (f"ep_0001-b{number:03d}", 7)
        session.world.go(3, source=Command.SOURCE_HUMAN)
        session.until_head(f"{answer.branch_id}:10")
    nodes = session.nodes()
    assert {n.node_id for n in nodes.values() if n.parent_id == failure} == {
        f"{B0}:8",
        *(f"ep_0001-b{number:03d}:8" for number in range(1, 4)),
    }
    assert not any(node.rolled_back for node in nodes.values())
    assert len({state for state, _, _ in session.world.restored}) == 1


def test_concurrent_forks_each_get_a_branch(session: Session) -> None:
    client = session.person.create_client(Fork, "branches/fork")
    session.until(client.service_is_ready)
    futures = [client.call_async(Fork.Request(node_id=f"{B0}:5")) for _ in range(3)]
    session.until(lambda: all(future.done() for future in futures))
    answers = [future.result() for future in futures]
    assert all(answer.ok for answer in answers)
    assert sorted(answer.branch_id for answer in answers) == [
        f"ep_0001-b{number:03d}" for number in range(1, 4)
    ]


def test_a_rollback_in_the_middle_of_a_run_abandons_late_ticks(session: Session) -> None:
    """The world steps between the request and its response, as in the middle of a chunk."""
    client = session.person.create_client(Rollback, "branches/rollback")
    session.until(client.service_is_ready)
    future = client.call_async(Rollback.Request(node_id=f"{B0}:2"))
    while not session.world.restored:
        session.world.go()
        session.executor.spin_once(timeout_sec=0.002)
    last = max(session.world._steps.values())
    session.until(future.done)
    session.world.go()
    session.until_head(f"{B1}:3")
    nodes = session.nodes()
    assert {name for name, node in nodes.items() if node.rolled_back} == {
        f"{B0}:{step}" for step in range(3, last + 1)
    }


def test_the_world_continues_a_node_and_the_tree_is_unchanged(session: Session) -> None:
    before = session.nodes()
    for node, named in ((f"{B0}:4", f"{B0}:4"), ("", f"{B0}:10")):
        answer = session.call(
            Continue, "continue", node_id=node, count=3, steps=20, seed=7, frames=2
        )
        assert answer.ok, answer.message
        assert answer.node_id == named
        assert [one.seed for one in answer.continuations] == [7, 8, 9]
        sent = session.world.continued[-1]
        assert sent.state_id == before[named].state_id
        assert (sent.count, sent.steps, sent.seed, sent.frames) == (3, 20, 7, 2)
    session.world.refusal = "cancelled"
    refused = session.call(Continue, "continue", count=3, steps=20)
    assert not refused.ok and "cancelled" in refused.message
    assert session.nodes() == before and session.world.restored == []


def test_an_impossible_request_is_refused_with_a_remedy(session: Session) -> None:
    before = session.nodes()
    cases: list[tuple[Any, str, dict[str, Any], list[str]]] = [
        (Rollback, "rollback", {"steps": 11}, ["11 steps back", "only 10 exist"]),
        (Rollback, "rollback", {"steps": 0}, ["0 steps changes nothing", "branches/fork"]),
        (Rollback, "rollback", {"node_id": "b9:3"}, ["no node 'b9:3'", "branches/list"]),
        (Fork, "fork", {"node_id": "b9:3"}, ["no node 'b9:3'", "branches/list"]),
        (Continue, "continue", {"node_id": "b9:3"}, ["no node 'b9:3'", "branches/list"]),
        (Label, "label", {"branch_id": "b9", "label": "success"}, ["no branch 'b9'"]),
        (Label, "label", {"label": "splendid"}, ["'splendid' is not a label", "success, failure"]),
        (Discard, "discard", {"branch_id": "b9"}, ["no branch 'b9'"]),
    ]
    for service, name, fields, words in cases:
        answer = session.call(service, name, **fields)
        assert not answer.ok
        assert all(word in answer.message for word in words), answer.message
    assert session.nodes() == before and session.world.restored == []


def test_on_hardware_it_refuses_and_still_records_the_branch(
    open_session: Callable[..., Session],
) -> None:
    session = open_session(hardware=True)
    session.reset()
    session.world.go(5)
    session.until_head(f"{B0}:5")
    for service, name in ((Rollback, "rollback"), (Fork, "fork")):
        answer = session.call(service, name, node_id=f"{B0}:3")
        assert not answer.ok
        for words in (f"{name} is not possible on hardware", "standin", "by hand", "world/reset"):
            assert words in answer.message
    answer = session.call(Continue, "continue", count=2, steps=5)
    assert not answer.ok
    for words in (
        "not possible on hardware", "standin", "continue from here", "world:=imagination"
    ):
        assert words in answer.message
    assert session.world.restored == session.world.continued == []
    assert session.call(Label, "label", label="failure", note="slipped").ok
    assert session.labels() == {B0: "failure"}


def test_a_refusing_world_is_quoted_and_nothing_changes(session: Session) -> None:
    before = session.nodes()
    session.world.refusal = "this state is of another checkpoint: load that one"
    answer = session.call(Rollback, "rollback", steps=2)
    assert not answer.ok and session.world.refusal in answer.message
    assert session.nodes() == before
    session.world.refusal = ""
    assert session.call(Rollback, "rollback", steps=2).branch_id == B1


def test_a_silent_world_is_reported_after_the_timeout_and_its_late_restore_is_stored(
    open_session: Callable[..., Session],
) -> None:
    session = open_session(world_timeout_s=0.5, continue_timeout_s=0.5)
    session.reset()
    session.world.go(5)
    session.until_head(f"{B0}:5")
    before = session.nodes()
    session.executor.remove_node(session.world)  # alive, but not responding
    answer = session.call(Rollback, "rollback", steps=3)
    assert not answer.ok and "did not respond within 0.5 s" in answer.message
    answer = session.call(Continue, "continue", count=2, steps=5)
    assert not answer.ok and "did not respond within 0.5" in answer.message
    assert session.nodes() == before
    # It recovers and handles the request.
    session.executor.add_node(session.world)
    session.until(lambda: bool(session.world.restored))
    session.world.go()
    session.until_head(f"{B1}:3")
    nodes = session.nodes()
    assert nodes[f"{B1}:3"].parent_id == f"{B0}:2"
    assert nodes[f"{B0}:5"].rolled_back


def test_a_missing_world_is_reported(open_session: Callable[..., Session]) -> None:
    session = open_session(world_timeout_s=0.3)
    answer = session.call(Rollback, "rollback", steps=1)
    assert not answer.ok and ("no state yet" in answer.message or "announced" in answer.message)
    session.reset()
    session.world.go()
    session.until_head(f"{B0}:1")
    session.world.destroy_service(session.world.service)
    answer = session.call(Rollback, "rollback", steps=1)
    assert not answer.ok and "no world offers" in answer.message


@pytest.mark.slow  # DDS takes 20 s to drop a killed process
def test_killed_and_restarted_it_continues(session: Session) -> None:
    assert session.call(Fork, "fork", node_id=f"{B0}:4").ok
    session.world.go(2)
    session.until_head(f"{B1}:6")
    before, revision = session.nodes(), session.revision
    session.manager.kill9()
    session.until(lambda: session.world.count_subscribers("tick") == 0)
    session.world.go(3)  # nobody receives these
    session.start_manager()
    assert session.nodes() == before and session.revision == revision
    session.world.go()
    session.until_head(f"{B1}:10")
    nodes = session.nodes()
    assert nodes[f"{B1}:10"].parent_id == f"{B1}:6"
    assert "3 ticks" in nodes[f"{B1}:10"].note
    assert session.call(Rollback, "rollback", node_id=f"{B1}:5").branch_id == B2
    # A restarted world is a new root.
    session.reset()
    session.until_head("ep_0002-b000:0")
    assert session.gaps == 0


def test_killed_during_a_restore_it_places_the_next_tick(session: Session) -> None:
    client = session.person.create_client(Rollback, "branches/rollback")
    session.until(client.service_is_ready)
    session.world.before_answer = session.manager.kill9
    client.call_async(Rollback.Request(steps=4))
    session.until(lambda: bool(session.world.restored))
    session.start_manager()
    session.world.go()
    session.until_head(f"{B1}:7")
    nodes = session.nodes()
    assert nodes[f"{B1}:7"].parent_id == f"{B0}:6"
    assert [s for s in range(11) if nodes[f"{B0}:{s}"].rolled_back] == [7, 8, 9, 10]


def test_labels_discards_and_pins_reach_the_tree(session: Session) -> None:
    assert session.call(Label, "label", label="success", note="in").ok
    assert session.call(Fork, "fork").ok
    session.world.go()
    session.until_head(f"{B1}:11")
    assert session.call(Discard, "discard", branch_id=B0).ok
    branches = session.branches()
    assert branches[B0].discarded and not branches[B1].discarded
    assert session.labels() == {B0: "success", B1: ""}
    assert session.call(Discard, "discard", branch_id=B0, restore=True).ok
    states = BlobStore(session.folder / "states")
    state_id = states.put_state({"x": np.zeros(3)}, {})
    states.pin(state_id, "keep")
    session.world.step += 1
    session.world.send(source=Command.SOURCE_POLICY, action=[0.0], state_id=state_id)
    session.until(lambda: f"{B1}:12" in session.known)
    states.pin(state_id, "keep this")  # again, after the tick was stored
    session.until(lambda: session.known[f"{B1}:12"].pinned)


def test_proposals_give_their_reasons(session: Session) -> None:
    assert "nothing stands out" in session.call(Propose, "propose", count=3).message
    session.world.go(20)
    session.until_head(f"{B0}:30")
    session.until(lambda: session.control.get_subscription_count() > 0)
    # It names the tick of the takeover; the world is two steps past it.
    session.control.publish(
        ControlState(mode=ControlState.HUMAN, epoch=session.world.epoch, step=28)
    )
    session.until(lambda: len(session.call(Propose, "propose", count=3).node_ids) > 0)
    with BranchReader(session.folder / "tree.sqlite") as reader:
        assert [node.node_id for node in reader.tree() if node.takeover] == [f"{B0}:28"]
    answer = session.call(Propose, "propose", count=3)
    assert answer.ok and "before a takeover" in answer.reasons[0]
    assert 20 <= int(answer.node_ids[0].split(":")[1]) < 30
    assert list(answer.scores) == sorted(answer.scores, reverse=True)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: {}, "no session folder"),
        (lambda folder: {"session_dir": str(folder), "world_timeout_s": -1.0}, "world_timeout_s"),
        (lambda folder: {"session_dir": str(_corrupted(folder))}, "not a database"),
    ],
)
def test_an_error_at_startup_is_one_line(
    tmp_path: Path, make: Callable[[Path], dict], words: str
) -> None:
    with NodeProcess(
        "hiwm_branching", "branch_manager", domain=domain_id(), parameters=make(tmp_path)
    ) as process:
        assert process.wait() == 1
        lines = [line for line in process.output.splitlines() if line]
    assert len(lines) == 1 and words in lines[0] and lines[0].startswith("error: ")


def _corrupted(folder: Path) -> Path:
    (folder / "tree.sqlite").write_text("not a tree " * 100)
    return folder
