"""Labels of episodes: who and when, the newer of two verdicts, and stale after a change."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import SessionRecord, TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.episode_labels import (
    LABEL_FILE,
    EpisodeLabel,
    StaleLabelError,
    fingerprint,
    label_of,
    labels_state,
    newest_beside,
    read_bag_label,
    tree_labels,
    write_bag_label,
)
from hiwm_core.errors import BagError


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    path = tmp_path / "bags" / "ep_0001-b000_e0001"
    path.mkdir(parents=True)
    (path / "ep_0001-b000_e0001.mcap").write_bytes(bytes(range(256)) * 20_000)
    return path


def say(bag: Path, **fields: object) -> EpisodeLabel:
    return write_bag_label(bag, EpisodeLabel(**fields), seen=fingerprint(bag))  # type: ignore[arg-type]


def test_a_label_is_stored_with_who_and_when(bag: Path) -> None:
    assert read_bag_label(bag) is None
    given = say(bag, label="success", progress={40: 1.0, 3: 0.1}, who="anna", note="clean")
    assert given.labelled_ns > 0
    assert read_bag_label(bag) == given
    assert json.loads((bag / LABEL_FILE).read_text())["progress"] == [[3, 0.1], [40, 1.0]]


@pytest.mark.parametrize("change", ["longer", "end", "start"])
def test_a_changed_episode_makes_its_label_stale_and_refuses_a_new_one(
    bag: Path, change: str
) -> None:
    seen = fingerprint(bag)
    say(bag, label="failure", who="anna")
    file = next(bag.glob("*.mcap"))
    data = bytearray(file.read_bytes())
    if change == "longer":
        data += b"x"
    else:
        data[-10 if change == "end" else 10] ^= 1
    file.write_bytes(data)
    with pytest.raises(StaleLabelError, match="anna labelled it"):
        read_bag_label(bag)
    label, problem = label_of(bag)
    assert label == EpisodeLabel() and "changed since" in problem
    with pytest.raises(StaleLabelError, match="look at it again"):
        write_bag_label(bag, EpisodeLabel(label="success"), seen=seen)
    say(bag, label="success")  # after another look
    assert label_of(bag)[0].label == "success"


def test_the_newer_verdict_counts_and_progress_is_kept(bag: Path) -> None:
    earlier = EpisodeLabel(label="failure", who="tree", labelled_ns=1)
    later = EpisodeLabel(label="failure", who="tree", labelled_ns=2**62)
    assert label_of(bag, earlier) == (earlier, "")
    say(bag, label="success", progress={5: 0.5}, who="page")
    assert label_of(bag, earlier)[0].label == "success"
    label, problem = label_of(bag, later)
    assert (label.label, label.who, label.progress, problem) == ("failure", "tree", {5: 0.5}, "")
    # Stale: the older verdict of the branch had been replaced by the stale one.
    next(bag.glob("*.mcap")).write_bytes(b"other")
    assert label_of(bag, earlier)[0].label == ""
    assert label_of(bag, later)[0].label == "failure"


def test_a_verdict_given_after_the_clock_was_set_back_counts(
    bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, branch = bag.parent.parent, "ep_0001-b000"
    with BranchStore(session / "tree.sqlite") as store:
        store.open_session(SessionRecord(session_id="s", world="imagination"))
        store.add_tick(TickRecord(
            stamp_ns=1, epoch=1, step=0, episode_id="ep_0001", branch_id=branch
        ))
        store.label(branch, "failure", who="tree")
        say(bag, label="success", who="page")
        monkeypatch.setattr("time.time_ns", lambda: 1_000)
        store.label(branch, "failure", who="later", after_ns=newest_beside(session, branch))
        with BranchReader(session / "tree.sqlite") as reader:
            in_tree = tree_labels(reader)[branch]
        assert label_of(bag, in_tree)[0].who == "later"
        write_bag_label(
            bag, EpisodeLabel(label="success", who="last"), seen=fingerprint(bag),
            after_ns=in_tree.labelled_ns,
        )
        assert label_of(bag, in_tree)[0].who == "last"
        write_bag_label(bag, EpisodeLabel(label="failure", who="again"), seen=fingerprint(bag))
        assert label_of(bag, in_tree)[0].who == "again"
    assert newest_beside(session, "ep_0001-b001") == 0


def test_the_labels_of_a_tree_are_read_by_branch(tmp_path: Path) -> None:
    with BranchStore(tmp_path / "tree.sqlite") as store:
        store.open_session(SessionRecord(session_id="s", world="imagination"))
        for branch in ("a-b000", "c-b000"):
            store.add_tick(TickRecord(
                stamp_ns=1, epoch=1, step=0, episode_id=branch[0], branch_id=branch
            ))
        store.label("a-b000", "success", "fine", "anna")
    with BranchReader(tmp_path / "tree.sqlite") as reader:
        labels = tree_labels(reader)
    assert (labels["a-b000"].label, labels["a-b000"].who) == ("success", "anna")
    assert labels["a-b000"].labelled_ns > 0 and labels["c-b000"] == EpisodeLabel()


def test_progress_is_known_between_the_first_and_the_last_mark() -> None:
    label = EpisodeLabel(progress={10: 0.2, 20: 1.0})
    values = label.progress_at([5, 10, 15, 20, 21])
    np.testing.assert_allclose(values, [math.nan, 0.2, 0.6, 1.0, math.nan])
    assert np.isnan(EpisodeLabel().progress_at([1, 2])).all()


@pytest.mark.parametrize("content", [
    "", "[]", "{}", '{"version": 2}', "null",
    '{"version": 1, "label": "", "note": "", "who": "", "progress": [[1, 2.0]], '
    '"labelled_ns": 1, "fingerprint": ""}',
    '{"version": 1, "label": "", "note": "", "who": "", "progress": 3, '
    '"labelled_ns": 1, "fingerprint": ""}',
])
def test_a_file_that_is_no_label_is_named_and_not_used(bag: Path, content: str) -> None:
    (bag / LABEL_FILE).write_text(content)
    with pytest.raises(BagError):
        read_bag_label(bag)
    label, problem = label_of(bag)
    assert label == EpisodeLabel() and problem


def test_every_change_of_a_label_changes_the_state(bag: Path) -> None:
    states = {labels_state([bag])}
    say(bag, label="success")
    states.add(labels_state([bag]))
    say(bag, label="failure")
    states.add(labels_state([bag]))
    assert len(states) == 3
