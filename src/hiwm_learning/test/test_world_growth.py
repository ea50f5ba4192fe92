"""Training a latent world on from a checkpoint: what it keeps, how old data count, what it says."""

import argparse
import dataclasses
from pathlib import Path

import pytest
import torch

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_learning.checkpoints import load_checkpoint, save_checkpoint
from hiwm_learning.model_card import write_card
from hiwm_learning.world_models.latent.clips import sampling_weights
from hiwm_learning.world_models.latent.config import LatentWorldConfig, latent_config
from hiwm_learning.world_models.latent.growth import (
    check_growth,
    check_same_joints,
    network_options,
    take_over,
)
from hiwm_learning.world_models.latent.joint_training import fit_joints
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_test_support.latent_stages import differing
from hiwm_test_support.latent_worlds import (
    embodiment_with,
    moving_square,
    untrained_world,
    write_untrained_checkpoint,
)
from hiwm_test_support.shipped import TASK

EMBODIMENT = load_embodiment(TASK.embodiment)


def test_old_ticks_make_up_their_share_of_what_is_drawn() -> None:
    clips = moving_square(embodiment_with(32), runs=6, length=20, seed=0)
    old = torch.arange(len(clips)) < 20
    grown = dataclasses.replace(clips, weights=sampling_weights(old, 0.5))
    rows = grown.draw(torch.arange(len(clips)), 4000, torch.Generator().manual_seed(0))
    assert (rows < 20).float().mean() == pytest.approx(0.5, abs=0.03)
    assert len(rows.unique()) == len(clips)
    # Only rows that were offered are drawn; without weights all are alike.
    some = grown.draw(torch.tensor([3, 50]), 200, torch.Generator().manual_seed(0))
    assert set(some.tolist()) == {3, 50}
    plain = clips.draw(torch.arange(len(clips)), 4000, torch.Generator().manual_seed(0))
    assert (plain < 20).float().mean() == pytest.approx(1 / 6, abs=0.03)
    assert sampling_weights(torch.zeros(5, dtype=torch.bool), 0.5) is None


def test_weights_are_taken_over_and_the_lineage_grows(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path)
    first = load_checkpoint(path)
    model = LatentWorldModel(LatentWorldConfig.from_json(first.info.config))
    lineage = take_over(model, path, EMBODIMENT)
    assert not differing(model.state_dict(), first.weights)
    assert [one["sha256"] for one in lineage] == [first.hash]
    grown = tmp_path / "grown.safetensors"
    info = dataclasses.replace(
        first.info, name="grown", steps=5, data={**first.info.data, "lineage": lineage}
    )
    save_checkpoint(grown, info, dict(model.state_dict()))
    second = load_checkpoint(grown)
    again = take_over(model, grown, EMBODIMENT)
    assert [one["sha256"] for one in again] == [first.hash, second.hash]
    write_card(grown, second.info, second.hash, title="Grown", paragraphs=[], numbers={})
    assert f"| Started from | {first.label}" in grown.with_suffix(".card.md").read_text()


def test_a_model_of_another_version_is_refused(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path)
    first = load_checkpoint(path)
    del first.info.config["dynamics"]["told"]
    save_checkpoint(path, first.info, first.weights)
    model = LatentWorldModel(latent_config(EMBODIMENT, network="tiny"))
    with pytest.raises(CheckpointError, match="another version of hiwm.*train it again"):
        take_over(model, path, EMBODIMENT)


def test_another_size_is_refused_with_what_to_give(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path)
    config = LatentWorldConfig.from_json(load_checkpoint(path).info.config)
    other = dataclasses.replace(
        config, dynamics=dataclasses.replace(config.dynamics, tokens=config.dynamics.tokens + 1)
    )
    with pytest.raises(CheckpointError, match="no --tokens, --rigid or --touch"):
        take_over(LatentWorldModel(other), path, EMBODIMENT)


def test_a_world_of_an_earlier_version_keeps_its_network(tmp_path: Path) -> None:
    """It had no pieces, did not see what hands meet, and does not name either."""
    path = tmp_path / "earlier.safetensors"
    before = LatentWorldModel(latent_config(EMBODIMENT, network="tiny", rigid=0, touch=0))
    info = load_checkpoint(write_untrained_checkpoint(tmp_path)).info
    config = before.config.as_json()
    del config["dynamics"]["rigid"], config["dynamics"]["touch"]
    save_checkpoint(path, dataclasses.replace(info, config=config), before.state_dict())
    given = {"network": "tiny", "tokens": None, "rigid": None, "touch": None}
    options = argparse.Namespace(**given, start_from=path)
    grown = LatentWorldModel(latent_config(EMBODIMENT, **network_options(options)))
    take_over(grown, path, EMBODIMENT)
    assert not differing(grown.state_dict(), before.state_dict())
    new = argparse.Namespace(**given, start_from=None)
    assert latent_config(EMBODIMENT, **network_options(new)) == latent_config(
        EMBODIMENT, network="tiny"
    )


def test_options_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    def options(**given: object) -> argparse.Namespace:
        return argparse.Namespace(
            **{"start_from": None, "old_data": [], "old_share": 0.5, **given}
        )

    check_growth(options())
    with pytest.raises(ConfigError, match="--start-from CHECKPOINT"):
        check_growth(options(old_data=[tmp_path]))
    with pytest.raises(ConfigError, match="between 0 and 1"):
        check_growth(options(start_from=tmp_path / "a", old_data=[tmp_path], old_share=1.0))


def test_what_never_moved_before_is_refused() -> None:
    clips = moving_square(EMBODIMENT, runs=3, length=20, seed=0)
    stuck = clips.proprioception.clone()
    stuck[:, 2] = 0.1
    model = untrained_world(EMBODIMENT)
    fit_joints(model, dataclasses.replace(clips, proprioception=stuck))
    check_same_joints(model, dataclasses.replace(clips, proprioception=stuck), EMBODIMENT)
    name = EMBODIMENT.proprioception[2].name
    with pytest.raises(ConfigError, match=f"{name} moves.*train a new model"):
        check_same_joints(model, clips, EMBODIMENT)
