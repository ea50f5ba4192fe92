"""A study trains the family of the shipped world model, and refuses checkpoints that do not fit."""

import shutil
from pathlib import Path

import pytest

from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_core.tasks import load_task
from hiwm_evaluation.study import __main__ as command
from hiwm_evaluation.study.budgets import BUDGETS
from hiwm_evaluation.study.policies import blocks
from hiwm_evaluation.study.stages import Plan
from hiwm_evaluation.study.worlds import checked_world, shipped_family
from hiwm_test_support.latent_worlds import write_untrained_checkpoint
from hiwm_test_support.shipped import POLICY, TASK, WORLD_MODEL

ROOT = Path(__file__).parents[3]


def test_the_family_is_that_of_the_shipped_world_model(tmp_path: Path) -> None:
    assert shipped_family(ROOT, TASK.name) == "layered"
    assert shipped_family(ROOT, "a_task_without_one") == "latent"
    (tmp_path / "models").mkdir()
    write_untrained_checkpoint(tmp_path / "models", name=f"world_{TASK.name}.safetensors")
    assert shipped_family(tmp_path, TASK.name) == "latent"
    plan = Plan(tmp_path, tmp_path / "work", TASK, BUDGETS["small"])
    (stage,) = (s for s in plan.stages(blocks(BUDGETS["small"])[1]) if s.name == "world")
    words = " ".join(stage.command)
    assert "--family latent" in words and "--robot-steps 2500" in words


def test_a_latent_world_model_of_the_task_is_accepted(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path)
    assert checked_world(path, TASK, "--world-model") == path
    assert checked_world(WORLD_MODEL, TASK, "--world-model") == WORLD_MODEL


def test_what_is_no_world_model_of_the_task_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        checked_world(tmp_path / "none", TASK, "--world-model")
    with pytest.raises(CheckpointError, match="not a world model"):
        checked_world(POLICY, TASK, "--world-model")
    other = write_untrained_checkpoint(tmp_path, embodiment_hash="0" * 64)
    with pytest.raises(CheckpointError, match="trained for embodiment"):
        checked_world(other, TASK, "--world-model")
    blind = write_untrained_checkpoint(tmp_path, heads=("trust",))
    with pytest.raises(CheckpointError, match="cannot judge success"):
        checked_world(blind, TASK, "--world-model")
    monkeypatch.setenv("HIWM_ROOT", str(ROOT))
    shutil.copyfile(POLICY, tmp_path / "policy.safetensors")
    words = [TASK.name, "--world-model", str(WORLD_MODEL), "--folder", str(tmp_path / "work")]
    assert command.main([*words, "--other-world", str(tmp_path / "policy.safetensors")]) == 1
    assert "--other-world" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_a_world_model_of_another_task_is_refused() -> None:
    for path in sorted((ROOT / "config" / "tasks").glob("*.yaml")):
        task = load_task(path.stem)
        if task.name != TASK.name:
            with pytest.raises(CheckpointError):
                checked_world(WORLD_MODEL, task, "--world-model")
