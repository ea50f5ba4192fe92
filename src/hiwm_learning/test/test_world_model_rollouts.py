"""Rollouts from recordings: which starts, which actions, and many as if each were alone."""

import numpy as np
import pytest
import torch

from hiwm_core.embodiment import load_embodiment
from hiwm_core.task import load_task
from hiwm_learning.world_model.model import WorldModel
from hiwm_learning.world_model.recordings import Recording
from hiwm_learning.world_model.rollouts import (
    LEAST_STEPS,
    Start,
    draw,
    exchanged_targets,
    held_out_starts,
    imagine,
    recorded_targets,
    start_poses,
    still_targets,
)
from hiwm_learning.world_model.testing import (
    drawn_recording,
    drawn_world_model,
    object_pose,
    scene,
)

EMBODIMENT = load_embodiment(load_task("push_t").embodiment)
HOME = torch.tensor(EMBODIMENT.home, dtype=torch.float32)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return drawn_world_model(EMBODIMENT, seed=7)


@pytest.fixture(scope="module")
def recordings(model: WorldModel) -> list[Recording]:
    return [
        drawn_recording(model, "a", 80, seed=1), drawn_recording(model, "b", 66, seed=2),
        drawn_recording(model, "c", 90, seed=3, held_out=False),
        drawn_recording(model, "d", LEAST_STEPS, seed=4),
    ]


def test_starts_are_held_out_and_have_far_to_go(recordings: list[Recording]) -> None:
    starts = held_out_starts(recordings, 100, seed=0)
    assert {s.recording.name for s in starts} == {"a", "b"}
    assert all(s.ahead >= LEAST_STEPS and s.step >= 1 for s in starts)
    assert len({(s.recording.name, s.step) for s in starts}) == len(starts)
    again = held_out_starts(recordings, 3, seed=0)
    assert [s.step for s in again] == [s.step for s in starts[:3]]


def test_the_start_is_found_in_the_frame(
    model: WorldModel, recordings: list[Recording]
) -> None:
    poses = start_poses(model, [Start(recording=recordings[1], step=3)])
    wanted = object_pose(0.02, -0.02, 1.0)
    assert torch.allclose(poses[0, 0], wanted, atol=2e-2)
    assert torch.allclose(poses[0, 1:, :2].flatten(), recordings[1].proprioception[3])


def test_a_recording_that_ends_holds_its_last_target(
    model: WorldModel, recordings: list[Recording]
) -> None:
    first, second = recordings[0], recordings[1]
    starts = [Start(recording=first, step=4), Start(recording=second, step=10)]
    targets = recorded_targets(model, starts, 70).flatten(2)
    assert torch.equal(targets[0], first.actions[4:74])
    assert torch.equal(targets[1, :55], second.actions[10:65])
    assert torch.equal(targets[1, 55:], second.actions[64].expand(15, -1))


def test_many_rollouts_are_those_that_single_ones_are(
    model: WorldModel, recordings: list[Recording]
) -> None:
    starts = held_out_starts(recordings, 4, seed=0)
    poses, targets = start_poses(model, starts), recorded_targets(model, starts, 15)
    together = imagine(model, poses, targets)
    assert together.poses.shape == (len(starts), 16, 3, 4)
    for n in range(len(starts)):
        alone = imagine(model, poses[n : n + 1], targets[n : n + 1])
        assert torch.allclose(alone.poses[0], together.poses[n], atol=1e-5)
        assert np.allclose(alone.trust[0], together.trust[n], atol=1e-4)
    assert (together.trust[:, 0] == 1.0).all()
    frames = draw(model, together.poses[0])
    assert np.array_equal(frames[3:5], draw(model, together.poses[0, 3:5]))


def test_still_arms_are_told_where_they_are(model: WorldModel) -> None:
    poses = scene(model, object_pose(0, 0, 0)[None], HOME[None])
    targets = still_targets(poses, 9)
    assert targets.shape == (1, 9, 2, 2)
    assert torch.equal(targets[0, 8].flatten(), HOME)


def test_exchanged_actions_are_another_recordings_motions(
    model: WorldModel, recordings: list[Recording]
) -> None:
    starts = [Start(recording=recordings[k], step=2) for k in (0, 0, 1)]
    poses, targets = start_poses(model, starts), recorded_targets(model, starts, 10)
    told = exchanged_targets(targets, poses, starts, reach_m=0.2, seed=0)
    # Only one recording is another: b for the two of a, one of a for b.
    moves = told - poses[:, None, 1:, :2]
    wanted = targets - poses[:, None, 1:, :2]
    assert torch.allclose(moves[0], wanted[2], atol=1e-6)
    assert torch.allclose(moves[1], wanted[2], atol=1e-6)
    assert torch.allclose(moves[2], wanted[0], atol=1e-6)
    near = exchanged_targets(targets, poses, starts, reach_m=0.05, seed=0)
    assert float(near.abs().max()) <= 0.05001
