"""Rollouts in shards: two shards give one run's results, trial for trial."""

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_evaluation.rollout import command_line
from hiwm_evaluation.rollout.command_line import main
from hiwm_evaluation.rollout.setting import Setting, Wanted, trials
from hiwm_evaluation.rollout.shards import ABORTED, Shard, holds_rollouts, shard
from hiwm_evaluation.rollout.workers import Effort
from hiwm_evaluation.trials import Outcome, TrialResult, read_results
from hiwm_test_support.layered_worlds import write_drawn_checkpoint
from hiwm_test_support.policies import write_untrained_policy
from hiwm_test_support.shipped import TASK

TRIALS = 4


def in_this_process(
    setting: Setting, wanted: Sequence[Wanted], *, processes: int, threads: int,
    on_result: Callable[[int, TrialResult], None],
) -> Effort:
    for policy, result in trials(setting, wanted):
        on_result(policy, result)
    return Effort(steps=0, seconds=0.0)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    policy = write_untrained_policy(folder, load_embodiment(TASK.embodiment))
    return [
        f"--policy=a={policy}", f"--task={TASK.name}", f"--trials={TRIALS}", "--horizon=4",
        f"--world-checkpoint={write_drawn_checkpoint(folder)}", "--batch=1", "--processes=1",
    ]


def results(output: Path) -> dict[int, tuple[Any, ...]]:
    found = read_results(output / "a" / "imagination" / "trials.jsonl")
    return {n: (r.outcome, r.steps, r.best, r.start, r.seed) for n, r in found.items()}


def lines(output: Path) -> list[int]:
    content = (output / "a" / "imagination" / "trials.jsonl").read_text()
    return [json.loads(line)["trial"] for line in content.splitlines()]


def test_two_shards_give_the_results_of_one_run(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_line, "run_trials", in_this_process)
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    assert main([*words, "-o", str(whole)]) == 0
    for part in ("1/2", "2/2", "2/2"):  # the last has nothing left to do
        assert main([*words, "-o", str(shared), "--shard", part]) == 0
    assert lines(shared / "shards" / "2-of-2") == [1, 3]
    capsys.readouterr()
    for _ in range(2):  # taking over twice adds nothing
        assert main([*words, "-o", str(shared)]) == 0
        assert f"{TRIALS} of {TRIALS} are already done" in capsys.readouterr().out
    assert sorted(lines(shared)) == list(range(TRIALS))
    assert results(shared) == results(whole)
    # A shard of other conditions is refused, not mixed in.
    conditions = shared / "shards" / "1-of-2" / "a" / "imagination" / "evaluation.json"
    conditions.write_text(conditions.read_text().replace('"horizon": 4', '"horizon": 5'))
    assert main([*words, "-o", str(shared)]) == 1
    assert "other conditions: horizon 5, now 4" in capsys.readouterr().err


def test_an_aborted_trial_of_a_shard_is_merged_as_aborted(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def aborting(
        setting: Setting, wanted: Sequence[Wanted], *, processes: int, threads: int,
        on_result: Callable[[int, TrialResult], None],
    ) -> Effort:
        for policy, result in trials(setting, wanted):
            bad = result.trial == 1
            on_result(policy, replace(result, outcome=Outcome.ABORTED) if bad else result)
        return Effort(steps=0, seconds=0.0)

    monkeypatch.setattr(command_line, "run_trials", aborting)
    assert main([*words, "-o", str(tmp_path), "--shard", "1/2"]) == 0
    assert main([*words, "-o", str(tmp_path), "--shard", "2/2"]) == ABORTED
    # After jobs, the trial is counted and not run here.
    monkeypatch.setattr(command_line, "submit_shards", lambda *_arguments: None)
    assert main([*words, "-o", str(tmp_path), "--executor", "submitit"]) == ABORTED
    assert sorted(lines(tmp_path)) == list(range(TRIALS))
    assert results(tmp_path)[1][0] is Outcome.ABORTED
    summary = json.loads((tmp_path / "a" / "imagination" / "results.json").read_text())
    assert (summary["trials"], summary["aborted"]) == (TRIALS - 1, 1)
    assert "incomplete: 1 trials were aborted" in capsys.readouterr().err
    # Without jobs, it is run again here.
    monkeypatch.setattr(command_line, "run_trials", in_this_process)
    assert main([*words, "-o", str(tmp_path)]) == 0
    assert results(tmp_path)[1][0] is not Outcome.ABORTED


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2"])
def test_a_text_that_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="i/n with i from 1 to n"):
        shard(text)


def test_shards_share_all_trials_and_a_foreign_folder_is_none_of_rollouts(tmp_path: Path) -> None:
    parts = [Shard(number=i, count=3) for i in (1, 2, 3)]
    assert all(sum(part.has(trial) for part in parts) == 1 for trial in range(10))
    parts[0].folder(tmp_path).mkdir(parents=True)
    assert holds_rollouts(tmp_path)
    (tmp_path / "thesis.txt").write_text("years")
    assert not holds_rollouts(tmp_path)


@pytest.mark.parametrize(("option", "message"), [
    ("--slurm=gpu", "give KEY=VALUE"), ("--shards=0", "--shards"), ("--job-minutes=0", "minutes"),
])
def test_a_wrong_submission_is_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, message: str
) -> None:
    command = [*words, "-o", str(tmp_path / "out"), "--executor=submitit", option]
    assert main(command) == 1
    assert message in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("submitit") is not None, reason="it is installed")
def test_without_submitit_the_way_out_is_named(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "-o", str(tmp_path / "out"), "--executor=submitit"]) == 1
    assert "pip install submitit; or start each shard yourself" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is optional")
def test_submitit_runs_the_shards_as_processes_where_there_is_no_slurm(
    words: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert main([*words, "-o", str(output), "--executor=submitit", "--shards=2"]) == 0
    assert sorted(lines(output)) == list(range(TRIALS))
    assert {path.name for path in (output / "shards").iterdir()} == {"1-of-2", "2-of-2"}
