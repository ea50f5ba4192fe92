"""The guarantees of `hiwm_core.branch_store`."""

import math
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hiwm_core.branch_records import BranchKind, Label, Node, TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.control import Source
from hiwm_core.errors import StoreError

sys.path.insert(0, str(Path(__file__).parent))
from counting_world import CountingWorld  # noqa: E402


@pytest.fixture
def store(tmp_path: Path) -> BranchStore:
    return BranchStore(tmp_path / "tree.sqlite")


@pytest.fixture
def world(store: BranchStore) -> CountingWorld:
    world = CountingWorld(store)
    world.reset()
    return world


def steps(nodes: list[Node]) -> list[int]:
    return [node.step for node in nodes]


def left_behind(store: BranchStore) -> set[str]:
    return {node.node_id for node in store.tree() if node.rolled_back}


def names(branch: str, first: int, last: int) -> set[str]:
    return {f"{branch}:{step}" for step in range(first, last + 1)}


B0, B1, B2 = "ep_0001-b000", "ep_0001-b001", "ep_0001-b002"


def test_a_tick_comes_back_as_a_node(world: CountingWorld, store: BranchStore) -> None:
    world.go(
        action=(0.1, -0.25),
        source=Source.HUMAN,
        device="keyboard",
        trust=0.75,
        progress=0.5,
        state_id="ab" * 16,
    )
    node = store.node(f"{B0}:1")
    assert node == Node(
        node_id=f"{B0}:1",
        parent_id=f"{B0}:0",
        episode_id="ep_0001",
        branch_id=B0,
        epoch=1,
        step=1,
        state_id="ab" * 16,
        stamp_ns=2,
        source=Source.HUMAN,
        device="keyboard",
        action=(0.1, -0.25),
        trust=0.75,
        progress=0.5,
        success=node.success,
        label=Label.NONE,
        note="",
        pinned=False,
        rolled_back=False,
        discarded=False,
        takeover=False,
    )
    assert math.isnan(node.success)
    assert store.head_id == node.node_id and store.head_branch_id == B0
    assert store.node(f"{B0}:0").parent_id == "" and store.node(f"{B0}:0").action == ()


def test_a_repeated_tick_changes_nothing(world: CountingWorld, store: BranchStore) -> None:
    world.step = 1
    tick = world.tick()
    assert store.add_tick(tick)
    revision = store.revision
    assert not store.add_tick(tick)
    assert store.revision == revision and len(store.tree()) == 2


def test_a_state_shown_again_with_a_new_stamp_is_the_same_node(
    world: CountingWorld, store: BranchStore
) -> None:
    """A waiting world repeats its state for late subscribers."""
    shown = store.node(f"{B0}:0")
    assert not store.add_tick(world.tick(state_id=shown.state_id))
    assert store.tree() == [shown]


def test_rollback_marks_what_it_leaves_and_nothing_else(
    world: CountingWorld, store: BranchStore
) -> None:
    world.go(10)
    assert world.restore(f"{B0}:6", BranchKind.ROLLBACK) == B1
    assert store.head_id == f"{B0}:6" and store.head_branch_id == B1
    assert left_behind(store) == names(B0, 7, 10)
    world.go(3)
    assert store.node(f"{B1}:7").parent_id == f"{B0}:6"
    assert steps(store.line(f"{B1}:9")) == list(range(10))
    # Back across the fork point: the rest of the first branch goes too, its ancestors stay.
    world.restore(f"{B0}:4", BranchKind.ROLLBACK)
    assert left_behind(store) == names(B0, 5, 10) | names(B1, 7, 9)
    branch = store.branch(B2)
    assert (branch.parent_branch_id, branch.fork_node_id, branch.kind) == (
        B0,
        f"{B0}:4",
        BranchKind.ROLLBACK,
    )


