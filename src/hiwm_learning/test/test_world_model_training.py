"""Fitting the dynamics on a tiny world with a known rule."""

import math

import pytest
import torch
from torch import Tensor

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import load_task
from hiwm_learning.world_models.layered.dynamics import advance
from hiwm_learning.world_models.layered.dynamics_trainer import DynamicsTrainer, Tracks
from hiwm_learning.world_models.layered.heads import OutcomeHead, fit_head
from hiwm_test_support.layered_worlds import drawn_world_model, object_pose, scene

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)


def drifting_world(episodes: int, length: int, seed: int) -> Tracks:
    """Return tracks of a T that moves along with the first arm, half as far."""
    generator = torch.Generator().manual_seed(seed)
    model = drawn_world_model(EMBODIMENT)
    poses: list[Tensor] = []
    targets: list[Tensor] = []
    ids: list[Tensor] = []
    for number in range(episodes):
        yaw = float(torch.rand(1, generator=generator)) * 2 * math.pi
        body = object_pose(0.0, 0.0, yaw)[None]
        hands = (torch.rand(1, 4, generator=generator) - 0.5) * 0.2
        for _ in range(length):
            move = (torch.rand(1, 4, generator=generator) - 0.5) * 0.016
            poses.append(scene(model, body, hands))
            targets.append((hands + move).reshape(1, 2, 2))
            c, s = body[:, 2], body[:, 3]
            along = torch.stack(
                [c * move[:, 0] + s * move[:, 1], -s * move[:, 0] + c * move[:, 1],
                 torch.zeros(1)], dim=1,
            )
            body = advance(body, 0.5 * along)
            hands = hands + move
            ids.append(torch.tensor([number]))
    return Tracks(poses=torch.cat(poses), targets=torch.cat(targets), episode=torch.cat(ids))


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return drifting_world(6, 30, seed=0)


def make_trainer(tracks: Tracks, seed: int = 0) -> DynamicsTrainer:
    model = drawn_world_model(EMBODIMENT).dynamics
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return DynamicsTrainer(model, tracks, tracks, batch=128, seed=seed)


def test_starts_keep_history_and_future_in_one_episode(tracks: Tracks) -> None:
    for length in (1, 10):
        starts = tracks.starts(length)
        assert len(starts) == 6 * (30 - 1 - length)
        assert torch.equal(tracks.episode[starts - 1], tracks.episode[starts + length])


def test_training_learns_the_rule(tracks: Tracks) -> None:
    trainer = make_trainer(tracks)
    losses = [trainer.train_step(step, 0.3 * step / 200)["loss"] for step in range(200)]
    assert sum(losses[-20:]) < 0.6 * sum(losses[:20])
    assert all(math.isfinite(value) for value in trainer.held_out().values())


def test_long_unrolls_can_be_trained_on(tracks: Tracks) -> None:
    outcome = make_trainer(tracks).train_step(0, 0.95)
    assert outcome["unroll"] == 16.0
    assert math.isfinite(outcome["loss"])


def test_a_resumed_trainer_takes_the_same_next_step(tracks: Tracks) -> None:
    first = make_trainer(tracks)
    for step in range(3):
        first.train_step(step, 0.0)
    second = make_trainer(tracks)
    second.load_state(first.state())
    assert first.train_step(3, 0.0) == second.train_step(3, 0.0)


def test_the_head_learns_progress_and_success() -> None:
    generator = torch.Generator().manual_seed(0)
    place = (torch.rand(2000, 2, generator=generator) - 0.5) * 0.2
    poses = torch.cat([place, torch.ones(2000, 1), torch.zeros(2000, 1)], dim=1)
    labels = (1 - place.norm(dim=1) / 0.1).clamp(0, 1)
    solved = (labels >= 0.8).float()
    options = {"success_progress": 0.8, "seed": 0, "steps": 300, "batch": 128}
    error, right = fit_head(OutcomeHead(32), poses, labels, solved, **options)
    assert error < 0.08
    assert right > 0.95
    # With a person's labels only: there is no progress, and most ticks have no label.
    unknown = torch.full_like(labels, torch.nan)
    some = torch.where(torch.arange(2000) % 4 == 0, solved, unknown)
    error, right = fit_head(OutcomeHead(32), poses, unknown, some, **options)
    assert math.isnan(error)
    assert right > 0.9
