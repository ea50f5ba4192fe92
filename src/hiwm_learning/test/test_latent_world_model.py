"""The pieces of a latent world: shapes, several cameras, the robot's drawing, cells in play."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hiwm_core.config_files import default_task, find_config
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_core.tasks import load_task
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.world_models.latent.autoencoder import unit_latents
from hiwm_learning.world_models.latent.config import LatentWorldConfig, arms_of, latent_config
from hiwm_learning.world_models.latent.joint_response import JointResponse
from hiwm_learning.world_models.latent.model import (
    LatentWorldModel,
    Worlds,
    restored_model,
    stored_weights,
)
from hiwm_learning.world_models.latent.robot_drawing import point_features
from hiwm_learning.world_models.latent.units import LatentUnits
from hiwm_learning.world_models.latent.views import apart, side_by_side
from hiwm_test_support.arms import two_arms
from hiwm_test_support.latent_worlds import (
    embodiment_with,
    untrained_world,
    write_untrained_checkpoint,
)

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)


def worlds(model: LatentWorldModel, latents: torch.Tensor, gap: float = 0.0) -> Worlds:
    """Return worlds at rest in which latents [B, C, Z, h, w] have long been the present ones."""
    batch, actions = len(latents), model.config.actions
    joints = torch.zeros(batch, model.config.proprioception)
    window = latents[:, None].expand(-1, model.config.dynamics.context, -1, -1, -1, -1)
    return Worlds(
        latents=window, reference=latents, joints=joints, joints_before=joints,
        gap=torch.full((batch, actions), gap), last_gap=torch.zeros(batch, actions),
        doubt=torch.zeros(batch),
    )


@pytest.mark.parametrize(("size", "cells"), [(96, 12), (128, 16), (256, 32)])
@pytest.mark.parametrize("cameras", [("top",), ("top", "wrist")])
def test_frames_become_latents_move_on_and_become_frames(
    size: int, cells: int, cameras: tuple[str, ...]
) -> None:
    model = untrained_world(embodiment_with(size, cameras))
    views = len(cameras)
    frames = torch.randint(256, (2, views, size, size, 3), dtype=torch.uint8)
    joints = torch.zeros(2, model.config.proprioception)
    latents = model.encode(frames, joints)
    assert latents.shape == (2, views, 8, cells, cells)
    predicted, after = model.follow(worlds(model, latents))
    assert predicted.latents.shape == latents.shape
    assert (after.shape, predicted.doubt.shape) == (joints.shape, (2,))
    redrawn = model.decode(predicted.latents, after)
    assert (redrawn.shape, redrawn.dtype) == (frames.shape, torch.uint8)
    progress, success = model.outcome(latents, model.posture(joints))
    assert (progress.shape, success.shape) == ((2,), (2,))


def test_latents_have_unit_deviation_in_each_cell() -> None:
    latents = unit_latents(torch.randn(3, 8, 5, 5))
    assert torch.allclose(latents.square().mean(1), torch.ones(3, 5, 5), atol=1e-5)


def test_each_camera_has_latents_of_its_own() -> None:
    model = untrained_world(embodiment_with(96, ("top", "wrist")))
    frames = torch.randint(256, (1, 2, 96, 96, 3), dtype=torch.uint8)
    other = frames.clone()
    other[:, 1] = 255 - other[:, 1]
    joints = torch.zeros(1, model.config.proprioception)
    a, b = model.encode(frames, joints), model.encode(other, joints)
    assert torch.equal(a[:, 0], b[:, 0])
    assert not torch.allclose(a[:, 1], b[:, 1], atol=0.1)


def test_the_picture_follows_the_joints_with_the_same_latents() -> None:
    model = untrained_world(EMBODIMENT)
    frames = torch.randint(256, (1, 1, 96, 96, 3), dtype=torch.uint8)
    joints = torch.zeros(1, model.config.proprioception)
    latents = model.encode(frames, joints)
    assert not torch.equal(model.decode(latents, joints), model.decode(latents, joints + 1.0))


def test_points_and_links_are_drawn_where_they_are() -> None:
    points = torch.tensor([[[-0.5, 0.0], [0.5, 0.0]]])  # a horizontal link through the middle
    drawn = point_features(points, (16, 16))[0]
    assert drawn.shape == (6 * 2 - 2, 16, 16)
    for index, column in ((0, (3, 4)), (1, (11, 12))):
        row, found = divmod(int(drawn[index].argmax()), 16)
        assert row in (7, 8) and found in column
    link = drawn[8]
    assert link[7, 4:12].min() > 0.8 and link[1].max() < 0.01


def test_each_arm_is_drawn_from_its_own_joints() -> None:
    embodiment = load_embodiment(find_config("embodiments", "yam_pair_cartesian"))
    names = [entry.name for entry in embodiment.proprioception]
    left, right = arms_of(embodiment)
    assert {names[i] for i in left} == {name for name in names if name.startswith("left")}
    assert {names[i] for i in right} == {name for name in names if name.startswith("right")}


def test_cells_come_into_play_where_things_are_unusual_or_the_robot_comes_near() -> None:
    model = untrained_world(EMBODIMENT)
    now = torch.zeros(1, 1, 8, 12, 12)
    now[0, 0, :, 3, 4] = 1.0
    points = torch.full((1, 1, len(model.config.arms) * 3, 2), 0.9)
    ranked = model.dynamics.in_play(now, torch.zeros_like(now), points)[0].tolist()
    assert ranked[0] == 3 * 12 + 4
    near = (11 * 12 + 11) in ranked  # x, y of 0.9 lie in the last row and column
    assert near and len(ranked) == len(set(ranked)) == 48


def test_small_changes_of_latents_count_as_much_as_large_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    usual = torch.randn(1, 8, 12, 12, generator=generator)
    frames = usual + 0.01 * torch.randn(40, 1, 8, 12, 12, generator=generator)
    later = frames.clone()
    shift = torch.randn(40, 8, generator=generator)
    for size in (0.05, 1.0):
        later[:, 0, :, 3, 4] = frames[:, 0, :, 3, 4] + size * shift
        units = LatentUnits(1, 8, (12, 12))
        assert units.unset
        raw = [unit_latents(part[:, 0])[:, None] for part in (frames, later)]
        units.fit(*raw)
        assert not units.unset
        moved = units.of(raw[1])[:, 0].square().mean(1)
        assert 0.4 < moved[:, 3, 4].mean() < 2.5, size
        moved[:, 3, 4] = 0.0
        assert moved.mean() < 0.1


def test_units_are_undone_and_settle_on_what_coders_give() -> None:
    units = LatentUnits(2, 8, (4, 4))
    raw = unit_latents(torch.randn(6, 8, 4, 4)).unflatten(0, (3, 2))
    assert torch.equal(units.raw(units.of(raw)), raw)  # before they are set
    units.fit(raw, raw + 0.1 * torch.randn(raw.shape))
    assert torch.allclose(units.raw(units.of(raw)), raw, atol=1e-5)
    assert torch.allclose(units.settled(units.of(raw)), units.of(raw), atol=1e-4)
    pushed = units.raw(units.settled(units.of(raw) + 0.5))
    assert torch.allclose(pushed.square().mean(2), torch.ones(3, 2, 4, 4), atol=1e-5)


def test_cells_out_of_play_keep_their_latents() -> None:
    model = untrained_world(EMBODIMENT)
    latents = unit_latents(torch.randn(1, 8, 12, 12))[:, None]
    present = worlds(model, latents)
    predicted, _ = model.follow(present)
    points = model.points(present.joints)
    chosen = model.dynamics.in_play(latents, latents, points)[0]
    flat = (predicted.latents - latents).abs().amax(2).flatten()
    outside = torch.ones(144, dtype=torch.bool)
    outside[chosen] = False
    assert flat[outside].max() < 1e-5 < flat[chosen].max()


def test_commands_change_the_prediction() -> None:
    model = untrained_world(EMBODIMENT)
    latents = unit_latents(torch.randn(1, 8, 12, 12))[:, None]
    still, _ = model.follow(worlds(model, latents))
    moved, _ = model.follow(worlds(model, latents, gap=0.5))
    assert not torch.allclose(still.latents, moved.latents, atol=1e-3)


def test_the_response_of_the_joints_is_found_even_with_constant_entries() -> None:
    generator = torch.Generator().manual_seed(0)
    now, before = torch.rand(500, 3, generator=generator), torch.rand(500, 3, generator=generator)
    gap, last_gap = (torch.randn(500, 2, generator=generator) for _ in range(2))
    now[:, 2] = before[:, 2] = 0.25  # a joint that never moves
    after = now + 0.3 * (now - before)
    after[:, :2] += 0.5 * gap - 0.1 * last_gap
    response = JointResponse(3, 2)
    response.fit(now, before, gap, last_gap, after)
    found = now + response(now, before, gap, last_gap)
    assert torch.allclose(found, after, atol=1e-3)


def test_cameras_of_different_sizes_share_a_grid_and_keep_their_sizes() -> None:
    config = latent_config(two_arms(), network="tiny")
    assert config.cameras == ("front", "wrist")
    # The largest of 64x48 and 33x41 px, in cells of 8 px.
    assert (config.height, config.width, config.grid) == (48, 64, (6, 8))
    assert config.sizes == ((48, 64), (41, 33))
    odd = latent_config(embodiment_with(90), network="tiny")
    assert ((odd.height, odd.width), odd.sizes) == ((96, 96), ((90, 90),))


def test_views_become_the_models_size_and_their_own_again() -> None:
    rows, columns = torch.meshgrid(torch.arange(41), torch.arange(33), indexing="ij")
    smooth = torch.stack((rows * 4, columns * 5, rows + columns), dim=-1).to(torch.uint8)[None]
    front = torch.randint(256, (1, 48, 64, 3), dtype=torch.uint8)
    frames = side_by_side([front, smooth], (48, 64))
    assert (frames.shape, frames.dtype) == ((1, 2, 48, 64, 3), torch.uint8)
    same, back = apart(frames, ((48, 64), (41, 33)))
    assert torch.equal(same, front)
    assert (back.int() - smooth.int()).abs().max() <= 6


def test_a_configuration_comes_back_from_json() -> None:
    for config in (latent_config(EMBODIMENT), latent_config(two_arms(), network="gpu", tokens=7)):
        assert LatentWorldConfig.from_json(json.loads(json.dumps(config.as_json()))) == config


def test_a_misnamed_configuration_is_refused() -> None:
    data = latent_config(EMBODIMENT).as_json()
    del data["dynamics"]["width"]
    with pytest.raises(CheckpointError, match="width"):
        LatentWorldConfig.from_json(data)


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="huge.*tiny, cpu, gpu"):
        latent_config(EMBODIMENT, network="huge")


def test_a_checkpoint_brings_the_same_model_back(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path, seed=3)
    checkpoint = load_checkpoint(path, embodiment_hash=EMBODIMENT.hash)
    model = restored_model(checkpoint)
    again = untrained_world(EMBODIMENT, seed=3)
    for name, value in again.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    with np.load(tmp_path / "world_starts.npz") as starts:
        assert starts["images"].shape == (3, 96, 96, 3)


def test_large_weights_are_stored_in_half_of_the_bits_and_draw_the_same(tmp_path: Path) -> None:
    model = untrained_world(EMBODIMENT, seed=3)
    model.known.limit.fill_(torch.inf)
    weights = stored_weights(model)
    assert sum(w.nbytes for w in weights.values()) < 0.55 * sum(
        w.nbytes for w in model.state_dict().values()
    )
    assert weights["response.mean"].dtype == torch.float32
    again = untrained_world(EMBODIMENT, seed=4)
    again.load_state_dict(weights)
    frames = torch.randint(256, (2, 1, 96, 96, 3), dtype=torch.uint8)
    joints = torch.randn(2, model.config.proprioception)
    drawn = [one.decode(one.encode(frames, joints), joints).int() for one in (model, again)]
    assert (drawn[0] - drawn[1]).abs().float().mean() < 0.5
    assert again.known.limit.isinf()


def test_a_checkpoint_of_another_embodiment_is_refused(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path, embodiment_hash="f" * 64)
    with pytest.raises(CheckpointError, match="f" * 64) as refusal:
        load_checkpoint(path, embodiment_hash=EMBODIMENT.hash)
    assert EMBODIMENT.hash in str(refusal.value)