def test_forks_leave_each_other_alone(world: CountingWorld, store: BranchStore) -> None:
    world.go(5)
    for number in range(1, 4):
        assert world.restore(f"{B0}:5", BranchKind.FORK) == f"ep_0001-b{number:03d}"
        world.go(4)
    assert left_behind(store) == set()
    children = [node.node_id for node in store.tree() if node.parent_id == f"{B0}:5"]
    assert children == [f"ep_0001-b{number:03d}:6" for number in range(1, 4)]


def test_a_rollback_spares_the_root_of_a_living_continuation(
    world: CountingWorld, store: BranchStore
) -> None:
    world.go(5)
    world.restore(f"{B0}:5", BranchKind.FORK)
    world.go(4)
    world.restore(f"{B0}:5", BranchKind.FORK)
    world.go(2)
    world.restore(f"{B0}:2", BranchKind.ROLLBACK)
    assert left_behind(store) == names(B2, 6, 7)


def test_continuing_from_a_rolled_back_state_clears_the_mark(
    world: CountingWorld, store: BranchStore
) -> None:
    world.go(10)
    world.restore(f"{B0}:3", BranchKind.ROLLBACK)
    world.go(2)
    world.restore(f"{B0}:8", BranchKind.FORK)
    assert left_behind(store) == names(B0, 9, 10)


def test_a_late_tick_of_the_abandoned_line_is_rolled_back_too(
    world: CountingWorld, store: BranchStore
) -> None:
    world.go(5)
    world.step = 6
    late = world.tick()
    world.restore(f"{B0}:2", BranchKind.ROLLBACK)
    store.add_tick(late)
    assert store.head_id == f"{B0}:2" and store.head_branch_id == B1
    assert left_behind(store) == names(B0, 3, 6)


def test_the_first_tick_of_a_branch_begins_it_as_well_as_the_answer(
    world: CountingWorld, store: BranchStore
) -> None:
    world.go(5)
    world.restore(f"{B0}:2", BranchKind.ROLLBACK, announced=False)
    store.begin_branch(B1, world.epoch)
    assert store.branch(B1).kind is BranchKind.ROLLBACK
    assert left_behind(store) == names(B0, 3, 5)
    assert len(store.tree()) == 6


def test_a_refused_branch_leaves_no_trace(world: CountingWorld, store: BranchStore) -> None:
    world.go(5)
    before = store.tree()
    store.plan_branch(B1, f"{B0}:2", BranchKind.ROLLBACK)
    assert store.next_branch_id("ep_0001") == B2
    store.drop_plan(B1)
    assert store.tree() == before and store.next_branch_id("ep_0001") == B1
    assert store.revision == len(before) + 1  # nodes and a branch; invisible changes do not count
    with pytest.raises(StoreError, match="never planned"):
        store.begin_branch(B1, 2)


def test_rollback_stays_within_an_episode(world: CountingWorld, store: BranchStore) -> None:
    world.go(2)
    world.reset()
    with pytest.raises(
        StoreError, match="is in episode ep_0001, but the world is in ep_0002.*fork"
    ):
        store.plan_branch("ep_0001-b001", f"{B0}:1", BranchKind.ROLLBACK)
    world.restore(f"{B0}:1", BranchKind.FORK)
    assert store.head_id == f"{B0}:1" and left_behind(store) == set()


def test_steps_back_go_through_fork_points(world: CountingWorld, store: BranchStore) -> None:
    world.go(5)
    world.restore(f"{B0}:3", BranchKind.FORK)
    world.go(2)
    assert store.node_steps_back(f"{B1}:5", 0).node_id == f"{B1}:5"
    assert store.node_steps_back(f"{B1}:5", 2).node_id == f"{B0}:3"
    assert store.node_steps_back(f"{B1}:5", 5).node_id == f"{B0}:0"
    assert steps(store.ancestors(f"{B1}:5")) == [4, 3, 2, 1, 0]
    with pytest.raises(StoreError, match="6 steps back were requested, but only 5 exist"):
        store.node_steps_back(f"{B1}:5", 6)
    with pytest.raises(StoreError, match="only 0 exist.*first state"):
        store.node_steps_back(f"{B0}:0", 1)


