"""Training a latent world on a square that an arm carries; runs that stop and continue."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hiwm_core.embodiment import Embodiment
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.training_loop import Budget, train
from hiwm_learning.world_models.latent import recorded_scenes, rollout_pool
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.dynamics_training import (
    DynamicsOptions,
    dynamics_stage,
)
from hiwm_learning.world_models.latent.filling_training import filling_stage
from hiwm_learning.world_models.latent.grip_training import grip_stage
from hiwm_learning.world_models.latent.hand_training import hand_stage
from hiwm_learning.world_models.latent.heads_training import heads_stage
from hiwm_learning.world_models.latent.joint_training import fit_joints, joint_stage
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.recorded_scenes import scenes_of
from hiwm_learning.world_models.latent.robot_training import robot_stage, usual_pictures
from hiwm_learning.world_models.latent.scene_data import scene_data, set_units
from hiwm_learning.world_models.latent.stage import Stage
from hiwm_learning.world_models.latent.views import side_by_side
from hiwm_test_support.arms import two_arms
from hiwm_test_support.latent_worlds import (
    embodiment_with,
    moving_square,
    untrained_world,
    world_with_gripper,
)
from hiwm_test_support.two_cameras import noise_images

SIZE = 32
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips() -> Clips:
    return moving_square(embodiment_with(SIZE), runs=6, length=20, seed=0)


def make_model(cameras: tuple[str, ...] = ("top",)) -> LatentWorldModel:
    return untrained_world(embodiment_with(SIZE, cameras)).train().requires_grad_(True)


def make_robot_stage(model: LatentWorldModel, clips: Clips, only: Clips | None = None) -> Stage:
    fit_joints(model, clips)
    return robot_stage(
        model, clips, clips, seed=0, device=CPU, batch=16, robot_only=only
    )


def with_robot(clips: Clips) -> LatentWorldModel:
    """Return a model that draws the square as its robot."""
    model = make_model()
    stage = make_robot_stage(model, clips)
    for step in range(550):
        stage.train_step(step, 0.0 if step < 400 else 0.5)
    stage.take_average()
    return model


def with_bars(clips: Clips) -> Clips:
    """Return the clips with a bar that is elsewhere in each frame."""
    frames = clips.frames.clone()
    generator = torch.Generator().manual_seed(3)
    bars = torch.randint(2, SIZE - 4, (len(frames),), generator=generator)
    for row, left in enumerate(bars.tolist()):
        frames[row, 0, :, left : left + 2] = torch.tensor([40, 220, 40])
    return dataclasses.replace(clips, frames=frames)


def make_joint_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    fit_joints(model, clips)
    measure = MeasuredFromProprioception(embodiment_with(SIZE))
    return joint_stage(model, clips, clips, measure, seed=0, device=CPU)


def make_hand_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    fit_joints(model, clips)
    return hand_stage(model, clips, seed=0, device=CPU)


def make_filling_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    fit_joints(model, clips)
    return filling_stage(model, clips, clips, seed=0, device=CPU, batch=4)


def make_dynamics_stage(
    model: LatentWorldModel, clips: Clips, embodiment: Embodiment | None = None
) -> Stage:
    fit_joints(model, clips)
    measure = MeasuredFromProprioception(embodiment or embodiment_with(SIZE))
    data, held_out = scene_data(model, clips, clips, seed=0, device=CPU)
    options = DynamicsOptions(pool=8, oldest=6)
    return dynamics_stage(model, data, held_out, measure, seed=0, device=CPU, options=options)


def make_heads_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    fit_joints(model, clips)
    data, held_out = scene_data(model, clips, clips, seed=0, device=CPU)
    return heads_stage(
        model, data, held_out, seed=0, device=CPU, options=DynamicsOptions(pool=8, oldest=6)
    )


def weights(model: LatentWorldModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_ticks_ahead_never_leave_their_run(clips: Clips) -> None:
    ahead = clips.rows(3)
    assert len(ahead) == 6 * 17
    assert (ahead + 3 <= clips.last[ahead]).all()


def test_a_run_s_first_command_follows_a_hold(clips: Clips) -> None:
    gap, last_gap = clips.gaps(torch.tensor([20, 21]))
    assert torch.equal(gap, clips.actions[[20, 21]] - clips.measured[[20, 21]])
    assert not last_gap[0].any()
    assert torch.equal(last_gap[1], clips.actions[20] - clips.measured[21])


@pytest.fixture(scope="module")
def drawing(clips: Clips) -> LatentWorldModel:
    return with_robot(with_bars(clips))


def test_the_robot_s_layer_holds_what_follows_from_the_joints_and_no_object(
    clips: Clips, drawing: LatentWorldModel
) -> None:
    """The square follows from the joints; a bar is elsewhere in each frame."""
    with torch.no_grad():
        cover = drawing.robots(clips.proprioception)[0].cover[:, 0]
    square = clips.frames[:, 0, :, :, 0] > 100
    bar = (with_bars(clips).frames[:, 0, :, :, 1] > 100) & ~square
    assert cover[square].mean() > 0.4
    assert cover[~square].mean() < 0.05 and cover[bar].mean() < 0.05


def test_the_hand_is_where_the_robot_changes(clips: Clips, drawing: LatentWorldModel) -> None:
    """A robot that is nothing but a hand: the square of the left arm."""
    stage = hand_stage(drawing, clips, seed=0, device=CPU)
    for step in range(600):
        stage.train_step(step, step / 600)
    stage.take_average()
    assert stage.held_out()["hands_seen"] > 0.3
    with torch.no_grad():
        found = drawing.camera_views()[0].hands(drawing.posture(clips.proprioception))[:, 0]
    axis = (torch.arange(SIZE) + 0.5) / SIZE * 2.0 - 1.0
    square = (clips.frames[:, 0, :, :, 0] > 100).float()
    whole = square.sum((1, 2)) > 30  # of the square, 6 px a side, nothing lies outside
    middle = torch.stack([
        (square * axis).sum((1, 2)), (square * axis[:, None]).sum((1, 2))
    ], dim=1) / square.sum((1, 2)).clamp_min(1.0)[:, None]
    off_px = (found - middle)[whole].norm(dim=1) * SIZE / 2
    assert whole.sum() > 40 and off_px.median() < 2.0


def test_what_is_behind_the_robot_is_guessed_from_what_is_around_it(
    clips: Clips, drawing: LatentWorldModel
) -> None:
    stage = filling_stage(drawing, with_bars(clips), with_bars(clips), seed=0, device=CPU)
    before = stage.held_out()["filled"]
    for step in range(100, 300):
        stage.train_step(step, 0.3)
    stage.take_average()
    assert before == pytest.approx(1.0, abs=0.02) and stage.held_out()["filled"] < 0.6


def test_the_scene_has_no_robot(clips: Clips, drawing: LatentWorldModel) -> None:
    with torch.no_grad():
        found = drawing.scenes(clips.frames, clips.proprioception)
    red = found.pictures[:, 0, 0] > 0.6
    square = clips.frames[:, 0, :, :, 0] > 150
    assert red[square].float().mean() < 0.1
    redrawn = drawing.decode(found.pictures, found.light, clips.proprioception)
    assert (redrawn[:, 0, :, :, 0] > 120)[square].float().mean() > 0.6


def test_from_the_robot_only_no_object_is_learned_even_if_its_place_follows_from_the_joints(
    clips: Clips,
) -> None:
    """A block lies in the middle, but not when the arm is far to one side."""
    frames, block = clips.frames.clone(), (slice(12, 20), slice(12, 20))
    away = clips.proprioception[:, 0] < clips.proprioception[:, 0].quantile(0.3)
    for row in torch.nonzero(~away)[:, 0].tolist():
        frames[row, 0, *block] = torch.tensor([40, 220, 40])
    with_block = dataclasses.replace(clips, frames=frames)
    free = away & ~(clips.frames[:, 0, 12:20, 12:20, 0] > 100).flatten(1).any(1)
    assert free.sum() > 10
    drawn = {}
    for name, only in (("all", None), ("robot only", clips)):
        model = make_model()
        fit_joints(model, clips)
        stage = robot_stage(
            model, with_block, with_block, seed=0, device=CPU, batch=16, robot_only=only
        )
        for step in range(500):
            stage.train_step(step, 0.0 if step < 400 else 0.5)
        stage.take_average()
        with torch.no_grad():
            (robot,) = model.robots(clips.proprioception[free])
        drawn[name] = float(robot.cover[:, 0, 14:18, 14:18].mean())
    assert drawn["robot only"] < 0.05 < 0.3 < drawn["all"]


def test_a_cover_in_the_colours_of_an_empty_scene_is_dropped(clips: Clips) -> None:
    model = make_model()
    stage = make_robot_stage(model, clips, only=clips)
    (view,) = model.camera_views()
    patch = view.renderer.leave[-2]
    assert isinstance(patch, torch.nn.Conv2d) and patch.bias is not None
    with torch.no_grad():
        patch.bias[3 * len(patch.bias) // 4 :] = 1.5
    square = clips.frames[:, 0, :, :, 0] > 100

    def covered() -> float:
        with torch.no_grad():
            return float(model.robots(clips.proprioception)[0].cover[:, 0][~square].mean())

    assert covered() > 0.5
    for step in range(300):
        stage.train_step(step, 0.5)
    assert covered() < 0.1


def test_what_stands_in_most_frames_is_no_robot(clips: Clips) -> None:
    """A post stands in three of four frames, whatever the joints are."""
    frames = clips.frames.clone()
    posts = torch.arange(len(frames)) % 4 > 0
    frames[posts, 0, 4:10, 24:28] = torch.tensor([40, 220, 40], dtype=torch.uint8)
    usual = clips.frames.median(0).values  # as if the post had been elsewhere in most frames
    model = make_model()
    (view,) = model.camera_views()
    view.renderer.usual.copy_(usual[0].movedim(-1, 0) / 255.0)
    stage = make_robot_stage(model, dataclasses.replace(clips, frames=frames))
    for step in range(300):
        stage.train_step(step, 0.5)
    with torch.no_grad():
        cover = model.robots(clips.proprioception)[0].cover[:, 0]
    assert cover[:, 5:9, 25:27].mean() < 0.1


def test_a_camera_s_light_is_no_motion(clips: Clips) -> None:
    light = torch.linspace(0.6, 1.0, len(clips.frames))[:, None, None, None, None]
    lit = dataclasses.replace(clips, frames=(clips.frames * light).to(torch.uint8))
    assert usual_pictures(lit, 0).stillness[0] > 0.8


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


def test_a_camera_that_moves_is_not_held_still(clips: Clips) -> None:
    moving = dataclasses.replace(
        clips, frames=torch.randint(256, clips.frames.shape, dtype=torch.uint8)
    )
    assert usual_pictures(clips, 0).stillness[0] > 0.8
    assert usual_pictures(moving, 0).stillness[0] < 0.3


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
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
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


def make_grip_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    fit_joints(model, clips)
    measure = MeasuredFromProprioception(embodiment_with(SIZE))
    data, held_out = scene_data(model, clips, clips, seed=0, device=CPU)
    return grip_stage(model, data, held_out, measure, seed=0, device=CPU)


STAGES: dict[str, Callable[[LatentWorldModel, Clips], Stage]] = {
    "joints": make_joint_stage, "robot": make_robot_stage, "hands": make_hand_stage,
    "filling": make_filling_stage, "grips": make_grip_stage, "dynamics": make_dynamics_stage,
    "heads": make_heads_stage,
}


def make_gripping_model() -> LatentWorldModel:
    return world_with_gripper(embodiment_with(SIZE)).train().requires_grad_(True)


def gripped(clips: Clips) -> Clips:
    """Return the clips with a gripper that is shut from tick 3 to 11."""
    actions, tick = clips.actions.clone(), torch.arange(len(clips)) - clips.first
    actions[:, 0] = torch.where((tick >= 3) & (tick < 12), 0.0, 1.0)
    actions[clips.actions.isnan()] = torch.nan
    return dataclasses.replace(clips, actions=actions)


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


@pytest.mark.parametrize("grips", [False, True])
@pytest.mark.parametrize("name", list(STAGES))
def test_a_resumed_run_equals_an_uninterrupted_one(
    name: str, grips: bool, clips: Clips, tmp_path: Path
) -> None:
    def run(path: Path, budgets: list[int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        for part, steps in enumerate(budgets):
            model = make_gripping_model() if grips else make_model()
            stage = STAGES[name](model, gripped(clips) if grips else clips)
            # The share of the budget is part of the schedule: it must not differ between runs.
            budget = FixedShare(steps=steps)
            train(stage, budget, state_path=path, resume=part > 0, write=lambda line: None)
        last = weights(model)
        stage.take_average()
        return last, weights(model)

    whole = run(tmp_path / "whole.pt", [6])
    parts = run(tmp_path / "parts.pt", [3, 6])
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=0.0, equal_nan=True)


class FixedShare(Budget):
    """A budget of six steps that may be left early."""

    def progress(self, step: int, elapsed_s: float) -> float:
        return 1.0 if step >= self.steps else step / 6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_every_stage_takes_a_step_on_a_gpu(clips: Clips) -> None:
    device = torch.device("cuda")
    model, clips = make_gripping_model().to(device), gripped(clips)
    fit_joints(model, clips)
    measure = MeasuredFromProprioception(embodiment_with(SIZE))
    options = DynamicsOptions(pool=4, oldest=3)
    data, held_out = scene_data(model, clips, clips, seed=0, device=device)
    for stage in (
        joint_stage(model, clips, clips, measure, seed=0, device=device),
        robot_stage(model, clips, clips, seed=0, device=device, batch=4),
        hand_stage(model, clips, seed=0, device=device),
        filling_stage(model, clips, clips, seed=0, device=device, batch=4),
        grip_stage(model, data, held_out, measure, seed=0, device=device),
        dynamics_stage(model, data, held_out, measure, seed=0, device=device, options=options),
        heads_stage(model, data, held_out, seed=0, device=device, options=options),
    ):
        assert all(math.isfinite(value) for value in stage.train_step(0, 0.5).values())
        stage.held_out()
