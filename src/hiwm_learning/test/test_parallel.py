"""Two processes under torchrun take the steps of one process with two parts in its batch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.datasets import load_episodes
from hiwm_learning.parallel import Team, leave, require_alone, team_of
from hiwm_learning.policies.trainer import PolicyTrainer
from hiwm_learning.training_loop import Budget, train
from hiwm_learning.world_models.latent.autoencoder_training import autoencoder_stage
from hiwm_learning.world_models.latent.dynamics_training import (
    DynamicsOptions,
    dynamics_stage,
    fit_joints,
)
from hiwm_learning.world_models.latent.rollout_pool import Pools
from hiwm_test_support.latent_worlds import embodiment_with, moving_square, untrained_world
from hiwm_test_support.policies import dot_episodes, small_config

STEPS = 4
CPU = torch.device("cpu")


def train_policy(folder: Path, team: Team) -> None:
    """Train a policy on the set beside the folder."""
    episodes = load_episodes(folder.parent / "set.zarr")
    trainer = PolicyTrainer(
        episodes, small_config("act"), weights=np.ones(len(episodes.actions), np.float32), data={},
        seed=0, output=folder / "policy.safetensors", name="dot", team=team,
    )
    train(
        trainer, Budget(steps=STEPS), state_path=folder / "policy.pt", team=team,
        write=lambda line: None,
    )


def train_world(folder: Path, team: Team) -> None:
    """Train both stages of a latent world."""
    clips = moving_square(embodiment_with(32), runs=4, length=20, seed=0)
    model = untrained_world(embodiment_with(32)).train().requires_grad_(True)
    fit_joints(model, clips)
    first = autoencoder_stage(model, clips, clips, seed=0, device=CPU, batch=4, team=team)
    train(
        first, Budget(steps=STEPS), state_path=folder / "first.pt", team=team,
        write=lambda line: None,
    )
    first.take_average()

    def export(steps: int, seconds: float, scores: dict[str, float]) -> None:
        torch.save(model.state_dict(), folder / "world.pt")

    second = dynamics_stage(
        model, clips, clips, seed=0, device=CPU, options=DynamicsOptions(pool=4, oldest=6),
        on_export=export, team=team,
    )
    train(
        second, Budget(steps=STEPS), state_path=folder / "second.pt", team=team,
        write=lambda line: None,
    )


def train_both(folder: Path, team: Team) -> None:
    torch.set_num_threads(1)
    train_policy(folder, team)
    train_world(folder, team)


def policy_weights(folder: Path) -> dict[str, Tensor]:
    return load_checkpoint(folder / "policy.safetensors").weights


def world_weights(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(folder / "world.pt", weights_only=True)
    return weights


@pytest.mark.timeout(600)
def test_two_processes_equal_one_with_two_parts(tmp_path: Path) -> None:
    dot_episodes(tmp_path / "set.zarr", 20)
    folders = [tmp_path / name for name in ("two", "one", "half")]
    for folder in folders:
        folder.mkdir()
    two, one, half = folders
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         __file__, str(two)], check=True, timeout=500,
    )
    train_both(one, Team(parts=2))
    train_policy(half, Team())
    for read in (policy_weights, world_weights):
        together, alone = read(two), read(one)
        assert together.keys() == alone.keys()
        for name, value in together.items():
            torch.testing.assert_close(value, alone[name], rtol=1e-3, atol=1e-5, msg=name)
    # The second part matters: half of the batch gives other weights.
    assert any(
        not torch.allclose(value, policy_weights(half)[name], rtol=1e-3, atol=1e-5)
        for name, value in policy_weights(two).items()
    )
    # Each process has a state for resuming; only the first wrote a checkpoint.
    assert {path.name for path in two.glob("*.pt")} == {
        "policy.pt", "policy.rank1.pt", "first.pt", "first.rank1.pt", "second.pt",
        "second.rank1.pt", "world.pt",
    }


def test_parts_are_shared_and_must_fit_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    teams = [Team(rank=rank, size=2, parts=6) for rank in range(2)]
    assert [list(team.mine) for team in teams] == [[0, 2, 4], [1, 3, 5]]
    assert team_of("cpu", 3) == Team(parts=3)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="3 parts for 2 processes"):
        team_of("cpu", 3)
    with pytest.raises(ConfigError, match="--family layered does not run on several"):
        require_alone("--family layered")


def test_a_state_of_another_number_of_parts_is_refused() -> None:
    class Pool:
        def state(self) -> dict[str, Tensor]:
            return {"rows": torch.zeros(1)}

    with pytest.raises(CheckpointError, match="another number of parts"):
        Pools([Pool()] * 2).load_state(Pools([Pool()]).state())  # type: ignore[list-item]


if __name__ == "__main__":
    train_both(Path(sys.argv[1]), team_of("cpu"))
    leave()
