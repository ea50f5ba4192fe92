"""A training set on disk is the one in memory, and leaves no file behind."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hiwm_core.errors import BagError
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.datasets import load_episodes
from hiwm_learning.datasets.episodes import Episodes
from hiwm_learning.policies.trainer import PolicyTrainer
from hiwm_learning.world_models.latent import recorded_scenes
from hiwm_learning.world_models.latent.dynamics_training import (
    DynamicsOptions,
    dynamics_stage,
)
from hiwm_learning.world_models.latent.joint_training import fit_joints
from hiwm_learning.world_models.latent.on_disk import TensorFile
from hiwm_learning.world_models.latent.scene_data import scene_data
from hiwm_test_support.latent_stages import differing
from hiwm_test_support.latent_worlds import embodiment_with, moving_square, untrained_world
from hiwm_test_support.policies import dot_episodes, small_config


def trained(episodes: Episodes, output: Path) -> dict[str, Any]:
    trainer = PolicyTrainer(
        episodes, small_config("act"), weights=np.ones(len(episodes.actions), np.float32), data={},
        seed=0, output=output, name="dot", sampling="weighted",
    )
    for step in range(3):
        trainer.train_step(step, 0.0)
    return trainer.policy.state_dict()


def test_a_policy_learns_the_same_from_a_set_on_disk(tmp_path: Path) -> None:
    here = dot_episodes(tmp_path / "set.zarr", 10)
    folder = tmp_path / "scratch"
    folder.mkdir()
    there = load_episodes(tmp_path / "set.zarr", on_disk=folder)
    assert isinstance(there.images["top"], np.memmap) and isinstance(there.proprio, np.memmap)
    assert list(folder.iterdir()) == []
    assert there.fingerprint() == here.fingerprint()
    np.testing.assert_array_equal(there.images["top"], here.images["top"])
    one, other = (trained(each, tmp_path / "policy.safetensors") for each in (there, here))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dot_episodes(tmp_path / "set.zarr", 1)
    folder = tmp_path / "scratch"
    folder.mkdir()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_2_0", full)
    with pytest.raises(BagError, match="make room there, or train with the set in memory"):
        load_episodes(tmp_path / "set.zarr", on_disk=folder)
    assert list(folder.iterdir()) == []


def test_a_world_learns_the_same_from_scenes_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[TensorFile] = []

    def file(folder: Path) -> TensorFile:
        files.append(TensorFile(folder))
        return files[-1]

    monkeypatch.setattr(recorded_scenes, "TensorFile", file)
    clips = moving_square(embodiment_with(32), runs=3, length=12, seed=0)
    states = []
    for on_disk in (tmp_path, None):
        model = untrained_world(embodiment_with(32)).train().requires_grad_(True)
        fit_joints(model, clips)
        device = torch.device("cpu")
        data, held_out = scene_data(
            model, clips, clips, seed=0, device=device, on_disk=on_disk
        )
        stage = dynamics_stage(
            model, data, held_out, MeasuredFromProprioception(embodiment_with(32)), seed=0,
            device=device, options=DynamicsOptions(pool=4, oldest=6),
        )
        for step in range(2):
            stage.train_step(step, 0.0)
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    assert not differing(*states)
    assert list(tmp_path.iterdir()) == []
    assert len(files) == 4, "scenes, and what is hidden, to train and to measure on"


def test_rows_on_disk_are_appended_and_removed_from_the_end(tmp_path: Path) -> None:
    file, rows = TensorFile(tmp_path), torch.arange(24).reshape(6, 4).to(torch.int16)
    file.append(rows[:2])
    file.append(rows[2:])
    assert torch.equal(file.tensor(), rows)
    assert torch.equal(file.pop(1), rows[5:])
    file.append(rows[:1])
    assert torch.equal(file.tensor(), torch.cat([rows[:5], rows[:1]]))


def test_a_folder_that_a_machine_lacks_is_named(tmp_path: Path) -> None:
    dot_episodes(tmp_path / "set.zarr", 1)
    for read in (TensorFile, lambda folder: load_episodes(tmp_path / "set.zarr", on_disk=folder)):
        with pytest.raises(BagError, match=r"No such file.*elsewhere"):
            read(tmp_path / "elsewhere")
