"""Checkpoints are read as written; any other file is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hiwm_core.errors import CheckpointError
from hiwm_learning.checkpoints import (
    HEADER_KEY,
    CheckpointInfo,
    halved,
    load_checkpoint,
    load_training_state,
    load_weights,
    save_checkpoint,
    save_training_state,
)

INFO = CheckpointInfo(
    kind="diffusion_policy", name="small", config={"width": 3, "anchors": [0, 1]},
    embodiment="arm", embodiment_hash="a" * 64, embodiment_text="name: arm\n", task="push",
    task_hash="b" * 64, data={"frames": 7}, steps=12, seed=3, minutes=1.5,
    scores={"held_out_loss": 0.25},
)


def weights(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.full((2, 3), value), "layer.bias": torch.arange(2.0)}


def test_a_saved_checkpoint_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "policy.safetensors"
    content_hash = save_checkpoint(path, INFO, weights())
    loaded = load_checkpoint(path, kind="diffusion_policy", embodiment_hash="a" * 64)
    assert loaded.info == INFO
    assert loaded.hash == content_hash
    assert loaded.label == f"small-{content_hash[:8]}"
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in weights().items())
    assert [file.name for file in path.parent.iterdir()] == ["policy.safetensors"]


def test_the_hash_depends_only_on_the_content(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path / "a.safetensors", INFO, weights())
    assert save_checkpoint(tmp_path / "b.safetensors", INFO, weights()) == first
    assert save_checkpoint(tmp_path / "b.safetensors", INFO, weights(2.0)) != first
    assert save_checkpoint(tmp_path / "b.safetensors", replace(INFO, steps=13), weights()) != first


def test_another_embodiment_is_refused_with_both_hashes_named(tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, INFO, weights())
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, embodiment_hash="c" * 64)
    assert "a" * 64 in str(caught.value)
    assert "c" * 64 in str(caught.value)
    assert str(path) in str(caught.value)


def test_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, INFO, weights())
    with pytest.raises(CheckpointError, match="diffusion_policy, not a world_model"):
        load_checkpoint(path, kind="world_model")


@pytest.mark.parametrize("cut", [0, 4, 50, 300, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, INFO, weights())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"policy\.safetensors"):
        load_checkpoint(path)


@pytest.mark.parametrize("text", ["{", "null", "[1]", '"x"'])
def test_a_damaged_description_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.zeros(1)}, path, {HEADER_KEY: text})
    with pytest.raises(CheckpointError, match="another copy"):
        load_checkpoint(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, INFO, weights())
    with pytest.raises(CheckpointError, match="do not fit"):
        load_weights(torch.nn.Linear(3, 2), load_checkpoint(path))


def test_training_state_survives_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.training.pt"
    save_training_state(path, {"step": 4, "trainable": {"w": torch.ones(2)}})
    state = load_training_state(path)
    assert state["step"] == 4
    assert torch.equal(state["trainable"]["w"], torch.ones(2))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CheckpointError, match="without --resume"):
        load_training_state(path)


def test_large_weights_are_stored_in_half_of_the_bits_and_small_ones_whole() -> None:
    weights = {
        "layer": torch.linspace(-2.0, 2.0, 1024), "scale": torch.full((8,), 1e-7),
        "counts": torch.arange(1024),
    }
    stored = halved(weights)
    assert stored["layer"].dtype == torch.float16
    assert (stored["layer"].float() - weights["layer"]).abs().max() < 1e-3
    assert stored["scale"] is weights["scale"] and stored["counts"] is weights["counts"]
