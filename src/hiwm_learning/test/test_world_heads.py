"""A head that was never trained says nothing, in either family; the shipped model has all."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError
from hiwm_core.world_heads import HEADS, require_success_head
from hiwm_learning.checkpoints import load_checkpoint, save_checkpoint
from hiwm_learning.world_models import train as world_model_train
from hiwm_learning.world_models.evaluation.scores import outcome
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.layered import appearance, heads, train
from hiwm_learning.world_models.recordings import heads_line, outcome_heads
from hiwm_test_support.latent_worlds import (
    write_untrained_checkpoint,
)
from hiwm_test_support.layered_worlds import (
    drawn_recording,
    drawn_world_model,
    write_drawn_checkpoint,
)
from hiwm_test_support.shipped import TASK, WORLD_MODEL

EMBODIMENT = load_embodiment(TASK.embodiment)


def said(path: Path) -> dict[str, float]:
    """Return what a checkpoint's world says of its first start and of two steps from there."""
    simulator, _ = load_simulator(path, EMBODIMENT)
    with np.load(path.with_name(path.stem + "_starts.npz")) as starts:
        state = simulator.begin(starts["images"][0], starts["proprioception"][0], 0)
    home = np.array(EMBODIMENT.home)
    for _ in range(2):
        state, _ = simulator.step(state, home)
    (read,) = simulator.read_many([state])
    seen = simulator.observe(state)
    values = {name: getattr(read, name) for name in HEADS}
    assert np.array_equal(
        [getattr(seen, name) for name in HEADS], list(values.values()), equal_nan=True
    )
    assert simulator.heads == {name for name, value in values.items() if not math.isnan(value)}
    return values


def _solved(progress: torch.Tensor) -> torch.Tensor:
    return torch.where(progress.isnan(), progress, (progress >= 0.9).float())


def trained_layered(folder: Path, monkeypatch: pytest.MonkeyPatch, *labels: float) -> Path:
    """Train a layered model for two steps on drawn recordings whose frames take these labels."""
    model = drawn_world_model(EMBODIMENT)
    recordings = [
        dataclasses.replace(
            drawn_recording(model, f"data/{k}", 8, seed=k, held_out=k == 3),
            progress_labels=torch.tensor(labels).repeat(8)[:8],
            success_labels=_solved(torch.tensor(labels).repeat(8)[:8]),
        )
        for k in range(4)
    ]
    monkeypatch.setattr(train, "read_recordings", lambda *_: recordings)
    monkeypatch.setattr(appearance, "FIT_STEPS", 8)
    monkeypatch.setattr(train, "fit_head", lambda *given: heads.fit_head(*given, steps=20))
    path = folder / "world.safetensors"
    options = ["--task", TASK.name, "--steps", "2", "--hidden", "8"]
    data = folder / "data"
    data.mkdir()
    assert world_model_train.main([str(data), "-o", str(path), *options]) == 0
    return path


def test_a_layered_model_trained_without_labels_says_nothing_of_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained_layered(tmp_path, monkeypatch, math.nan)
    assert load_checkpoint(path).info.heads == ("trust",)
    values = said(path)
    assert math.isnan(values["success"]) and math.isnan(values["progress"])
    assert 0.0 < values["trust"] <= 1.0
    line = "will say nothing of progress and success: no bag has ground truth"
    assert line in capsys.readouterr().out
    # Written before checkpoints listed their heads, it is found out all the same.
    checkpoint = load_checkpoint(path)
    save_checkpoint(path, dataclasses.replace(checkpoint.info, heads=None), checkpoint.weights)
    assert math.isnan(said(path)["success"])


def test_a_layered_model_trained_with_labels_lists_its_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trained_layered(tmp_path, monkeypatch, 0.2, 0.99)
    assert load_checkpoint(path).info.heads == HEADS
    assert not any(math.isnan(value) for value in said(path).values())


def test_the_shipped_model_keeps_its_heads_and_its_hash() -> None:
    path = WORLD_MODEL
    checkpoint = load_checkpoint(path)
    assert checkpoint.info.heads is None
    assert checkpoint.hash in path.with_suffix(".card.json").read_text()
    assert not any(math.isnan(value) for value in said(path).values())


@pytest.mark.parametrize("write", [write_drawn_checkpoint, write_untrained_checkpoint])
@pytest.mark.parametrize("listed", [(), ("progress", "trust"), HEADS])
def test_a_world_says_what_its_checkpoint_lists_and_no_more(
    write: object, listed: tuple[str, ...], tmp_path: Path
) -> None:
    path = write(tmp_path, heads=listed)  # type: ignore[operator]
    values = said(path)
    assert {name for name, value in values.items() if not math.isnan(value)} == set(listed)


def test_a_latent_model_that_lists_no_heads_has_none(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path)
    checkpoint = load_checkpoint(path)
    save_checkpoint(path, dataclasses.replace(checkpoint.info, heads=None), checkpoint.weights)
    assert all(math.isnan(value) for value in said(path).values())


def test_what_labels_teach() -> None:
    nan = math.nan
    for labels, taught in (
        ([nan, nan], ()), ([0.1, nan], ("progress",)), ([0.95, 0.99], ("progress",)),
        ([nan, 0.1, 0.95], ("progress", "success")),
    ):
        progress = torch.tensor(labels)
        assert outcome_heads(progress, _solved(progress)) == taught
    # People's labels: no progress, and verdicts of both kinds.
    assert outcome_heads(torch.tensor([nan] * 3), torch.tensor([nan, 0.0, 1.0])) == ("success",)
    assert "the labels hold no success" in heads_line(("progress", "trust"))
    assert "how episodes ended" in heads_line(("success", "trust"))


def test_what_needs_a_verdict_refuses_a_model_without_one() -> None:
    with pytest.raises(CheckpointError, match="never trained") as caught:
        require_success_head(("trust",), "world model abc")
    assert "judge:=person" in str(caught.value)
    require_success_head(HEADS, "")


def test_an_absent_head_is_counted_as_no_case() -> None:
    nan = np.full(3, np.nan)
    table = outcome(nan, nan, np.array([0.1, 0.9, 0.95]), 0.9)
    assert (table["n"], table["positives"], table["false_negatives"]) == (0, 0, 0)
    assert table["progress_mae"] is None