def test_labels_and_discards_show_on_every_node_of_their_branch(
    world: CountingWorld, store: BranchStore
) -> None:
    world.go(2)
    world.restore(f"{B0}:1", BranchKind.FORK)
    world.go(2)
    revision = store.revision
    store.label(B1, Label.SUCCESS, "slid in", "anna")
    store.discard(B0)
    assert {(n.branch_id, n.label, n.note, n.discarded) for n in store.tree()} == {
        (B0, Label.NONE, "", True),
        (B1, Label.SUCCESS, "slid in", False),
    }
    page = store.page(revision, 100)
    assert {branch.branch_id for branch in page.branches} == {B0, B1} and not page.nodes
    labelled = store.branch(B1)
    assert labelled.labelled_by == "anna" and labelled.labelled_ns > 0
    assert {n.branch_id for n in store.tree(include_discarded=False)} == {B1}
    assert len(store.tree()) == 5
    store.discard(B0, restore=True)
    assert len(store.tree(include_discarded=False)) == 5
    with pytest.raises(StoreError, match="no branch 'b9'.*branches/list"):
        store.label("b9", Label.FAILURE)


def test_pins_and_takeovers_are_marked_once(world: CountingWorld, store: BranchStore) -> None:
    world.go(1, state_id="cd" * 16)
    assert store.pin("cd" * 16, "look here")
    assert not store.pin("cd" * 16) and not store.pin("ef" * 16)
    store.mark_takeover(f"{B0}:1")
    revision = store.revision
    store.mark_takeover(f"{B0}:1")
    node = store.node(f"{B0}:1")
    assert node.pinned and node.takeover and node.note == "look here"
    assert store.revision == revision


def test_without_saved_states_the_line_is_still_stored(store: BranchStore) -> None:
    world = CountingWorld(store, can_save=False)
    world.reset()
    world.go(3)
    world.reset()
    assert steps(store.line(f"{B0}:3")) == [0, 1, 2, 3]
    assert store.head_id == "ep_0002-b000:0"


def test_a_world_that_reuses_names_is_refused(world: CountingWorld, store: BranchStore) -> None:
    world.go(3)
    before = store.tree()
    again = CountingWorld(store)
    again.stamp = 1000
    with pytest.raises(StoreError, match="another tick of that name.*session_dir"):
        again.reset()
    again.step = 3
    with pytest.raises(StoreError):
        again.go()  # step 4 is free, but its parent would be the other run's step 3
    assert store.tree() == before


