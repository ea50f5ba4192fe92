"""Geometry under the learned step: motions, outlines, what does not depend on place and angle."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import load_task
from hiwm_learning.world_models.layered.dynamics import ARC_RADIUS_M, advance, distance_map, motion
from hiwm_learning.world_models.layered.model import WorldModel
from hiwm_test_support.layered_worlds import drawn_world_model, object_pose, scene

PLACE = st.floats(-0.25, 0.25, width=32)
YAW = st.floats(-3.125, 3.125, width=32)
POSE = st.builds(object_pose, PLACE, PLACE, YAW)
STEP = st.builds(
    lambda x, y, yaw: torch.tensor([[x, y, yaw * ARC_RADIUS_M]], dtype=torch.float32),
    PLACE, PLACE, YAW,
)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return drawn_world_model(load_embodiment(load_task(default_task()).embodiment))


@settings(deadline=None)
@given(pose=POSE, step=STEP)
def test_advance_makes_the_motion_it_is_given(pose: Tensor, step: Tensor) -> None:
    assert torch.allclose(motion(pose[None], advance(pose[None], step)), step, atol=2e-6)


@settings(deadline=None)
@given(before=POSE, after=POSE)
def test_the_motion_between_two_poses_leads_from_one_to_the_other(
    before: Tensor, after: Tensor
) -> None:
    found = advance(before[None], motion(before[None], after[None]))
    assert torch.allclose(found, after[None], atol=2e-6)


@settings(deadline=None)
@given(pose=POSE, step=STEP)
def test_a_pose_keeps_unit_length_however_often_it_moves(pose: Tensor, step: Tensor) -> None:
    now = pose[None]
    for _ in range(200):
        now = advance(now, step)
    assert float(now[0, 2:].norm()) == pytest.approx(1.0, abs=1e-5)


def test_the_distance_map_of_a_square_is_known() -> None:
    extent, half, size = 0.24, 0.03, 72
    axis = ((torch.arange(size) + 0.5) / size - 0.5) * extent
    solid = (axis.abs()[:, None] < half) & (axis.abs()[None] < half)
    canvas = torch.zeros(4, size, size)
    canvas[3] = solid.float()
    distance, slope_x, slope_y = distance_map(canvas, extent)
    pixels = len(distance)
    span = 1.6 * extent

    def at(grid: Tensor, x: float, y: float) -> float:
        column, row = (x / span + 0.5) * pixels - 0.5, (0.5 - y / span) * pixels - 0.5
        return float(grid[round(row), round(column)])

    near = span / pixels + extent / size  # a texel of each grid
    assert at(distance, 0.0, 0.0) == pytest.approx(-half, abs=near)
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        assert at(distance, 0.07 * x, 0.07 * y) == pytest.approx(0.04, abs=near)
        assert at(distance, 0.02 * x, 0.02 * y) == pytest.approx(-0.01, abs=near)
        # The slope points away from the square.
        assert at(slope_x, 0.07 * x, 0.07 * y) == pytest.approx(x, abs=0.15)
        assert at(slope_y, 0.07 * x, 0.07 * y) == pytest.approx(y, abs=0.15)
    assert at(distance, 0.07, 0.07) == pytest.approx(math.hypot(0.04, 0.04), abs=near)


def turned(poses: Tensor, by: Tensor) -> Tensor:
    """Return poses [B, L, 4] of a whole scene moved by one table pose [4]."""
    c, s = by[2], by[3]
    x, y, cos, sin = poses.unbind(-1)
    return torch.stack(
        [by[0] + c * x - s * y, by[1] + s * x + c * y, c * cos - s * sin, s * cos + c * sin],
        dim=-1,
    )


@settings(max_examples=20, deadline=None)
@given(body=POSE, by=POSE, seed=st.integers(0, 2**16))
def test_what_is_seen_from_the_object_does_not_depend_on_where_it_lies(
    model: WorldModel, body: Tensor, by: Tensor, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hands = (torch.rand(1, 4, generator=generator) - 0.5) * 0.2
    poses = scene(model, body[None], hands)
    previous = poses.clone()
    previous[..., :2] += 0.004 * torch.randn(poses[..., :2].shape, generator=generator)
    targets = poses[:, 1:].clone()
    targets[..., :2] += 0.01 * torch.randn(targets[..., :2].shape, generator=generator)
    here = model.dynamics.features(poses, previous, targets[..., :2])
    there = model.dynamics.features(
        turned(poses, by), turned(previous, by), turned(targets, by)[..., :2]
    )
    arms = 12 * model.dynamics.arms
    assert torch.allclose(here[:, :arms], there[:, :arms], atol=2e-3)
    assert torch.allclose(here[:, -3:], there[:, -3:], atol=2e-3)


@settings(max_examples=10, deadline=None)
@given(right=st.integers(-10, 10), up=st.integers(-10, 10), yaw=YAW)
def test_moving_the_scene_by_whole_pixels_moves_the_picture(
    model: WorldModel, right: int, up: int, yaw: float
) -> None:
    pitch = 0.4 / 96
    poses = scene(model, object_pose(0.01, -0.01, yaw)[None], torch.full((1, 4), 0.03))
    shifted = poses.clone()
    shifted[..., 0] += right * pitch
    shifted[..., 1] += up * pitch
    with torch.no_grad():
        here, there = model.decoder(poses), model.decoder(shifted)
    # Away from the picture's border, where rolling brings in the opposite side.
    inner = (..., slice(12, -12), slice(12, -12))
    assert torch.allclose(here.roll((-up, right), (2, 3))[inner], there[inner], atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(pose=st.builds(object_pose, st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), YAW))
def test_a_quarter_turn_of_the_scene_turns_the_picture(model: WorldModel, pose: Tensor) -> None:
    poses = scene(model, pose[None], torch.tensor([[0.1, 0.02, -0.1, 0.05]]))
    with torch.no_grad():
        here = model.decoder(poses)
        there = model.decoder(turned(poses, object_pose(0.0, 0.0, math.pi / 2)))
    assert torch.allclose(here.rot90(1, (2, 3)), there, atol=2e-3)
