"""Policies of earlier versions are stored in half of the bits, with their cards."""

import dataclasses
import json
from pathlib import Path

import pytest

from hiwm_learning.checkpoints import load_checkpoint, save_checkpoint
from hiwm_learning.policies.backbones import policy_from_checkpoint
from hiwm_learning.policies.halve_weights import main
from hiwm_test_support.policies import dot_embodiment, write_untrained_policy


def test_a_policy_is_halved_once_and_names_the_file_it_is_made_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_untrained_policy(tmp_path, dot_embodiment())
    output = tmp_path / "new.safetensors"
    whole = load_checkpoint(source)
    (tmp_path / "random.card.md").write_text(f"`{source.name}`, sha256 `{whole.hash}`")
    (tmp_path / "random.card.json").write_text(json.dumps({"sha256": whole.hash, "steps": 3}))
    assert main([str(source), "-o", str(output)]) == 0
    found = load_checkpoint(output)
    assert output.stat().st_size < 0.6 * source.stat().st_size
    assert found.info.earlier_hashes == (whole.hash,)
    assert (tmp_path / "new.card.md").read_text() == f"`new.safetensors`, sha256 `{found.hash}`"
    assert json.loads((tmp_path / "new.card.json").read_text()) == {
        "earlier_hashes": [whole.hash], "file": "new.safetensors", "sha256": found.hash, "steps": 3
    }
    before, after = (policy_from_checkpoint(one).state_dict() for one in (whole, found))
    assert all((after[name] - value).abs().max() < 2e-3 for name, value in before.items())
    assert main([str(output), "-o", str(tmp_path / "again.safetensors")]) == 1
    assert "use it as it is" in capsys.readouterr().err


def test_other_checkpoints_and_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_untrained_policy(tmp_path, dot_embodiment())
    other = tmp_path / "notes.safetensors"
    other.write_text("mine")
    assert main([str(source), "-o", str(other)]) == 1
    assert main([str(source), "-o", str(source)]) == 1
    assert other.read_text() == "mine"
    world = load_checkpoint(source)
    save_checkpoint(other, dataclasses.replace(world.info, kind="x_world"), world.weights)
    assert main([str(other), "-o", str(tmp_path / "new.safetensors")]) == 1
    assert "x_world" in capsys.readouterr().err
