"""The command line sets backbone, budget and initial weights."""

from pathlib import Path

import pytest
import torch

from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.policies.train import main
from hiwm_test_support.policies import dot_episodes


def test_a_policy_is_trained_and_trained_further(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    store = tmp_path / "set.zarr"
    dot_episodes(store, 3)
    base, further = tmp_path / "base.safetensors", tmp_path / "further.safetensors"
    common = [str(store), "--steps", "2", "--threads", str(threads)]
    assert main([*common, "--backbone", "act", "--episodes", "2", "--output", str(base)]) == 0
    info = load_checkpoint(base, kind="act_policy").info
    assert (info.name, info.steps) == ("act", 2)
    assert info.data["weights"] == {"provenance": {"demonstration": 1.0}}
    assert info.data["episodes_trained"] + info.data["episodes_held_out"] == 2

    onward = [*common, "--start-from", str(base)]
    assert main([*onward, "--backbone", "act", "--output", str(further)]) == 0
    data = load_checkpoint(further).info.data
    assert data["started_from"] == load_checkpoint(base).label
    capsys.readouterr()
    assert main([*onward, "--backbone", "diffusion", "--output", str(further)]) == 1
    assert "act_policy, not a diffusion_policy" in capsys.readouterr().err
