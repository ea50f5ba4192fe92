"""Stages of a latent world's training, on a square that an arm carries."""

import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hiwm_core.embodiment import Embodiment
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.dynamics_training import DynamicsOptions, dynamics_stage
from hiwm_learning.world_models.latent.filling_training import filling_stage
from hiwm_learning.world_models.latent.grip_training import grip_stage
from hiwm_learning.world_models.latent.hand_training import hand_stage
from hiwm_learning.world_models.latent.heads_training import heads_stage
from hiwm_learning.world_models.latent.joint_training import fit_joints, joint_stage
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.robot_training import robot_stage
from hiwm_learning.world_models.latent.scene_data import scene_data
from hiwm_learning.world_models.latent.stage import Stage
from hiwm_test_support.latent_worlds import (
    embodiment_with,
    moving_square,
    untrained_world,
    world_with_gripper,
)

SIZE = 32
CPU = torch.device("cpu")


def square_clips() -> Clips:
    """Return six runs of 20 ticks."""
    return moving_square(embodiment_with(SIZE), runs=6, length=20, seed=0)


def make_model(cameras: tuple[str, ...] = ("top",)) -> LatentWorldModel:
    """Return an untrained model of these cameras, ready to learn."""
    return untrained_world(embodiment_with(SIZE, cameras)).train().requires_grad_(True)


def make_robot_stage(model: LatentWorldModel, clips: Clips, only: Clips | None = None) -> Stage:
    """Return the stage that learns the robot."""
    fit_joints(model, clips)
    return robot_stage(
        model, clips, clips, seed=0, device=CPU, batch=16, robot_only=only
    )


def make_joint_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    """Return the stage that learns the joints."""
    fit_joints(model, clips)
    measure = MeasuredFromProprioception(embodiment_with(SIZE))
    return joint_stage(model, clips, clips, measure, seed=0, device=CPU)


def make_hand_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    """Return the stage that learns where hands are."""
    fit_joints(model, clips)
    return hand_stage(model, clips, seed=0, device=CPU)


def make_filling_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    """Return the stage that learns what is behind the robot."""
    fit_joints(model, clips)
    return filling_stage(model, clips, clips, seed=0, device=CPU, batch=4)


def make_dynamics_stage(
    model: LatentWorldModel, clips: Clips, embodiment: Embodiment | None = None
) -> Stage:
    """Return the stage that learns the dynamics."""
    fit_joints(model, clips)
    measure = MeasuredFromProprioception(embodiment or embodiment_with(SIZE))
    data, held_out = scene_data(model, clips, clips, seed=0, device=CPU)
    options = DynamicsOptions(pool=8, oldest=6)
    return dynamics_stage(model, data, held_out, measure, seed=0, device=CPU, options=options)


def make_heads_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    """Return the stage that learns doubt and verdicts."""
    fit_joints(model, clips)
    data, held_out = scene_data(model, clips, clips, seed=0, device=CPU)
    return heads_stage(
        model, data, held_out, seed=0, device=CPU, options=DynamicsOptions(pool=8, oldest=6)
    )


def make_grip_stage(model: LatentWorldModel, clips: Clips) -> Stage:
    """Return the stage that learns what hands hold."""
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
    """Return an untrained model of a robot with a gripper."""
    return world_with_gripper(embodiment_with(SIZE)).train().requires_grad_(True)


def gripped(clips: Clips) -> Clips:
    """Return the clips with a gripper that is shut from tick 3 to 11."""
    actions, tick = clips.actions.clone(), torch.arange(len(clips)) - clips.first
    actions[:, 0] = torch.where((tick >= 3) & (tick < 12), 0.0, 1.0)
    actions[clips.actions.isnan()] = torch.nan
    return dataclasses.replace(clips, actions=actions)


def weights(model: LatentWorldModel) -> dict[str, Tensor]:
    """Return a copy of all weights."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> set[str]:
    """Return the names of weights that differ; what neither knows, NaN, is equal."""
    return {
        name for name, value in one.items()
        if not torch.equal(torch.nan_to_num(value.float()), torch.nan_to_num(other[name].float()))
    }
