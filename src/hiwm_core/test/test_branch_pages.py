"""Pages of a tree's changes: readers that follow the rule of BranchTree.msg always converge."""

import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import Branch, BranchKind, Node, TreePage
from hiwm_core.branch_store import BranchStore

sys.path.insert(0, str(Path(__file__).parent))
from counting_world import CountingWorld  # noqa: E402

LIMIT = 4


class Reader:
    """A copy of the tree, by the rule of BranchTree.msg."""

    def __init__(self) -> None:
        self.revision = self.latest = 0
        self.head_id = ""
        self.nodes: dict[str, Node] = {}
        self.branches: dict[str, Branch] = {}

    def apply(self, page: TreePage) -> None:
        assert len(page.nodes) + len(page.branches) <= LIMIT
        self.latest = max(self.latest, page.latest)
        if page.since <= self.revision < page.revision:
            self.nodes |= {node.node_id: node for node in bare(page.nodes)}
            self.branches |= {branch.branch_id: branch for branch in page.branches}
            self.revision, self.head_id = page.revision, page.head_id


def change(world: CountingWorld, act: str, number: int) -> None:
    """Change the tree in one of the ways that a session does."""
    store = world.store
    nodes = [n for n in store.tree() if n.episode_id == store.node(store.head_id).episode_id]
    chosen = nodes[number % len(nodes)]
    acts: dict[str, Callable[[], object]] = {
        "go": lambda: world.go(1 + number % 9),
        "reset": world.reset,
        "rollback": lambda: world.restore(chosen.node_id, BranchKind.ROLLBACK),
        "fork": lambda: world.restore(chosen.node_id, BranchKind.FORK),
        "label": lambda: store.label(chosen.branch_id, f"label{number % 3}", "", "anna"),
        "discard": lambda: store.discard(chosen.branch_id, restore=bool(number % 2)),
        "pin": lambda: store.pin(chosen.state_id, "keep"),
        "takeover": lambda: store.mark_takeover(chosen.node_id),
    }
    acts[act]()


ACTS = ["go", "go", "reset", "rollback", "fork", "label", "discard", "pin", "takeover"]


@settings(max_examples=60, deadline=None)
@given(
    acts=st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 50)), max_size=25),
    seed=st.integers(0, 2**16),
)
def test_readers_converge_whatever_is_lost_repeated_or_out_of_order(
    acts: list[tuple[str, int]], seed: int
) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        world = CountingWorld(BranchStore(Path(folder) / "tree.sqlite"))
        world.reset()
        reader, sent, flying = Reader(), 0, []
        for act, number in acts:
            change(world, act, number)
            page = world.store.page(sent, LIMIT)
            sent = page.latest
            # As the branch manager does: a change of several pages is only announced.
            flying.append(page if page.revision == sent else world.store.page(sent, LIMIT))
            rng.shuffle(flying)
            while flying and rng.random() < 0.6:
                if rng.random() < 0.7:
                    reader.apply(flying[-1])
                if rng.random() < 0.8:
                    flying.pop()
            if reader.revision < reader.latest and rng.random() < 0.5:
                answer = world.store.page(reader.revision, LIMIT)
                if rng.random() < 0.7:
                    reader.apply(answer)
        with BranchReader(world.store.path) as stored:
            reader.apply(stored.page(stored.revision, LIMIT))  # the latched newest message
            while reader.revision < reader.latest:
                reader.apply(stored.page(reader.revision, LIMIT))
            assert reader.nodes == {node.node_id: node for node in bare(stored.tree())}
            assert reader.branches == {one.branch_id: one for one in stored.branches()}
            assert (reader.head_id, reader.revision) == (stored.head_id, stored.revision)
        world.store.close()


def bare(nodes: list[Node]) -> list[Node]:
    """Nodes without what they repeat of their branch, whose changes are sent once."""
    return [replace(node, label="", note=node.node_note, discarded=False) for node in nodes]


def test_a_tree_is_read_in_pages_that_share_nothing(tmp_path: Path) -> None:
    world = CountingWorld(BranchStore(tmp_path / "tree.sqlite"))
    world.reset()
    world.go(99)
    seen: list[str] = []
    revision, pages = 0, 0
    while revision < world.store.revision:
        page = world.store.page(revision, 7)
        assert page.since == revision < page.revision
        seen += [node.node_id for node in page.nodes]
        revision, pages = page.revision, pages + 1
    assert seen == [node.node_id for node in world.store.tree()]
    assert pages == pytest.approx(101 / 7, abs=1)
    assert world.store.page(revision, 7).nodes == []
