"""Proposals of `hiwm_core.fork_proposals`."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.branch_records import Label, Node
from hiwm_core.control import Source
from hiwm_core.fork_proposals import WINDOW_STEPS, propose_forks


def node(step: int, branch: str = "b0", parent: str | None = None, **fields: object) -> Node:
    values: dict = {
        "node_id": f"{branch}:{step}",
        "parent_id": parent if parent is not None else (f"{branch}:{step - 1}" if step else ""),
        "episode_id": "ep",
        "branch_id": branch,
        "epoch": 1,
        "step": step,
        "state_id": f"{step:032x}",
        "stamp_ns": step,
        "source": Source.POLICY if step else Source.NONE,
        "device": "",
        "action": (),
        "trust": 1.0,
        "progress": math.nan,
        "success": math.nan,
        "label": Label.NONE,
        "note": "",
        "pinned": False,
        "rolled_back": False,
        "discarded": False,
        "takeover": False,
    }
    return Node(**(values | fields))


def line(count: int, **fields: object) -> list[Node]:
    return [node(step, **fields) for step in range(count)]


def test_a_quiet_line_has_no_proposal() -> None:
    assert propose_forks(line(60, progress=0.3), 5) == []
    assert propose_forks([], 5) == []


def test_the_start_lies_before_the_fall_of_trust_where_frames_can_be_trusted() -> None:
    nodes = line(60)
    for step in range(30, 60):
        nodes[step] = replace(nodes[step], trust=0.3)
    best = propose_forks(nodes, 1)[0]
    assert 30 - WINDOW_STEPS <= int(best.node_id.split(":")[1]) < 30
    assert "low trust: 1.00 falls to 0.30" in best.reason


def test_a_world_model_without_heads_proposes_only_what_people_did() -> None:
    """NaN is neither a fall nor a trust of 0."""
    nodes = [
        replace(n, trust=math.nan, source=Source.HUMAN if n.step > 30 else n.source)
        for n in line(50)
    ]
    best = propose_forks(nodes, 1)[0]
    assert "a takeover" in best.reason and best.score > 0.0
    assert "trust" not in best.reason and "progress" not in best.reason
    assert propose_forks([replace(n, trust=math.nan) for n in line(60)], 5) == []


def test_falling_progress_is_found_and_rising_progress_is_not() -> None:
    rising = [replace(n, progress=n.step / 60) for n in line(60)]
    assert propose_forks(rising, 3) == []
    falling = [replace(n, progress=n.progress - 0.4 * (n.step >= 40)) for n in rising]
    best = propose_forks(falling, 1)[0]
    assert 40 - WINDOW_STEPS <= int(best.node_id.split(":")[1]) < 40
    assert "falling progress" in best.reason


def test_a_takeover_is_proposed_a_reaction_before_it() -> None:
    nodes = [replace(n, source=Source.HUMAN) if n.step > 30 else n for n in line(50)]
    best = propose_forks(nodes, 1)[0]
    assert 22 <= int(best.node_id.split(":")[1]) <= 28
    assert "before a takeover" in best.reason


def test_a_takeover_that_ended_in_a_rollback_at_once_counts_too() -> None:
    nodes = [replace(n, takeover=n.step == 30) for n in line(31)]
    assert "before a takeover" in propose_forks(nodes, 1)[0].reason


def test_the_actions_of_a_person_do_not_count_against_a_state() -> None:
    nodes = [
        replace(n, source=Source.HUMAN, progress=1 - n.step / 50) if n.step else n for n in line(50)
    ]
    assert propose_forks(nodes, 5) == []


def test_reasons_add_up() -> None:
    nodes = [replace(n, takeover=n.step == 30) for n in line(31)]
    alone = propose_forks(nodes, 1)[0]
    both = [replace(n, trust=0.5) if n.step >= 28 else n for n in nodes]
    together = propose_forks(both, 1)[0]
    assert together.score > alone.score
    assert "low trust" in together.reason and "takeover" in together.reason


def test_proposals_are_not_neighbours() -> None:
    nodes = line(200)
    for fall in (50, 120, 180):
        for step in range(fall, fall + 10):
            nodes[step] = replace(nodes[step], trust=0.2)
    steps = sorted(int(p.node_id.split(":")[1]) for p in propose_forks(nodes, 10))
    assert len(steps) >= 3
    assert all(b - a > WINDOW_STEPS for a, b in zip(steps, steps[1:], strict=False))


def test_separation_is_counted_along_the_tree() -> None:
    """Two branches of one fork fail at the same step, far from each other along the tree."""
    nodes = line(11)
    for branch in ("b1", "b2"):
        nodes += [
            node(
                step,
                branch,
                parent="b0:10" if step == 11 else None,
                trust=0.2 if step >= 40 else 1.0,
            )
            for step in range(11, 45)
        ]
    branches = {p.node_id.split(":")[0] for p in propose_forks(nodes, 2)}
    assert branches == {"b1", "b2"}


def test_a_state_already_continued_comes_after_one_that_was_not() -> None:
    nodes = [replace(n, takeover=n.step in (30, 80)) for n in line(81)]
    best = propose_forks(nodes, 2)
    first = best[0].node_id
    nodes.append(node(int(first.split(":")[1]) + 1, "b1", parent=first, source=Source.HUMAN))
    again = propose_forks(nodes, 200, separation_steps=0)
    scores = {p.node_id: p for p in again}
    assert scores[first].score < best[0].score and "already continued" in scores[first].reason


@pytest.mark.parametrize("fields", [{"discarded": True}, {"state_id": ""}])
def test_what_cannot_be_continued_is_not_proposed(fields: dict) -> None:
    nodes = [replace(n, takeover=n.step == 30, **fields) for n in line(31)]
    assert propose_forks(nodes, 5) == []


UNIT = st.floats(0, 1) | st.just(math.nan)


@settings(deadline=None)
@given(st.data())
def test_any_tree_gives_scores_in_order_and_apart(data: st.DataObject) -> None:
    nodes: list[Node] = []
    for index in range(data.draw(st.integers(0, 60))):
        parent = data.draw(st.sampled_from(nodes)) if index and data.draw(st.booleans()) else None
        previous = nodes[-1] if nodes and parent is None else parent
        nodes.append(
            node(
                index,
                parent=previous.node_id if previous else "",
                trust=data.draw(st.floats(0, 1)),
                progress=data.draw(UNIT),
                source=data.draw(st.sampled_from(list(Source))),
                takeover=data.draw(st.booleans()),
            )
        )
    count = data.draw(st.integers(0, 8))
    proposals = propose_forks(nodes, count)
    scores = [p.score for p in proposals]
    assert len(proposals) <= count
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert all(p.reason for p in proposals)
    assert len({p.node_id for p in proposals}) == len(proposals)
