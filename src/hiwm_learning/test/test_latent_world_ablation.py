"""Objectives side by side: one autoencoder for all, nothing made twice, a table that tells."""

import json
from pathlib import Path
from typing import Any

import pytest

from hiwm_learning.latent_world import ablation
from hiwm_learning.latent_world.objectives import OBJECTIVES
from hiwm_test_support.latent_worlds import write_untrained_checkpoint


def numbers(psnr: float, place: float | None) -> dict[str, Any]:
    one = {"psnr_db": psnr, "place_median_T": place, "whole_share": 0.5}
    horizon = {"n": 3, "imagined": one, "bound": one, "copy": one}
    return {
        "horizons": {step: horizon for step in ablation.HORIZONS},
        "latency": {"1": {"p50_ms_per_state": 12.3}},
        "measure": {"columns": [
            {"key": "place_median_T", "title": "place, T", "form": ".3f"},
            {"key": "whole_share", "title": "whole", "form": ".2f"},
        ]},
    }


def test_every_objective_shares_the_autoencoder_and_is_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, evaluated = [], []

    def run(command: list[str], **_: object) -> None:
        if "hiwm_learning.world_model.evaluate" in command:
            path = Path(command[3])
            evaluated.append(path.stem)
            (tmp_path / f"{path.stem}.evaluation.json").write_text(json.dumps(numbers(20, 0.1)))
            return
        work = Path(command[command.index("--work") + 1])
        objective = command[command.index("--objective") + 1]
        trained.append((objective, (work / "autoencoder.pt").exists()))
        work.mkdir(exist_ok=True)
        (work / "autoencoder.pt").touch()
        output = Path(command[command.index("--output") + 1])
        write_untrained_checkpoint(tmp_path, name=output.name)

    monkeypatch.setattr(ablation.subprocess, "run", run)
    words = ["data", "--folder", str(tmp_path)]
    assert ablation.main(words) == 0
    assert [name for name, _ in trained] == list(OBJECTIVES)
    assert [found for _, found in trained] == [False, True, True, True]
    assert ablation.main(words) == 0
    assert len(trained) == len(evaluated) == len(OBJECTIVES)
    assert f"| {next(iter(OBJECTIVES))} | 20.0 / 20.0 / 20.0 |" in capsys.readouterr().out


def test_a_lost_t_is_said_to_be_lost() -> None:
    table = {"flow": {"numbers": numbers(18.25, None), "minutes": 3.0}}
    assert "| flow | 18.2 / 18.2 / 18.2 | lost / lost / lost |" in ablation.markdown(table)
