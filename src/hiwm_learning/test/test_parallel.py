"""Two processes under torchrun take the steps of one process with two parts in its batch."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hiwm_core.errors import CheckpointError, ConfigError, ServerError
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning import parallel
from hiwm_learning.checkpoints import (
    load_checkpoint,
    load_training_state,
    save_training_state,
)
from hiwm_learning.datasets import load_episodes
from hiwm_learning.datasets.mapped_copies import MappedCopies
from hiwm_learning.parallel import Team, leave, require_alone, team_of
from hiwm_learning.policies.trainer import PolicyTrainer
from hiwm_learning.training_loop import Budget, train
from hiwm_learning.world_models.latent.dynamics_training import (
    DynamicsOptions,
    dynamics_stage,
)
from hiwm_learning.world_models.latent.joint_training import fit_joints
from hiwm_learning.world_models.latent.robot_training import robot_stage
from hiwm_learning.world_models.latent.scene_data import scene_data
from hiwm_learning.world_models.latent.stage import Pools
from hiwm_test_support.latent_worlds import embodiment_with, moving_square, untrained_world
from hiwm_test_support.policies import dot_episodes, small_config

STEPS = 4
CPU = torch.device("cpu")


def train_policy(folder: Path, team: Team) -> None:
    """Train a policy on the set beside the folder."""
    train(
        policy_trainer(folder, team, folder / "policy.safetensors"), Budget(steps=STEPS),
        state_path=folder / "policy.pt", team=team, write=lambda line: None,
    )


def policy_trainer(folder: Path, team: Team, output: Path) -> PolicyTrainer:
    """Return the trainer of a policy on the set beside the folder."""
    episodes = load_episodes(folder.parent / "set.zarr")
    return PolicyTrainer(
        episodes, small_config("act"), weights=np.ones(len(episodes.actions), np.float32), data={},
        seed=0, output=output, name="dot", team=team,
    )


def train_world(folder: Path, team: Team) -> None:
    """Train two stages of a latent world."""
    clips = moving_square(embodiment_with(32), runs=4, length=20, seed=0)
    model = untrained_world(embodiment_with(32)).train().requires_grad_(True)
    fit_joints(model, clips)
    first = robot_stage(model, clips, clips, seed=0, device=CPU, batch=4, team=team)
    train(
        first, Budget(steps=STEPS), state_path=folder / "first.pt", team=team,
        write=lambda line: None,
    )
    first.take_average()

    def export(steps: int, seconds: float, scores: dict[str, float]) -> None:
        torch.save(model.state_dict(), folder / "world.pt")

    data, held_out = scene_data(model, clips, clips, seed=0, device=CPU, team=team)
    second = dynamics_stage(
        model, data, held_out, MeasuredFromProprioception(embodiment_with(32)), seed=0, device=CPU,
        options=DynamicsOptions(pool=4, oldest=6), on_export=export, team=team,
    )
    train(
        second, Budget(steps=STEPS), state_path=folder / "second.pt", team=team,
        write=lambda line: None,
    )


def train_both(folder: Path, team: Team) -> None:
    torch.set_num_threads(1)
    train_policy(folder, team)
    train_world(folder, team)


def resume_both_ways(folder: Path, team: Team) -> None:
    """Resume with other weights, and with a state of another step, in the second process."""
    own = team.own_file(folder / "policy.pt")
    state = load_training_state(own)
    if not team.leads:
        for value in state["trainable"]["policy"].values():
            value.zero_()
        save_training_state(own, state)
    trainer = policy_trainer(folder, team, folder / "resumed.safetensors")
    train(
        trainer, Budget(steps=STEPS), state_path=folder / "policy.pt", resume=True, team=team,
        write=lambda line: None,
    )
    weights = load_training_state(own)["trainable"]["policy"]
    torch.save(weights, team.own_file(folder / "resumed.weights"))
    if not team.leads:
        save_training_state(own, state | {"step": STEPS - 1})
    try:
        train(trainer, Budget(steps=STEPS), state_path=folder / "policy.pt", resume=True, team=team)
    except CheckpointError as error:
        team.own_file(folder / "refusal.txt").write_text(str(error))
    # Each machine, here each process, maps a copy of its own.
    own_machine = Team(rank=team.rank, size=team.size, place=0)
    (folder / str(team.rank)).mkdir()
    copies = MappedCopies(folder / str(team.rank), own_machine)
    assert copies.of(np.arange(6), "six").tolist() == list(range(6))
    copies.unlink()


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
            torch.testing.assert_close(
                value, alone[name], rtol=1e-3, atol=1e-5, equal_nan=True, msg=name
            )
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
    # After a resume all have the first one's weights; states of different steps are refused by all.
    first, second = (
        torch.load(two / name, weights_only=True)
        for name in ("resumed.weights", "resumed.rank1.weights")
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(value.any() for value in first.values())
    for name in ("refusal.txt", "refusal.rank1.txt"):
        assert "process 0 has 4, process 1 has 3" in (two / name).read_text()


def test_a_process_that_meets_nobody_ends_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, free_tcp_port: int
) -> None:
    monkeypatch.setattr(parallel, "MEET", timedelta(seconds=1))
    for name, value in (
        ("WORLD_SIZE", "2"), ("RANK", "0"), ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", str(free_tcp_port)),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(ServerError, match=r"process 0 of 2 has not met the others within 1 s"):
        team_of("cpu")


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
    team = team_of("cpu")
    train_both(Path(sys.argv[1]), team)
    resume_both_ways(Path(sys.argv[1]), team)
    leave()
