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
from hiwm_learning.world_models.latent.autoencoder_training import (
    autoencoder_stage,
    slowness_weight,
    usual_pictures,
)
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.dynamics_training import (
    DynamicsOptions,
    dynamics_stage,
    encoded,
    fit_joints,
    hidden_by,
    set_units,
)
from hiwm_learning.world_models.latent.joint_training import joint_stage
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.robot_layer import RobotLayer, RobotRenderer
from hiwm_learning.world_models.latent.rollout_pool import LatentRecordings, RolloutPool
from hiwm_learning.world_models.latent.stage import Stage
from hiwm_learning.world_models.latent.views import side_by_side
from hiwm_learning.world_models.latent.warping import warped
from hiwm_test_support.arms import two_arms
from hiwm_test_support.latent_worlds import embodiment_with, moving_square, untrained_world
from hiwm_test_support.two_cameras import noise_images

SIZE = 32
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips() -> Clips:
    return moving_square(embodiment_with(SIZE), runs=6, length=20, seed=0)


def make_model(cameras: tuple[str, ...] = ("top",)) -> LatentWorldModel:
    return untrained_world(embodiment_with(SIZE, cameras)).train().requires_grad_(True)


def make_autoencoder_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    fit_joints(model, clips)
    return autoencoder_stage(model, clips, clips, seed=0, device=CPU, batch=8)


def make_joint_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    fit_joints(model, clips)
    measure = MeasuredFromProprioception(embodiment_with(SIZE))
    return joint_stage(model, clips, clips, measure, seed=0, device=CPU)


def make_dynamics_stage(
    model: LatentWorldModel, clips: Clips, embodiment: Embodiment | None = None,
    hidden_discount: float = 0.5,
) -> Stage:
    fit_joints(model, clips)
    measure = MeasuredFromProprioception(embodiment or embodiment_with(SIZE))
    options = DynamicsOptions(pool=8, oldest=6, hidden_discount=hidden_discount)
    return dynamics_stage(model, clips, clips, measure, seed=0, device=CPU, options=options)


