"""Training a latent world on a square that an arm carries."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.world_models.latent import recorded_scenes, rollout_pool
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.joint_training import fit_joints, joint_stage
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.recorded_scenes import scenes_of
from hiwm_learning.world_models.latent.scene_data import set_units
from hiwm_learning.world_models.latent.stage import Stage
from hiwm_learning.world_models.latent.views import side_by_side
from hiwm_test_support.arms import two_arms
from hiwm_test_support.latent_stages import (
    CPU,
    SIZE,
    differing,
    gripped,
    make_dynamics_stage,
    make_filling_stage,
    make_gripping_model,
    make_hand_stage,
    make_heads_stage,
    make_model,
    make_robot_stage,
    square_clips,
    weights,
)
from hiwm_test_support.latent_worlds import (
    embodiment_with,
    moving_square,
    untrained_world,
)
from hiwm_test_support.two_cameras import noise_images


@pytest.fixture(scope="module")
def clips() -> Clips:
    return square_clips()


def test_ticks_ahead_never_leave_their_run(clips: Clips) -> None:
    ahead = clips.rows(3)
    assert len(ahead) == 6 * 17
    assert (ahead + 3 <= clips.last[ahead]).all()


def test_a_run_s_first_command_follows_a_hold(clips: Clips) -> None:
    gap, last_gap = clips.gaps(torch.tensor([20, 21]))
    assert torch.equal(gap, clips.actions[[20, 21]] - clips.measured[[20, 21]])
    assert not last_gap[0].any()
    assert torch.equal(last_gap[1], clips.actions[20] - clips.measured[21])


def test_the_joints_come_back_from_where_they_drifted(clips: Clips) -> None:
    model = make_model()
    fit_joints(model, clips)
    # As if it had been taught single steps, badly: nothing but its own drift tells it.
    last = model.response.net[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.normal_(last.weight, std=0.3)
    measure = MeasuredFromProprioception(embodiment_with(SIZE))
    stage = joint_stage(model, clips, clips, measure, seed=0, device=CPU)
    before = stage.held_out()["joints_off_10"]
    taken = [stage.train_step(step, 0.3) for step in range(300)]
    assert taken[-1]["age"] > 3.0
    stage.take_average()
    assert stage.held_out()["joints_off_10"] < 0.5 * before


def test_a_camera_that_moves_draws_no_robot_and_trains_all_the_same(clips: Clips) -> None:
    moving = dataclasses.replace(
        clips, frames=torch.randint(256, clips.frames.shape, dtype=torch.uint8)
    )
    model = make_model()
    for make in (
        make_robot_stage, make_hand_stage, make_filling_stage, make_dynamics_stage,
        make_heads_stage,
    ):
        stage = make(model, moving)
        assert all(math.isfinite(value) for value in stage.train_step(0, 0.5).values())
    assert not model.robots(clips.proprioception)[0].cover.any()


def test_dynamics_learn_on_their_own_rollouts(clips: Clips) -> None:
    """The square is no robot here, but it moves as the hand does."""
    model = make_model()
    (view,) = model.camera_views()
    view.still.fill_(0.0)
    wide = embodiment_with(SIZE).cameras[0].view_m[0]

    class Place(torch.nn.Module):
        def forward(self, posture: Tensor) -> Tensor:
            at = posture * model.response.deviation + model.response.mean
            return (at[:, :4] * torch.tensor([1.0, -1.0, 1.0, -1.0]) * 2.0 / wide).unflatten(
                1, (2, 2)
            )

    view.hands = Place()
    stage = make_dynamics_stage(model, clips)
    # From step 100 on the learning rate is at its full height.
    taken = [stage.train_step(step, 0.6) for step in range(100, 220)]
    values = [losses["scene"] for losses in taken]
    assert np.mean(values[-20:]) < 0.8 * np.mean(values[:20])
    assert max(losses["age"] for losses in taken) > 1.2
    scores = stage.held_out()
    assert set(scores) == {"psnr_1", "psnr_10", "of_copied_1", "of_copied_10"}
    assert all(math.isfinite(value) for value in scores.values())


@pytest.mark.parametrize(
    ("make", "trained"),
    [(make_dynamics_stage, {"dynamics"}), (make_heads_stage, {"outcome", "doubts"})],
)
def test_only_its_own_parts_are_trained_in_a_stage(
    make: Callable[[LatentWorldModel, Clips], Stage], trained: set[str]
) -> None:
    cameras = ("top", "wrist")
    clips = moving_square(embodiment_with(SIZE, cameras), runs=3, length=14, seed=1)
    model = make_model(cameras)
    stage = make(model, clips)
    before = weights(model)
    assert all(math.isfinite(v) for v in stage.train_step(0, 0.9).values())
    moved = differing(model.state_dict(), before)
    assert {name.partition(".")[0] for name in moved} == trained


def test_doubt_and_verdicts_are_learned_on_finished_dynamics(clips: Clips) -> None:
    model = without_robot()
    stage = make_heads_stage(model, clips)
    # From step 100 on the learning rate is at its full height.
    taken = [stage.train_step(step, 0.3) for step in range(100, 260)]
    for name in ("doubt", "outcome"):
        values = [losses[name] for losses in taken]
        assert np.mean(values[-20:]) < 0.7 * np.mean(values[:20]), name
    assert max(losses["age"] for losses in taken) > 4.0
    stage.take_average()
    scores = stage.held_out()
    assert scores["progress_off"] < 0.2
    assert scores["success_seen"] > scores["success_false"]


def test_the_units_are_those_of_the_data(clips: Clips) -> None:
    model = without_robot()
    recordings = scenes_of(model, clips, CPU)
    set_units(model, clips, recordings, 0, CPU)
    assert 1e-3 < float(model.dynamics.change) < 0.3
    assert 0.02 < float(model.distance) < 0.5
    faint = dataclasses.replace(recordings, pictures=recordings.pictures // 4)
    other = without_robot()
    set_units(other, clips, faint, 0, CPU)
    assert float(other.dynamics.change) < 0.2 * float(model.dynamics.change)
    kept = float(model.dynamics.change), float(model.distance)
    set_units(model, clips, faint, 0, CPU)
    assert (float(model.dynamics.change), float(model.distance)) == kept, "it has learned in these"


def without_robot() -> LatentWorldModel:
    model = make_model()
    for view in model.camera_views():
        view.still.fill_(0.0)
    return model


def test_ticks_in_which_something_moves_are_known(clips: Clips) -> None:
    recordings = scenes_of(without_robot(), clips, CPU)
    changes = (clips.frames[1:].int() - clips.frames[:-1].int()).abs().amax(-1) > 20
    wanted = changes.flatten(1).sum(1) >= 15
    inside = torch.arange(len(clips) - 1) < clips.last[:-1]
    assert torch.equal(recordings.moving[:-1], wanted & inside)
    assert 0.1 < recordings.moving.float().mean() < 0.9


def test_taking_the_robot_away_says_how_far_it_is(
    clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_scenes, "REPORT_EVERY_S", 0.0)
    lines: list[str] = []
    scenes_of(without_robot(), clips, CPU, report=lines.append)
    done = [int(line.split()[0]) for line in lines]
    assert done == sorted(set(done)) and done[0] > 0 and done[-1] < len(clips)
    assert f"of {len(clips)} frames, 0 min left" in lines[-1]


def test_without_labels_the_heads_are_left_alone(clips: Clips) -> None:
    unknown = torch.full_like(clips.progress_labels, torch.nan)
    bare = dataclasses.replace(clips, progress_labels=unknown, success_labels=unknown)
    model = make_model()
    stage = make_heads_stage(model, bare)
    losses = stage.train_step(0, 0.0)
    assert losses["outcome"] == losses["imagined"] == 0.0 and stage.held_out() == {}


def test_cameras_of_different_sizes_train_in_the_size_of_the_model() -> None:
    embodiment, runs, length = two_arms(), 2, 12
    count = runs * length
    model = untrained_world(embodiment).train().requires_grad_(True)
    views = [torch.from_numpy(view) for view in noise_images((count,), 0).values()]
    first = torch.arange(runs).repeat_interleave(length) * length
    clips = Clips(
        frames=side_by_side(views, (model.config.height, model.config.width)),
        proprioception=torch.rand(count, embodiment.proprio_dim),
        measured=torch.rand(count, embodiment.action_dim),
        actions=torch.rand(count, embodiment.action_dim), progress_labels=torch.rand(count),
        success_labels=torch.rand(count).round(),
        first=first, last=first + length - 1, starts=(), summary={},
    )
    for make in (
        make_robot_stage, make_hand_stage, make_filling_stage,
        partial(make_dynamics_stage, embodiment=embodiment),
    ):
        stage = make(model, clips)
        assert all(math.isfinite(v) for v in stage.train_step(0, 0.9).values())


def test_a_hand_that_is_told_it_is_empty_learns_to_leave_all_as_it_is(
    clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(share: float) -> float:
        monkeypatch.setattr(rollout_pool, "EMPTY_HANDED", share)
        monkeypatch.setattr(rollout_pool, "CLOSINGS", 1.0)
        model = make_gripping_model()
        drawing = model.dynamics.drawing
        for layer in (drawing.shares, drawing.free, drawing.gate, drawing.painted):
            torch.nn.init.zeros_(layer.weight)
        stage = make_dynamics_stage(model, gripped(clips))
        # The rollouts start up to three ticks before the gripper shuts.
        return sum([stage.train_step(step, 1.0)["scene"] for step in range(6)][3:])

    # It predicts that all stays. That is right for hands that are told so, and wrong otherwise.
    assert error(1.0) < 0.7 * error(0.0)
