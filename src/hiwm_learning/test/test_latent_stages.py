"""All stages of a latent world's training: runs that stop and continue, and steps on a GPU."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.training_loop import Budget, train
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.dynamics_training import DynamicsOptions, dynamics_stage
from hiwm_learning.world_models.latent.filling_training import filling_stage
from hiwm_learning.world_models.latent.grip_training import grip_stage
from hiwm_learning.world_models.latent.hand_training import hand_stage
from hiwm_learning.world_models.latent.heads_training import heads_stage
from hiwm_learning.world_models.latent.joint_training import fit_joints, joint_stage
from hiwm_learning.world_models.latent.robot_training import robot_stage
from hiwm_learning.world_models.latent.scene_data import scene_data
from hiwm_test_support.latent_stages import (
    SIZE,
    STAGES,
    gripped,
    make_gripping_model,
    make_model,
    square_clips,
    weights,
)
from hiwm_test_support.latent_worlds import embodiment_with


@pytest.fixture(scope="module")
def clips() -> Clips:
    return square_clips()


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
