"""A study is not continued with other settings, and its starts do not overlap."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hiwm_core.errors import ConfigError, StoreError
from hiwm_core.tasks import parse_task
from hiwm_evaluation.study.budgets import BUDGETS
from hiwm_evaluation.study.settings import (
    SETTINGS_FILE,
    StudySettings,
    differing,
    require_same_blocks,
    require_same_work,
    require_separate_starts,
)
from hiwm_test_support.shipped import POLICY, TASK, WORLD_MODEL

BUDGET = BUDGETS["small"]
SETTINGS = StudySettings(
    task=TASK.name, budget=BUDGET, world=WORLD_MODEL, command="scripts/reproduce", software="1",
    rate_hz=10.0,
)


def begin(folder: Path, settings: StudySettings = SETTINGS, weights: str = "") -> None:
    require_same_work(folder, settings, trains=False, weights=weights)


def test_the_same_settings_continue_a_study(tmp_path: Path) -> None:
    begin(tmp_path)
    before = (tmp_path / SETTINGS_FILE).read_text()
    begin(tmp_path)
    assert (tmp_path / SETTINGS_FILE).read_text() == before
    # The weights are known only after the block `tune`.
    begin(tmp_path, weights="rac")
    begin(tmp_path)
    with pytest.raises(StoreError, match="weights 'rac', now 'sirius'"):
        begin(tmp_path, weights="sirius")


@pytest.mark.parametrize(("changed", "said"), [
    (replace(SETTINGS, budget=replace(BUDGET, trials=50)), "budget.trials 100, now 50"),
    (replace(SETTINGS, budget=replace(BUDGET, seeds=(0, 2))), r"budget.seeds \[0, 1\], now"),
    (replace(SETTINGS, world=POLICY), "world '"),
    (replace(SETTINGS, task="other"), "task "),
])
def test_changed_settings_of_a_half_done_study_are_refused(
    tmp_path: Path, changed: StudySettings, said: str
) -> None:
    begin(tmp_path)
    before = (tmp_path / SETTINGS_FILE).read_text()
    with pytest.raises(StoreError, match=said):
        begin(tmp_path, changed)
    assert (tmp_path / SETTINGS_FILE).read_text() == before


def test_a_study_that_trained_its_world_model_is_not_continued_with_a_given_one(
    tmp_path: Path,
) -> None:
    trained = replace(SETTINGS, world=tmp_path / "not_trained_yet.safetensors")
    require_same_work(tmp_path, trained, trains=True, weights="")
    require_same_work(tmp_path, trained, trains=True, weights="")
    with pytest.raises(StoreError, match="world 'trained by the study', now"):
        begin(tmp_path)


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text("{")
    with pytest.raises(StoreError, match=SETTINGS_FILE):
        begin(tmp_path)


def test_a_command_with_other_settings_than_the_finished_blocks_is_refused(tmp_path: Path) -> None:
    block = SETTINGS.common("rac") | {"block": "act-s0"}
    run = {"block": "this run of act-s1"}
    require_same_blocks(tmp_path, [block, SETTINGS.common("rac") | run])
    require_same_blocks(tmp_path, [block, SETTINGS.common("") | run])
    changed = replace(SETTINGS, budget=replace(BUDGET, post_steps=9))
    with pytest.raises(StoreError, match="act-s0 and this run of act-s1 differ in budget.post_st"):
        require_same_blocks(tmp_path, [block, changed.common("rac") | run])


def test_only_what_both_sides_have_differs() -> None:
    assert differing({"a": {"b": 1, "c": 2}, "d": ""}, {"a": {"b": 3}, "d": "x"}) == ["a.b"]
    assert json.loads(json.dumps(SETTINGS.common("rac"))) == SETTINGS.common("rac")


def test_starts_that_overlap_between_choices_and_the_report_are_refused() -> None:
    require_separate_starts(TASK, BUDGET)
    ranges = "{x_m: [0.1, 0.1], yaw_rad: [0.0, 0.0]}"
    narrow = parse_task(
        "{name: toy_task, instruction: go home, embodiment: planar_bimanual, horizon_steps: 300,"
        f" starts: {{ranges: {ranges}}}}}", "toy_task.yaml",
    )
    with pytest.raises(ConfigError, match=r"choices and the report share a start: x_m 0\.100"):
        require_separate_starts(narrow, BUDGET)
