"""People's labels of recordings, from a session's tree and from its evaluation."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hiwm_core.branch_records import TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.episode_labels import EpisodeLabel, fingerprint, write_bag_label
from hiwm_learning.datasets.person_labels import PersonLabels


def segment(session: Path, branch: str) -> Any:
    bag = session / "bags" / branch
    bag.mkdir(parents=True, exist_ok=True)
    lineage = SimpleNamespace(branch_id=branch, episode_id=branch.split("-")[0])
    return SimpleNamespace(path=bag, lineage=lineage)


def write_tree(session: Path, labels: dict[str, str]) -> None:
    session.mkdir(parents=True, exist_ok=True)
    store = BranchStore(session / "tree.sqlite")
    for epoch, (branch, label) in enumerate(labels.items(), 1):
        store.add_tick(TickRecord(
            stamp_ns=epoch, epoch=epoch, step=0, episode_id=branch.split("-")[0], branch_id=branch,
        ))
        if label:
            store.label(branch, label, who="anna")
    store.close()


def write_trials(session: Path, *lines: dict[str, Any]) -> None:
    folder = session / "evaluation"
    folder.mkdir(parents=True)
    (folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def trial(number: int, outcome: str, judge: str) -> dict[str, Any]:
    return {
        "trial": number, "episode_id": f"ep_000{number}", "outcome": outcome, "judged_by": judge,
        "start": [0.1, 0.2, 0.3],
    }


def test_a_branch_has_the_label_of_the_tree(tmp_path: Path) -> None:
    write_tree(tmp_path, {"ep_0001-b000": "success", "ep_0002-b000": ""})
    labels = PersonLabels(print)
    assert labels.of(segment(tmp_path, "ep_0001-b000")).label == "success"
    assert labels.of(segment(tmp_path, "ep_0002-b000")).label == ""


def test_a_label_beside_a_bag_is_used_with_its_progress(tmp_path: Path) -> None:
    one = segment(tmp_path, "ep_0001-b000")
    (one.path / "ep_0001-b000.mcap").write_bytes(b"bag")
    said = EpisodeLabel(label="failure", progress={3: 0.5}, who="anna")
    write_bag_label(one.path, said, seen=fingerprint(one.path))
    found = PersonLabels(print).of(one)
    assert (found.label, found.progress, found.who) == ("failure", {3: 0.5}, "anna")


def test_a_trial_has_the_last_verdict_of_a_person_and_no_other_judges(tmp_path: Path) -> None:
    write_trials(
        tmp_path, trial(0, "failure", "person"), trial(1, "success", "success head"),
        trial(2, "failure", "success head"), trial(2, "success", "person ben"),
    )
    labels = PersonLabels(print)
    found = [labels.of(segment(tmp_path, f"ep_000{i}-b000")).label for i in range(4)]
    assert found == ["failure", "", "success", ""]


def test_the_label_of_a_branch_overrules_the_verdict_of_its_trial(tmp_path: Path) -> None:
    write_tree(tmp_path, {"ep_0001-b000": "failure", "ep_0001-b001": ""})
    write_trials(tmp_path, trial(1, "success", "person"))
    labels = PersonLabels(print)
    assert labels.of(segment(tmp_path, "ep_0001-b000")).label == "failure"
    assert labels.of(segment(tmp_path, "ep_0001-b001")).label == "success"


def test_an_unreadable_evaluation_is_reported_once_and_left_out(tmp_path: Path) -> None:
    write_trials(tmp_path, {"trial": 1, "start": [], "outcome": "success", "episode_id": ""})
    lines: list[str] = []
    labels = PersonLabels(lines.append)
    assert {labels.of(segment(tmp_path, f"ep_000{i}-b000")).label for i in range(3)} == {""}
    (line,) = lines
    assert "trials.jsonl" in line and "judged_by" in line


def test_a_line_that_a_kill_cut_short_costs_no_other_verdict(tmp_path: Path) -> None:
    write_trials(tmp_path, trial(0, "failure", "person"))
    with (tmp_path / "evaluation" / "trials.jsonl").open("a") as file:
        file.write('{"trial": 1, "episo')
    assert PersonLabels(print).of(segment(tmp_path, "ep_0000")).label == "failure"