def weights(model: LatentWorldModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_windows_never_leave_their_run(clips: Clips) -> None:
    rows = clips.recent(torch.tensor([19, 20, 22]), 4)
    assert rows.tolist() == [[16, 17, 18, 19], [20, 20, 20, 20], [20, 20, 21, 22]]
    ahead = clips.rows(3)
    assert len(ahead) == 6 * 17
    assert (ahead + 3 <= clips.last[ahead]).all()


def test_a_run_s_first_command_follows_a_hold(clips: Clips) -> None:
    gap, last_gap = clips.gaps(torch.tensor([20, 21]))
    assert torch.equal(gap, clips.actions[[20, 21]] - clips.measured[[20, 21]])
    assert not last_gap[0].any()
    assert torch.equal(last_gap[1], clips.actions[20] - clips.measured[21])


def test_the_autoencoder_learns_to_redraw(clips: Clips) -> None:
    model = make_model()
    stage = make_autoencoder_stage(model, clips)
    before = stage.held_out()["psnr"]
    losses = [stage.train_step(step, 0.3)["redrawing"] for step in range(60)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    stage.take_average()
    assert stage.held_out()["psnr"] > before + 3.0


def test_the_robot_s_layer_holds_what_follows_from_the_joints_and_no_object(clips: Clips) -> None:
    """The square follows from the joints; a bar is elsewhere in each frame."""
    with_bar = clips.frames.clone()
    generator = torch.Generator().manual_seed(3)
    bars = torch.randint(2, SIZE - 4, (len(with_bar),), generator=generator)
    for row, left in enumerate(bars.tolist()):
        with_bar[row, 0, :, left : left + 2] = torch.tensor([40, 220, 40])
    model = make_model()
    stage = make_autoencoder_stage(model, dataclasses.replace(clips, frames=with_bar))
    for step in range(550):
        stage.train_step(step, 0.0 if step < 400 else 0.15)
    stage.take_average()
    (coder,) = model.camera_coders()
    with torch.no_grad():
        cover = coder.robot(model.posture(clips.proprioception)).cover[:, 0]
    square = clips.frames[:, 0, :, :, 0] > 100
    bar = (with_bar[:, 0, :, :, 1] > 100) & ~square
    assert cover[square].mean() > 0.5
    assert cover[~square].mean() < 0.05 and cover[bar].mean() < 0.05


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
        stage = autoencoder_stage(
            model, with_block, with_block, seed=0, device=CPU, batch=8, robot_only=only
        )
        for step in range(500):
            stage.train_step(step, 0.0 if step < 400 else 0.15)
        stage.take_average()
        with torch.no_grad():
            (robot,) = model.robots(clips.proprioception[free])
        drawn[name] = float(robot.cover[:, 0, 14:18, 14:18].mean())
    assert drawn["robot only"] < 0.05 < 0.3 < drawn["all"]


def test_a_cover_in_the_colours_of_an_empty_scene_is_dropped(clips: Clips) -> None:
    model = make_model()
    fit_joints(model, clips)
    stage = autoencoder_stage(model, clips, clips, seed=0, device=CPU, batch=8, robot_only=clips)
    (coder,) = model.camera_coders()
    patch = coder.robot.leave[-2]
    assert isinstance(patch, torch.nn.Conv2d) and patch.bias is not None
    with torch.no_grad():
        patch.bias[3 * len(patch.bias) // 4 :] = 1.5
    square = clips.frames[:, 0, :, :, 0] > 100

    def covered() -> float:
        with torch.no_grad():
            return float(model.robots(clips.proprioception)[0].cover[:, 0][~square].mean())

    assert covered() > 0.5
    for step in range(300):
        stage.train_step(step, 0.15)
    assert covered() < 0.1


def test_the_robot_leaves_the_latents(clips: Clips) -> None:
    # The square is the robot: all that is in the picture follows from the joints.
    stage = make_autoencoder_stage(make_model(), clips)
    for step in range(200):
        stage.train_step(step, 0.0 if step < 100 else 0.3)
    stage.take_average()
    scores = stage.held_out()
    assert scores["psnr"] - scores["psnr_exchanged_15"] < 0.5
    assert scores["psnr_exchanged_15"] > scores["psnr_copied_15"] + 3.0


def test_a_camera_s_light_is_no_motion(clips: Clips) -> None:
    light = torch.linspace(0.6, 1.0, len(clips.frames))[:, None, None, None, None]
    lit = dataclasses.replace(clips, frames=(clips.frames * light).to(torch.uint8))
    assert usual_pictures(lit, 0).stillness[0] > 0.8


def test_slowness_is_full_first_and_small_at_the_end() -> None:
    weights = [slowness_weight(10_000, share / 100) for share in range(101)]
    assert weights[0] == weights[40] == 0.5
    assert weights == sorted(weights, reverse=True)
    assert weights[80] == weights[100] == pytest.approx(0.15)
    assert slowness_weight(0, 0.0) == 0.0


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


def test_warped_frames_differ_and_no_warp_changes_nothing() -> None:
    images = torch.rand(4, 3, 32, 32)
    generator = torch.Generator().manual_seed(0)
    assert torch.allclose(warped(images, 0.0, generator), images, atol=1e-4)
    bent = warped(images, 3.0, generator)
    assert bent.shape == images.shape and not torch.allclose(bent, images, atol=0.05)


def test_dynamics_learn_on_their_own_rollouts(clips: Clips) -> None:
    model = make_model()
    first = make_autoencoder_stage(model, clips)
    for step in range(40):
        first.train_step(step, 0.0)
    first.take_average()
    stage = make_dynamics_stage(model, clips)
    # From step 100 on the learning rate is at its full height.
    taken = [stage.train_step(step, 0.5) for step in range(100, 220)]
    for name in ("latents", "outcome"):
        values = [losses[name] for losses in taken]
        assert np.mean(values[-20:]) < 0.85 * np.mean(values[:20]), name
    assert max(losses["age"] for losses in taken) > 1.5
    scores = stage.held_out()
    assert set(scores) == {"psnr_1", "psnr_10"}
    assert all(math.isfinite(value) for value in scores.values())


@pytest.mark.parametrize("covered", [0.0, 0.5, 1.0])
def test_cells_behind_the_robot_count_less(
    clips: Clips, monkeypatch: pytest.MonkeyPatch, covered: float
) -> None:
    def layer(self: RobotRenderer, posture: Tensor) -> RobotLayer:
        shape = (len(posture), 1, SIZE, SIZE)
        return RobotLayer(colours=torch.zeros(shape), cover=torch.full(shape, covered))

    monkeypatch.setattr(RobotRenderer, "forward", layer)
    model = make_model()
    assert torch.allclose(
        hidden_by(model.robots(clips.proprioception)), torch.tensor(covered)
    )
    losses = []
    for discount in (0.0, 1.0):
        stage = make_dynamics_stage(make_model(), clips, hidden_discount=discount)
        losses.append(stage.train_step(0, 0.0)["latents"])
    assert losses[1] == pytest.approx((1.0 - covered) * losses[0])


def test_only_dynamics_and_heads_are_trained_in_the_last_stage() -> None:
    cameras = ("top", "wrist")
    clips = moving_square(embodiment_with(SIZE, cameras), runs=3, length=14, seed=1)
    model = make_model(cameras)
    stage = make_dynamics_stage(model, clips)
    before = weights(model)
    assert all(math.isfinite(v) for v in stage.train_step(0, 0.9).values())
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert {name.partition(".")[0] for name in moved} == {"dynamics", "outcome"}


def test_a_model_keeps_the_units_of_what_it_has_learned(clips: Clips) -> None:
    model = make_model()
    set_units(model, clips, 0, CPU)
    change, distance = float(model.units.change), float(model.distance)
    assert change != 1.0 and distance != 1.0
    brighter = dataclasses.replace(clips, frames=255 - clips.frames)
    set_units(model, brighter, 0, CPU)
    assert (float(model.units.change), float(model.distance)) == (change, distance)


def test_without_labels_the_heads_are_left_alone(clips: Clips) -> None:
    unknown = torch.full_like(clips.progress_labels, torch.nan)
    bare = dataclasses.replace(clips, progress_labels=unknown, success_labels=unknown)
    model = make_model()
    stage = make_dynamics_stage(model, bare)
    assert stage.train_step(0, 0.0)["outcome"] == 0.0


def pool_of(clips: Clips, oldest: int) -> RolloutPool:
    recordings = encoded(make_model(), clips, CPU, warp_px=2.0)
    return RolloutPool(
        clips, recordings, size=16, context=3, oldest=oldest, strayed=0.25, seed=0
    )


def test_rollouts_stay_inside_their_recording_and_below_their_age(clips: Clips) -> None:
    pool, generator = pool_of(clips, 5), torch.Generator().manual_seed(1)
    ages = set()
    for _ in range(60):
        assert not clips.actions[pool.rows].isnan().any()
        assert (pool.rows < clips.last[pool.rows]).all()
        ages |= set(pool.age.tolist())
        pool.advance(
            pool.windows[:, -1].float(), torch.zeros(16), pool.doubt + 0.1, 1.0, generator
        )
    assert ages == set(range(5))


def test_rollouts_start_from_clean_warped_ghostly_and_faded_latents(clips: Clips) -> None:
    latents = torch.full((len(clips), 1, 8, 4, 4), 2.0).half()
    latents += (torch.arange(len(clips)) - clips.first)[:, None, None, None, None]
    recordings = LatentRecordings(
        clean=latents, warped=latents + 100.0, hidden=torch.zeros(len(clips), 1, 4, 4)
    )
    pool = RolloutPool(
        clips, recordings, size=2000, context=3, oldest=5, strayed=1.0, seed=0
    )
    now, clean = pool.windows[:, -1, 0, 0, 0, 0].float(), latents[pool.rows, 0, 0, 0, 0].float()
    kinds = {"clean": now == clean, "warped": now > 100.0, "worn": now < clean}
    assert sum(int(kind.sum()) for kind in kinds.values()) == 2000
    share = {name: float(kind.float().mean()) for name, kind in kinds.items()}
    assert share["warped"] == pytest.approx(0.25, abs=0.03)
    # A ghost of the run's first frame is the frame itself.
    assert 0.17 < share["worn"] <= 0.28
    worn = now[kinds["worn"]] / clean[kinds["worn"]]
    assert 0.4 < worn.min() < 0.7
    # What shows in the present shows in the whole window, so that nothing tells of it.
    oldest = pool.windows[:, 0, 0, 0, 0, 0].float()
    first = latents[clips.recent(pool.rows, 3)[:, 0], 0, 0, 0, 0].float()
    assert (oldest != first)[kinds["worn"]].float().mean() > 0.8


def test_rollouts_that_stray_or_are_not_finite_are_renewed(clips: Clips) -> None:
    pool, generator = pool_of(clips, 50), torch.Generator().manual_seed(1)
    error = torch.zeros(16)
    error[3], error[5] = 1.0, math.nan
    pool.advance(pool.windows[:, -1].float(), error, torch.ones(16), 1.0, generator)
    assert pool.age[[3, 5]].tolist() == [0, 0]
    assert pool.doubt[[3, 5]].tolist() == [0.0, 0.0]
    assert pool.age.sum() > 8


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
        make_autoencoder_stage, partial(make_dynamics_stage, embodiment=embodiment)
    ):
        stage = make(model, clips)
        assert all(math.isfinite(v) for v in stage.train_step(0, 0.9).values())


STAGES: dict[str, Callable[[LatentWorldModel, Clips], Stage]] = {
    "joints": make_joint_stage, "autoencoder": make_autoencoder_stage,
    "dynamics": make_dynamics_stage,
}


@pytest.mark.parametrize("name", list(STAGES))
def test_a_resumed_run_equals_an_uninterrupted_one(
    name: str, clips: Clips, tmp_path: Path
) -> None:
    def run(path: Path, budgets: list[int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        for part, steps in enumerate(budgets):
            model = make_model()
            stage = STAGES[name](model, clips)
            # The share of the budget is part of the schedule: it must not differ between runs.
            budget = FixedShare(steps=steps)
            train(stage, budget, state_path=path, resume=part > 0, write=lambda line: None)
        last = weights(model)
        stage.take_average()
        return last, weights(model)

    whole = run(tmp_path / "whole.pt", [6])
    parts = run(tmp_path / "parts.pt", [3, 6])
    for one, other in zip(whole, parts, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


class FixedShare(Budget):
    """A budget of six steps that may be left early."""

    def progress(self, step: int, elapsed_s: float) -> float:
        return 1.0 if step >= self.steps else step / 6
