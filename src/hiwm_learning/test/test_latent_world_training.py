"""Training a latent world on a square that goes where it is told; runs that stop and go on."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from hiwm_learning.latent_world.autoencoder_training import autoencoder_stage
from hiwm_learning.latent_world.clips import Clips
from hiwm_learning.latent_world.dynamics_training import Rollouts, dynamics_stage, fit_scales
from hiwm_learning.latent_world.model import LatentWorldModel
from hiwm_learning.latent_world.objectives import OBJECTIVES
from hiwm_learning.latent_world.stage import Stage
from hiwm_learning.latent_world.views import side_by_side
from hiwm_learning.training_loop import Budget, train
from hiwm_test_support.arms import two_arms
from hiwm_test_support.latent_worlds import embodiment_with, moving_square, untrained_world
from hiwm_test_support.two_cameras import noise_images

SIZE = 32
ACCELERATOR = Accelerator(cpu=True)


@pytest.fixture(scope="module")
def clips() -> Clips:
    return moving_square(embodiment_with(SIZE), runs=6, length=20, seed=0)


def make_model(objective: str = "flow", cameras: tuple[str, ...] = ("top",)) -> LatentWorldModel:
    embodiment = embodiment_with(SIZE, cameras)
    return untrained_world(embodiment, objective).train().requires_grad_(True)


def make_autoencoder_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    return autoencoder_stage(ACCELERATOR, model, clips, clips, batch=8, seed=0)


def make_dynamics_stage(
    model: LatentWorldModel, clips: Clips, unroll: int = 1
) -> tuple[Stage, Rollouts]:
    fit_scales(model, clips)
    return dynamics_stage(
        ACCELERATOR, model, clips, clips, batch=8, unroll=unroll, seed=0
    )


def weights(model: LatentWorldModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_windows_never_leave_their_run(clips: Clips) -> None:
    rows, actions = clips.window(torch.tensor([19, 20, 22]), 4)
    assert rows.tolist() == [[16, 17, 18, 19], [20, 20, 20, 20], [20, 20, 21, 22]]
    unknown = actions.isnan().any(2)
    # Tick 19 is a run's last, nothing followed from it; before tick 20 there was nothing.
    assert unknown.tolist() == [
        [False, False, False, True], [True, True, True, False], [True, False, False, False]
    ]
    ahead = clips.rows(3)
    assert len(ahead) == 6 * 17
    assert (ahead + 3 <= clips.last[ahead]).all()


def test_the_autoencoder_learns_to_redraw(clips: Clips) -> None:
    model = make_model()
    stage = make_autoencoder_stage(model, clips)
    before = stage.held_out()["psnr"]
    losses = [stage.train_step(step, 0.0)["loss"] for step in range(60)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    stage.take_average()
    assert stage.held_out()["psnr"] > before + 3.0


def test_dynamics_learn_where_the_square_goes(clips: Clips) -> None:
    model = make_model("regression")
    stage, rollouts = make_dynamics_stage(model, clips)
    # From step 100 on the learning rate is at its full height.
    taken = [stage.train_step(step, 0.0) for step in range(100, 240)]
    for name in ("dynamics", "outcome", "doubt"):
        values = [losses[name] for losses in taken]
        assert np.mean(values[-20:]) < 0.85 * np.mean(values[:20]), name
    scores = stage.held_out()
    assert set(scores) == {"psnr_h1", "psnr_h10", "still_h1", "still_h10"}
    assert all(math.isfinite(value) for value in scores.values())
    assert 0.0 < rollouts.doubt_scale() < math.inf


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_every_objective_trains_with_unrolled_steps_and_several_cameras(objective: str) -> None:
    cameras = ("top", "wrist")
    clips = moving_square(embodiment_with(SIZE, cameras), runs=3, length=14, seed=1)
    model = make_model(objective, cameras)
    before = weights(model)
    stage, _ = make_dynamics_stage(model, clips, unroll=3)
    for progress in (0.0, 0.9):
        assert all(math.isfinite(v) for v in stage.train_step(0, progress).values())
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert any(name.startswith("dynamics.film") for name in moved)
    assert not any(name.startswith("autoencoder") for name in moved)


def test_cameras_of_different_sizes_train_in_the_size_of_the_model() -> None:
    embodiment, runs, length = two_arms(), 2, 12
    count = runs * length
    model = untrained_world(embodiment).train().requires_grad_(True)
    views = [torch.from_numpy(view) for view in noise_images((count,), 0).values()]
    first = torch.arange(runs).repeat_interleave(length) * length
    clips = Clips(
        frames=side_by_side(views, (model.config.height, model.config.width)),
        proprioception=torch.rand(count, embodiment.proprio_dim),
        actions=torch.rand(count, embodiment.action_dim), progress_labels=torch.rand(count),
        success_labels=torch.rand(count).round(),
        first=first, last=first + length - 1, starts=(), summary={},
    )
    stages = (make_autoencoder_stage(model, clips), make_dynamics_stage(model, clips, unroll=2)[0])
    for stage in stages:
        assert all(math.isfinite(v) for v in stage.train_step(0, 0.9).values())


STAGES: dict[str, Callable[[LatentWorldModel, Clips], Stage]] = {
    "autoencoder": make_autoencoder_stage,
    "dynamics": lambda model, clips: make_dynamics_stage(model, clips, unroll=2)[0],
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


def test_only_the_main_process_writes_and_all_stop_together(
    clips: Clips, tmp_path: Path
) -> None:
    class Second:
        main = False
        asked = 0

        def most(self, value: float) -> float:
            self.asked += 1
            return 2.0 if self.asked > 2 else value  # another process was interrupted

    lines: list[str] = []
    stage = make_autoencoder_stage(make_model(), clips)
    outcome = train(
        stage, Budget(steps=50), state_path=tmp_path / "state.pt", write=lines.append,
        processes=Second(),
    )
    assert (outcome.steps, outcome.interrupted) == (2, True)
    assert not lines
    assert not (tmp_path / "state.pt").exists()
