"""A task's file of its studies changes sizes, and nothing that is misnamed is accepted."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from hiwm_core.errors import ConfigError
from hiwm_evaluation.study.budgets import BUDGETS, budget_of, stored_budget
from hiwm_evaluation.study.settings import differing
from hiwm_evaluation.task_study import Speeds, task_study
from hiwm_test_support.shipped import TASK

ROOT = Path(__file__).parents[3]
SHIPPED, RESULTS = ROOT / "config" / "studies", ROOT / "docs" / "results"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a task in a user's own directory."""
    monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path))
    (tmp_path / "studies").mkdir()
    return tmp_path / "studies" / "toy.yaml"


def test_a_task_without_a_file_has_general_sizes() -> None:
    assert task_study("no_such_task").paper is None
    assert budget_of("small", "no_such_task") == BUDGETS["small"]


def test_the_shipped_task_has_general_sizes() -> None:
    """Its committed study was made with them."""
    assert all(budget_of(name, TASK.name) == BUDGETS[name] for name in BUDGETS)


def test_committed_studies_can_be_repeated() -> None:
    """The sizes of a finished block are those of today."""
    kept = [json.loads(path.read_text()) for path in RESULTS.glob("*/*/block.json")]
    assert kept
    for content in kept:
        small = budget_of("small", content["task"])
        assert not differing(content["budget"], json.loads(json.dumps(asdict(small))))


def test_a_file_replaces_sizes_of_one_budget(written: Path) -> None:
    written.write_text(
        "budgets: {small: {trials: 7, agreement: [[3, 4], [5, 6]], with_more_rollouts: []}}\n"
        "speeds: {stand_in: 25}\n"
    )
    assert budget_of("small", "toy") == replace(
        BUDGETS["small"], trials=7, agreement=((3, 4), (5, 6)), with_more_rollouts=()
    )
    assert budget_of("full", "toy") == BUDGETS["full"]
    kept = json.loads(json.dumps(asdict(budget_of("small", "toy"))))
    assert stored_budget(kept, "settings.json") == budget_of("small", "toy")
    assert task_study("toy").speeds == Speeds(stand_in=25)


@pytest.mark.parametrize(("text", "said"), [
    ("budgets: {tiny: {trials: 7}}", "tiny"),
    ("budgets: {small: {trails: 7}}", "did you mean 'trials'"),
    ("budgets: {small: {trials: many}}", "trials"),
    ("speeds: {stand_in: 0}", "stand_in"),
    ("paper: {subject: toy, success_percent: {pi0: {bass: 3}}}", "bass"),
    ("paper: {subject: toy, success_percent: {pi0: {base: 3}}}", "give base, wm-cl and hi-wm"),
])
def test_what_is_misnamed_is_refused(written: Path, text: str, said: str) -> None:
    written.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        budget_of("small", "toy")
    assert "toy.yaml" in str(error.value)


@pytest.mark.parametrize("task", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_shipped_files_fit(task: str) -> None:
    paper = task_study(task).paper
    assert paper is not None
    for rates in paper.success_percent.values():
        assert set(rates) == {"base", "wm-cl", "hi-wm"}
        for percent in rates.values():
            whole = percent * (paper.trials or 34) / 100
            # Every rate of the paper is a whole number of successes, printed with one decimal.
            assert abs(whole - round(whole)) < 0.001 * (paper.trials or 34)
    for name in BUDGETS:
        budget = budget_of(name, task)
        assert budget.demonstrations <= budget.episodes["demonstration"]
        assert max(d for d, _ in budget.agreement) <= budget.episodes["demonstration"]
        assert max(budget.branching) <= budget.operator_frames
        assert budget.operator_frames <= budget.operator_ticks
