"""The pool of rollouts on which a latent world learns: where they start, and when they end."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.recorded_scenes import RecordedScenes, scenes_of
from hiwm_learning.world_models.latent.rollout_pool import RolloutPool
from hiwm_test_support.latent_worlds import embodiment_with, moving_square, untrained_world

SIZE = 32


@pytest.fixture(scope="module")
def clips() -> Clips:
    return moving_square(embodiment_with(SIZE), runs=6, length=20, seed=0)


def pool_of(clips: Clips, oldest: int) -> RolloutPool:
    model = untrained_world(embodiment_with(SIZE))
    model.camera_views()[0].still.fill_(0.0)
    recordings = scenes_of(model, clips, torch.device("cpu"))
    return RolloutPool(clips, recordings, size=16, oldest=oldest, strayed=0.25, hands=2, seed=0)


def scenes_in(pool: RolloutPool) -> Tensor:
    return pool.pictures.float() / 255.0


def test_rollouts_stay_inside_their_recording_and_below_their_age(clips: Clips) -> None:
    pool, generator = pool_of(clips, 5), torch.Generator().manual_seed(1)
    ages = set()
    for _ in range(60):
        assert not clips.actions[pool.rows].isnan().any()
        assert (pool.rows < clips.last[pool.rows]).all()
        ages |= set(pool.age.tolist())
        grown = pool.doubt + 0.1
        pool.advance(scenes_in(pool), torch.zeros(16), grown, pool.evidence, 1.0, generator)
    assert ages == set(range(5))


def test_rollouts_start_from_clean_ghostly_and_faded_scenes(clips: Clips) -> None:
    brightness = 100 + 5 * (torch.arange(len(clips)) - clips.first)
    pictures = brightness[:, None, None, None, None].repeat(1, 1, 3, 4, 4)
    pictures[..., 2, 2] = 0  # a thin thing, which fades
    recordings = RecordedScenes(
        pictures=pictures.to(torch.uint8), hidden=torch.zeros(len(clips), 1, 4, 4),
        light=torch.ones(len(clips), 1, 3), moving=brightness > 150,
    )
    pool = RolloutPool(clips, recordings, size=2000, oldest=5, strayed=1.0, hands=2, seed=0)
    now, clean = pool.pictures[:, 0, 0].int(), recordings.pictures[pool.rows, 0, 0].int()
    ghostly = now[:, 0, 0] < clean[:, 0, 0]
    faded = now[:, 2, 2] > 0
    assert not (ghostly & faded).any()
    # A ghost of the run's first frame is the frame itself.
    assert 0.05 < ghostly.float().mean() <= 0.12
    assert float(faded.float().mean()) == pytest.approx(0.1, abs=0.03)
    moving = recordings.moving[pool.rows].float().mean()
    assert moving > recordings.moving.float().mean() + 0.1


def test_rollouts_that_stray_or_are_not_finite_are_renewed(clips: Clips) -> None:
    pool, generator = pool_of(clips, 50), torch.Generator().manual_seed(1)
    error = torch.zeros(16)
    error[3], error[5] = 1.0, math.nan
    pool.advance(scenes_in(pool), error, torch.ones(16), torch.ones(16, 2), 1.0, generator)
    assert pool.age[[3, 5]].tolist() == [0, 0]
    assert pool.doubt[[3, 5]].tolist() == [0.0, 0.0]
    assert not pool.evidence[[3, 5]].any() and pool.evidence.any()
    assert pool.age.sum() > 8


def test_some_rollouts_start_shortly_before_a_gripper_closes(clips: Clips) -> None:
    recordings = scenes_of(untrained_world(embodiment_with(SIZE)), clips, torch.device("cpu"))
    still = dataclasses.replace(recordings, moving=torch.zeros(len(clips), dtype=torch.bool))
    closing = int(clips.first[-1]) + 12
    pool = RolloutPool(
        clips, still, size=1000, oldest=5, strayed=1.0, hands=2, seed=0,
        closings=torch.tensor([closing]),
    )
    before = ((closing - 12 <= pool.rows) & (pool.rows <= closing)).float().mean()
    alike = 13 / len(clips)  # as many ticks of all
    assert float(before) == pytest.approx(0.3 + 0.7 * alike, abs=0.06)


def test_some_hands_are_told_that_they_hold_nothing_until_the_gripper_opens(clips: Clips) -> None:
    recordings = scenes_of(untrained_world(embodiment_with(SIZE)), clips, torch.device("cpu"))
    still = dataclasses.replace(recordings, moving=torch.zeros(len(clips), dtype=torch.bool))
    closings, tick = clips.first.unique() + 6, torch.arange(len(clips)) - clips.first
    closed = (tick >= 6) & (tick < 9)
    pool = RolloutPool(
        clips, still, size=2000, oldest=30, strayed=1.0, hands=2, seed=0, grown=True,
        closings=closings, closed=closed,
    )
    assert not (pool.empty_handed & closed[pool.rows]).any(), "it would hold something at first"
    assert float(pool.empty_handed.float().mean()) == pytest.approx(0.3 / 3, abs=0.025)
    generator, none = torch.Generator().manual_seed(1), torch.zeros(2000)
    for _ in range(12):
        pool.advance(scenes_in(pool), none, none, pool.evidence, 1.0, generator)
        assert not (pool.empty_handed & (tick[pool.rows] >= 9)).any()
    assert (pool.empty_handed & closed[pool.rows]).any()
