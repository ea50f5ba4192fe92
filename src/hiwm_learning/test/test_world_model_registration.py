"""The encoder finds the pose a frame was drawn from."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import load_task
from hiwm_learning.world_models.layered.appearance import arm_poses
from hiwm_learning.world_models.layered.dynamics import ARC_RADIUS_M, motion
from hiwm_learning.world_models.layered.layers import frames_to_bytes, frames_to_float
from hiwm_learning.world_models.layered.model import WorldModel
from hiwm_learning.world_models.layered.registration import refine_poses, register
from hiwm_learning.world_models.layered.tracking import track
from hiwm_test_support.layered_worlds import drawn_world_model, scene

TOLERANCE_M, TOLERANCE_DEG = 0.0005, 0.5


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return drawn_world_model(load_embodiment(load_task(default_task()).embodiment))


def random_poses(count: int, generator: torch.Generator) -> Tensor:
    """Return object poses [N, 4] that keep the T in the picture."""
    place = (torch.rand(count, 2, generator=generator) - 0.5) * 0.16
    yaw = torch.rand(count, generator=generator) * 2 * math.pi
    return torch.cat([place, yaw.cos()[:, None], yaw.sin()[:, None]], dim=1)


def seen(model: WorldModel, poses: Tensor) -> Tensor:
    """Return drawn frames as a camera gives them: rounded to bytes."""
    with torch.no_grad():
        return frames_to_float(frames_to_bytes(model.decoder(poses)))


def assert_near(found: Tensor, wanted: Tensor) -> None:
    error = motion(wanted, found)
    assert float(error[:, :2].norm(dim=1).max()) < TOLERANCE_M
    assert float(torch.rad2deg(error[:, 2] / ARC_RADIUS_M).abs().max()) < TOLERANCE_DEG


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_drawn_pose_is_found_from_nothing(model: WorldModel, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    objects = random_poses(4, generator)
    # Arms anywhere: they may lie on the T.
    hands = (torch.rand(4, 4, generator=generator) - 0.5) * 0.3
    frames = seen(model, scene(model, objects, hands))
    found, error = register(model.decoder, frames, arm_poses(model.decoder, hands), 0, keep=3)
    assert_near(found[:, 0], objects)
    assert float(error.max()) < 1e-3


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_pose_nearby_is_corrected_and_the_arms_are_left_alone(
    model: WorldModel, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    objects = random_poses(4, generator)
    poses = scene(model, objects, torch.full((4, 4), 0.15))
    start = poses.clone()
    start[:, 0, :2] += (torch.rand(4, 2, generator=generator) - 0.5) * 0.008
    found, _ = refine_poses(model.decoder, seen(model, poses), start, 0)
    assert_near(found[:, 0], objects)
    assert torch.equal(found[:, 1:], poses[:, 1:])


def test_a_moving_object_is_followed_through_a_segment(model: WorldModel) -> None:
    count = 6
    yaw = torch.linspace(0.3, 0.8, count)
    objects = torch.stack(
        [torch.linspace(0, 0.03, count), torch.zeros(count), yaw.cos(), yaw.sin()], dim=1
    )
    hands = torch.full((count, 4), 0.15)
    frames = frames_to_bytes(seen(model, scene(model, objects, hands)))
    ((poses, errors),) = track(model.decoder, [(frames, hands)], lambda line: None)
    assert_near(poses[:, 0], objects)
    assert float(errors.max()) < 1e-3
