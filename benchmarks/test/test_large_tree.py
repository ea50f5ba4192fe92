"""The large tree of the benchmark is one that a branch manager could have written, only smaller."""

from pathlib import Path

from hiwm_benchmarks.large_tree import BRANCHES, LENGTH, write_large_tree
from hiwm_benchmarks.session_size import session_size
from hiwm_core.branch_records import BranchKind, TickRecord
from hiwm_core.branch_store import BranchStore

STATES = 2 * BRANCHES * LENGTH


def test_a_large_tree_is_paged_continued_and_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "tree.sqlite"
    write_large_tree(path, STATES)
    store = BranchStore(path)
    seen, revision = 0, 0
    while revision < store.revision:
        page = store.page(revision, 700)
        seen, revision = seen + len(page.nodes), page.revision
    assert seen == STATES
    assert len(store.line(f"old_000001-b003:{LENGTH // 2 + LENGTH}")) == LENGTH // 2 + 1 + LENGTH
    for step in range(30):
        store.add_tick(TickRecord(
            stamp_ns=step + 1, epoch=1, step=step, episode_id="ep_0001", branch_id="ep_0001-b000",
            state_id=f"s{step}",
        ))
    # The present episode, in part, without a look at the others.
    present = store.present_episode(20)
    assert [node.step for node in present.nodes] == list(range(10, 30))
    assert [branch.branch_id for branch in present.branches] == ["ep_0001-b000"]
    assert present.head_id == "ep_0001-b000:29"
    assert [node.step for node in store.newest(3)] == [27, 28, 29]
    target = store.node_steps_back(store.head_id, 5)
    branch = store.next_branch_id(target.episode_id)
    store.plan_branch(branch, target.node_id, BranchKind.ROLLBACK)
    store.begin_branch(branch, 2)
    assert store.head_id == target.node_id
    assert [node.rolled_back for node in store.newest(6)] == [False, *[True] * 5]
    store.close()
    assert session_size(tmp_path)["ticks"] == STATES + 30
