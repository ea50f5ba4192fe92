"""Checkpoints of earlier versions: their description is rewritten, their weights are not."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as load_tensors

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError
from hiwm_learning.checkpoint_upgrade import upgraded_checkpoint
from hiwm_learning.checkpoints import CheckpointInfo, load_checkpoint, save_checkpoint

OLD = """
name: planar
frame: table
rate_hz: 10.0
arms: [left]
actions:
  - {name: x, arm: left, joint: jx, unit: m, lower: -1, upper: 1, max_velocity: 1, max_acceleration: 9}
proprioception:
  - {name: x, joint: jx, field: position, unit: m}
home: [0.0]
cameras:
  - {name: top, width: 96, height: 96, encoding: rgb8}
"""  # noqa: E501


def test_an_old_description_is_rewritten_and_the_weights_stay(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    weights = {"a": torch.arange(7.0), "b": torch.ones(2, 3, dtype=torch.int64)}
    save_checkpoint(path, CheckpointInfo(
        kind="diffusion_policy", name="old", config={"width": 3}, embodiment="planar",
        embodiment_hash="0" * 64, embodiment_text=OLD, task="t", task_hash="1" * 64, data={},
        steps=5, seed=0, minutes=1.0,
    ), weights)
    old = path.read_bytes()
    new = upgraded_checkpoint(old, str(path))
    path.write_bytes(new)
    info = load_checkpoint(path).info
    assert "groups:" in info.embodiment_text and info.embodiment_hash != "0" * 64
    assert (info.config, info.steps, info.task_hash) == ({"width": 3}, 5, "1" * 64)
    for name, tensor in load_tensors(new).items():
        assert torch.equal(tensor, weights[name])
    assert upgraded_checkpoint(new, str(path)) == new


@pytest.mark.parametrize("content", [b"", b"12345678{}", json.dumps({"a": 1}).encode()])
def test_what_is_no_checkpoint_is_refused(content: bytes) -> None:
    with pytest.raises(CheckpointError, match="odd.safetensors"):
        upgraded_checkpoint(content, "odd.safetensors")


def test_shipped_checkpoints_are_for_the_shipped_embodiments() -> None:
    models = Path(__file__).parents[3] / "models"
    for path in models.glob("*.safetensors"):
        name = load_checkpoint(path).info.embodiment
        load_checkpoint(path, embodiment_hash=load_embodiment(name).hash)
