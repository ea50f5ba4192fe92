"""The folder of an evaluation: it survives a kill and refuses to mix conditions."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from hiwm_core.config_files import default_task
from hiwm_core.errors import ConfigError, StoreError
from hiwm_core.tasks import load_task
from hiwm_evaluation.trials import (
    Outcome,
    TrialFolder,
    TrialResult,
    duration_text,
    read_results,
    read_starts,
    sampled_starts,
    seconds_left,
    summarize,
    summary_line,
)

TASK = load_task(default_task())
CONDITIONS = {"world": "imagination", "seed": 3, "horizon": 300}
NAMES = TASK.start_names
STARTS = sampled_starts(TASK, 3, 4)


def result(trial: int, outcome: Outcome = Outcome.SUCCESS, **changes: Any) -> TrialResult:
    fields: dict[str, Any] = {
        "trial": trial, "start": STARTS[trial], "seed": trial, "outcome": outcome, "reason": "",
        "steps": 10 * (trial + 1), "best": 0.9, "judged_by": "ground truth",
        "policy": "push 12345678", "episode_id": "ep_0001", "seconds": 1.5,
    }
    return TrialResult(**(fields | changes))


def test_results_are_restored_and_aborted_trials_are_run_again(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)
    folder.append(result(0))
    folder.append(result(1, Outcome.ABORTED, reason="no tick"))
    folder.append(result(2, Outcome.FAILURE))
    again = TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)
    assert again.results == folder.results
    assert again.finished == {0, 2}
    again.append(result(1))
    assert TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES).finished == {0, 1, 2}


@pytest.mark.parametrize("kept", [0, 1, 40])
def test_a_trial_whose_line_was_cut_by_a_kill_is_run_again(tmp_path: Path, kept: int) -> None:
    folder = TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)
    folder.append(result(0))
    lines = tmp_path / "trials.jsonl"
    whole = lines.read_bytes()
    lines.write_bytes(whole + whole[:kept])
    again = TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)
    assert again.finished == {0}
    again.append(result(1))
    assert TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES).finished == {0, 1}
    assert len(lines.read_text().splitlines()) == 2


def test_a_trial_from_before_trust_was_recorded_has_none(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)
    folder.append(result(0, trust=0.7))
    folder.append(result(1))
    folder.close()
    lines = tmp_path / "trials.jsonl"
    lines.write_text(lines.read_text().replace(', "trust": null', ""))
    assert [found.trust for found in read_results(lines).values()] == [0.7, None]


def test_results_are_read_while_a_line_is_being_written(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)
    folder.append(result(0, Outcome.ABORTED))
    folder.append(result(0))
    lines = tmp_path / "trials.jsonl"
    lines.write_bytes(lines.read_bytes() + b'{"trial": 1')
    assert read_results(lines) == {0: result(0)}
    assert lines.read_bytes().endswith(b'{"trial": 1')


@pytest.mark.parametrize("line", ["{}", "not json", '{"trial": 0}'])
def test_a_damaged_complete_line_is_named(tmp_path: Path, line: str) -> None:
    TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES).append(result(0))
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(StoreError, match="line 2"):
        TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)


@pytest.mark.parametrize("name", ["evaluation.json", "starts.yaml"])
@pytest.mark.parametrize("content", [b"", bytes(50), b"[", b"[]", b"\xff\xfe", b"5"])
def test_damaged_conditions_and_starts_are_named_and_kept(
    tmp_path: Path, name: str, content: bytes
) -> None:
    for folder in ("ours", "theirs"):
        TrialFolder(tmp_path / folder, CONDITIONS, STARTS, NAMES).append(result(0))
    ours = TrialFolder(tmp_path / "ours", CONDITIONS, STARTS, NAMES)
    path = tmp_path / "theirs" / name
    path.write_bytes(content)
    for use in (
        lambda: TrialFolder(path.parent, CONDITIONS, STARTS, NAMES),
        lambda: ours.take_over(path.parent),
    ):
        with pytest.raises((StoreError, ConfigError)) as caught:
            use()
        assert str(path) in str(caught.value)
        assert path.read_bytes() == content


def test_other_conditions_are_refused_by_name(tmp_path: Path) -> None:
    TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)
    with pytest.raises(StoreError, match="horizon 300, now 200"):
        TrialFolder(tmp_path, CONDITIONS | {"horizon": 200}, STARTS, NAMES)


def test_other_starts_are_refused_and_more_of_the_same_are_not(tmp_path: Path) -> None:
    TrialFolder(tmp_path, CONDITIONS, STARTS[:2], NAMES)
    with pytest.raises(StoreError, match="other starts"):
        TrialFolder(tmp_path, CONDITIONS, STARTS[1:], NAMES)
    TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)
    assert read_starts(tmp_path / "starts.yaml", 4, NAMES) == STARTS
    TrialFolder(tmp_path, CONDITIONS, STARTS[:1], NAMES)
    assert read_starts(tmp_path / "starts.yaml", 4, NAMES) == STARTS


def test_tiny_numbers_survive_being_written(tmp_path: Path) -> None:
    starts = [(1e-06, -1e-06, 0.0)]
    TrialFolder(tmp_path, CONDITIONS, starts, NAMES)
    TrialFolder(tmp_path, CONDITIONS, starts, NAMES)
    assert read_starts(tmp_path / "starts.yaml", 1, NAMES) == starts


def test_sampled_starts_repeat_and_share_a_prefix() -> None:
    assert sampled_starts(TASK, 3, 2) == STARTS[:2]
    assert sampled_starts(TASK, 4, 2) != STARTS[:2]


@pytest.mark.parametrize("text", ["", "a: 1", "- [0, 0]", "- [0, 0, .nan]", "- [0, 0, 0", "- 1"])
def test_a_file_that_is_not_a_list_of_starts_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "starts.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="starts.yaml"):
        read_starts(path, 1, NAMES)


def test_too_few_starts_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "starts.yaml"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_starts(path, 1, NAMES)
    path.write_text("- [0, 0.1, 1]\n")
    assert read_starts(path, 1, NAMES) == [(0.0, 0.1, 1.0)]
    with pytest.raises(ConfigError, match="contains 1 starts, 2 are needed"):
        read_starts(path, 2, NAMES)


def test_a_summary_leaves_aborted_trials_out(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)
    for trial, outcome in enumerate(
        (Outcome.SUCCESS, Outcome.FAILURE, Outcome.ABORTED, Outcome.SUCCESS)
    ):
        folder.append(result(trial, outcome))
    summary = folder.write_summary()
    assert json.loads((tmp_path / "results.json").read_text()) == summary
    assert (summary["successes"], summary["trials"], summary["aborted"]) == (2, 3, 1)
    assert summary["mean_steps_to_success"] == 25
    assert summary["conditions"] == {"format": 2, **CONDITIONS}
    line = summary_line(summary)
    assert "2/3 (67 %)" in line and "21 to 94 %" in line and "1 aborted" in line


def test_a_summary_of_nothing_has_no_rate() -> None:
    assert summarize([])["success_rate"] is None
    assert "0/0" in summary_line(summarize([]))


def test_a_label_counts_and_the_old_verdict_stays_in_the_file(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)
    folder.append(result(0))
    folder.append(result(1, Outcome.ABORTED, reason="no tick"))
    folder.label(0, False, "person anna", "the cube stood on the rim")
    for kept in (folder, TrialFolder(tmp_path, CONDITIONS, STARTS, NAMES)):
        found = kept.results[0]
        assert (found.outcome, found.judged_by) == (Outcome.FAILURE, "person anna")
        assert found.reason == "the cube stood on the rim (before: success by ground truth)"
        assert kept.finished == {0}
        summary = kept.write_summary()
        assert (summary["successes"], summary["judged_by"]) == (0, ["person anna"])
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 3
    again = folder.label(0, True, "person ben", "")
    assert "failure by person anna" in again.reason and again.outcome is Outcome.SUCCESS
    with pytest.raises(StoreError, match="trial 1 was aborted, no tick"):
        folder.label(1, True, "person anna", "")
    with pytest.raises(StoreError, match="trial 2 has not been run"):
        folder.label(2, True, "person anna", "")


def test_the_time_left_follows_from_the_trials_so_far() -> None:
    assert math.isnan(seconds_left([], 4, 3.0))
    so_far = [result(0, seconds=20.0), result(1, seconds=40.0)]
    assert seconds_left(so_far, 3, 10.0) == 80.0
    assert seconds_left(so_far, 3, 1000.0) == 60.0  # the current one is late, the others are not
    assert seconds_left(so_far, 0, 10.0) == 0.0
    texts = [duration_text(seconds) for seconds in (math.nan, 0.4, 89.0, 600.0, 9000.0)]
    assert texts == [
        "", "about 1 s left", "about 89 s left", "about 10 min left", "about 2.5 h left"
    ]
