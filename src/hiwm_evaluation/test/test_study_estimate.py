"""The estimate of a study's duration follows its sizes, and its blocks fit."""

from pathlib import Path

import pytest

from hiwm_core.tasks import load_task
from hiwm_evaluation.study.__main__ import main
from hiwm_evaluation.study.budgets import budget_of
from hiwm_evaluation.study.estimate import block_minutes, stage_minutes
from hiwm_evaluation.study.policies import blocks
from hiwm_evaluation.study.stages import Plan, Stage
from hiwm_evaluation.task_study import Speeds, task_study
from hiwm_test_support.shipped import TASK, WORLD_MODEL

ROOT = Path(__file__).parents[3]
TASKS = sorted(path.stem for path in (ROOT / "config" / "studies").glob("*.yaml"))


def test_minutes_are_steps_over_speed() -> None:
    speeds = Speeds(training=2.0, graph=10.0)
    trained, ran, other = (
        Stage(name=name, command=(), leaves=(), work=work)
        for name, work in (("a", ("training", 1200)), ("b", ("graph", 600)), ("c", None))
    )
    assert stage_minutes(trained, speeds) == 10.0
    assert stage_minutes(ran, speeds) == 2.0  # a graph needs two cores
    assert block_minutes([trained, ran, other], speeds, 2) == 6.0


@pytest.mark.parametrize("name", TASKS)
def test_small_blocks_fit_in_150_minutes_on_two_cores(name: str, tmp_path: Path) -> None:
    task, budget = load_task(name), budget_of("small", name)
    plan = Plan(ROOT, tmp_path, task, budget, world=WORLD_MODEL, weights="rac")
    minutes = {
        block.name: block_minutes(plan.stages(block), task_study(name).speeds, 2)
        for block in blocks(budget)
    }
    assert all(0 < estimate <= 150 for estimate in minutes.values()), minutes
    assert sum(minutes.values()) <= 16 * 60


def test_the_list_has_the_estimate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIWM_ROOT", str(ROOT))
    words = [TASK.name, "--budget", "smoke", "--folder", str(tmp_path), "--list"]
    assert main([*words, "--block", "tune"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("tune: about ") and shown[0].endswith(" min")
    assert shown[-1].startswith("about ") and " h with 2 stages in parallel" in shown[-1]