class TestMissedTicks:
    """The manager was down while the world continued."""

    def test_on_the_same_branch(self, world: CountingWorld, store: BranchStore) -> None:
        world.go(3)
        world.step = 8
        world.go(2)
        node = store.node(f"{B0}:9")
        assert node.parent_id == f"{B0}:3" and "5 ticks" in node.note
        assert store.node(f"{B0}:10").note == ""

    def test_with_the_answer_but_not_the_first_ticks_of_a_branch(
        self, world: CountingWorld, store: BranchStore
    ) -> None:
        world.go(5)
        store.plan_branch(B1, f"{B0}:2", BranchKind.ROLLBACK)
        world.branch, world.epoch, world.step = B1, 2, 4
        world.go()
        node = store.node(f"{B1}:5")
        assert node.parent_id == f"{B0}:2" and "2 ticks" in node.note
        assert left_behind(store) == names(B0, 3, 5)

    def test_an_unknown_branch_is_identified_by_the_state_it_repeats(
        self, world: CountingWorld, store: BranchStore
    ) -> None:
        world.go(5)
        world.branch, world.epoch, world.step = "ep_0001-b007", 2, 2
        store.add_tick(world.tick(state_id=store.node(f"{B0}:2").state_id, action=()))
        assert store.head_id == f"{B0}:2" and store.head_branch_id == "ep_0001-b007"
        world.go()
        assert store.node("ep_0001-b007:3").parent_id == f"{B0}:2"
        assert store.next_branch_id("ep_0001") == "ep_0001-b008"

    def test_an_unknown_branch_in_mid_run_gets_a_guessed_parent_and_a_note(
        self, world: CountingWorld, store: BranchStore
    ) -> None:
        world.go(5)
        world.branch, world.epoch, world.step = "ep_0001-b007", 2, 3
        world.go()
        node = store.node("ep_0001-b007:4")
        assert node.parent_id == f"{B0}:3" and "guess" in node.note

    def test_an_episode_seen_from_its_middle_has_a_root_there(
        self, world: CountingWorld, store: BranchStore
    ) -> None:
        world.episode, world.branch, world.epoch, world.step = 2, "ep_0002-b000", 2, 6
        world.go()
        node = store.node("ep_0002-b000:7")
        assert node.parent_id == "" and "7 ticks" in node.note


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("go"), st.integers(1, 4)),
        st.tuples(st.just("rollback"), st.integers(0, 10**6)),
        st.tuples(st.just("fork"), st.integers(0, 10**6)),
        st.tuples(st.just("reset"), st.just(0)),
        st.tuples(st.just("late"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(acts=ACTS, announced=st.booleans())
def test_any_run_of_ticks_rollbacks_and_forks_keeps_the_tree(
    acts: list[tuple[str, int]], announced: bool
) -> None:
    """Compare with a model that knows only parents and the nodes that each rollback abandoned."""
    with tempfile.TemporaryDirectory() as folder:
        world  = CountingWorld(BranchStore(Path(folder) / "tree.sqlite"))
        world.reset()
        marked: set[str] = set()
        for act, number in acts:
            store = world.store
            head = store.node(store.head_id)
            if act == "go":
                world.go(number)
            elif act == "reset":
                world.reset()
            elif act == "late":
                world.store.add_tick(_late(world))
                continue
            elif act == "reopen":
                store.close()
                world.store = BranchStore(store.path)
            else:
                choice = [n for n in store.tree() if n.episode_id == head.episode_id]
                target = choice[number % len(choice)]
                abandoned = {n.node_id for n in store.line(head.node_id)}
                kept = {n.node_id for n in store.line(target.node_id)}
                if act == "rollback":
                    for node in reversed(store.line(head.node_id)):
                        children = {n.node_id for n in store.tree() if n.parent_id == node.node_id}
                        if node.node_id in abandoned - kept and children <= marked:
                            marked.add(node.node_id)
                marked -= kept
                world.restore(target.node_id, BranchKind(act), announced=announced)
                assert world.store.head_id == target.node_id
        tree = world.store.tree()
        by_id = {node.node_id: node for node in tree}
        assert len(by_id) == len(tree)
        for node in tree:
            line = world.store.line(node.node_id)
            assert [n.step for n in line] == list(range(node.step + 1))
            assert line[0].parent_id == "" and line[-1] == node
            assert all(b.parent_id == a.node_id for a, b in zip(line, line[1:], strict=False))
            assert {n.episode_id for n in line} == {node.episode_id}
            parent = by_id.get(node.parent_id)
            assert (parent is None) == (node.step == 0)
            assert node.rolled_back or parent is None or not parent.rolled_back
        assert left_behind(world.store) == marked
        assert not world.store.node(world.store.head_id).rolled_back
        world.store.close()


def _late(world: CountingWorld) -> TickRecord:
    """Repeat the newest tick of the store, as a slow topic might."""
    node = max(world.store.tree(), key=lambda n: n.stamp_ns)
    return TickRecord(
        stamp_ns=node.stamp_ns,
        epoch=node.epoch,
        step=node.step,
        episode_id=node.episode_id,
        branch_id=node.branch_id,
        state_id=node.state_id,
    )
