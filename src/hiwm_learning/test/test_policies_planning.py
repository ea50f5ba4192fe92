"""A planner runs its checkpoint reproducibly, for every backbone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.errors import CheckpointError
from hiwm_learning.checkpoints import load_checkpoint, save_checkpoint
from hiwm_learning.datasets import demonstration_weights
from hiwm_learning.policies.planning import load_planner
from hiwm_learning.policies.trainer import PolicyTrainer
from hiwm_test_support.policies import dot_episodes, small_config


@pytest.mark.parametrize(("backbone", "by_chance"), [("diffusion", True), ("act", False)])
def test_a_chunk_depends_on_checkpoint_observation_and_seed(
    tmp_path: Path, backbone: str, by_chance: bool
) -> None:
    episodes = dot_episodes(tmp_path / "set.zarr", 3)
    output = tmp_path / "dot.safetensors"
    config = small_config(backbone)
    trainer = PolicyTrainer(
        episodes, config, weights=demonstration_weights(episodes), data={}, seed=0,
        output=output, name="dot",
    )
    trainer.train_step(0, 0.0)
    trainer.export(1, 0.0, {})
    planner = load_planner(output)
    assert planner.label == f"dot-{load_checkpoint(output).hash[:8]}"
    assert planner.info.embodiment_hash == episodes.embodiment.hash
    assert planner.image_shapes == {"top": (32, 32, 3)}
    assert planner.proprio_dim == 2
    assert (planner.observation_steps, planner.horizon, planner.execute_horizon) == (2, 4, 2)

    images, proprio = {"top": episodes.images["top"][:2]}, episodes.proprio[:2]
    first = planner.plan(images, proprio, (7, 3, 20))
    assert first.shape == (4, 3) and first.dtype == np.float64
    np.testing.assert_array_equal(first, load_planner(output).plan(images, proprio, (7, 3, 20)))
    assert (first != planner.plan(images, proprio, (7, 4, 20))).any() == by_chance
    assert (first != planner.plan(images, proprio + 0.01, (7, 3, 20))).any()
    # In a batch it is the same, whatever the other seeds.
    many = planner.plan_many(
        {"top": np.stack([images["top"] + light for light in (0, 40, 0)])}, np.stack([proprio] * 3),
        [(1,), (7, 3, 20), (7, 3, 20)],
    )
    np.testing.assert_allclose(many[2], first, atol=1e-6)
    assert (np.abs(many[0] - first).max() > 1e-4) == by_chance


def test_a_file_that_is_not_a_policy_is_refused(tmp_path: Path) -> None:
    episodes = dot_episodes(tmp_path / "set.zarr", 2)
    output = tmp_path / "dot.safetensors"
    PolicyTrainer(
        episodes, small_config("act"), weights=np.ones(len(episodes.actions), np.float32),
        data={}, seed=0, output=output, name="dot",
    ).export(0, 0.0, {})
    checkpoint = load_checkpoint(output)
    other = tmp_path / "world.safetensors"
    save_checkpoint(other, replace(checkpoint.info, kind="world_model"), checkpoint.weights)
    with pytest.raises(CheckpointError, match="world_model, not a diffusion_policy or act_policy"):
        load_planner(other)
    wrong = replace(checkpoint.info, config={**checkpoint.info.config, "features": 96})
    save_checkpoint(other, wrong, checkpoint.weights)
    with pytest.raises(CheckpointError, match="weights do not fit"):
        load_planner(other)
    with pytest.raises(CheckpointError, match="a folder"):
        load_planner(tmp_path)
