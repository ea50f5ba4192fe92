"""The pieces of a latent world: shapes at every size, several cameras, planes, the file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_core.tasks import load_task
from hiwm_learning.latent_world.autoencoder import unit_latents
from hiwm_learning.latent_world.dynamics import ActionScale, Condition, Plane
from hiwm_learning.latent_world.model import (
    LatentWorldConfig,
    LatentWorldModel,
    latent_config,
    load_latent_world,
)
from hiwm_learning.latent_world.objectives import OBJECTIVES
from hiwm_learning.latent_world.views import apart, side_by_side
from hiwm_test_support.arms import two_arms
from hiwm_test_support.latent_worlds import (
    embodiment_with,
    untrained_world,
    write_untrained_checkpoint,
)

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)


@pytest.mark.parametrize(
    ("size", "latent"), [(96, (4, 24, 24)), (128, (4, 32, 32)), (256, (8, 32, 32))]
)
@pytest.mark.parametrize("cameras", [("top",), ("top", "wrist")])
def test_frames_become_latents_move_on_and_become_frames(
    size: int, latent: tuple[int, int, int], cameras: tuple[str, ...]
) -> None:
    model = untrained_world(embodiment_with(size, cameras))
    views = len(cameras)
    shape = (views * latent[0], *latent[1:])
    frames = torch.randint(256, (2, views, size, size, 3), dtype=torch.uint8)
    latents = model.encode(frames)
    assert latents.shape == (2, *shape)
    condition = Condition(
        latents=latents[:, None].expand(-1, 3, -1, -1, -1),
        actions=torch.full((2, 3, 4), torch.nan), noise=torch.zeros(2),
    )
    following = model.following(condition, lambda: torch.randn(2, *shape))
    assert following.shape == latents.shape
    redrawn = model.decode(following)
    assert (redrawn.shape, redrawn.dtype) == (frames.shape, torch.uint8)
    read, progress, success = model.outcome(latents, following, condition.actions[:, -1])
    assert (read.shape, progress.shape, success.shape) == ((2, 4), (2,), (2,))
    assert model.doubt.spread(latents, following, condition.actions[:, -1]).shape == (2,)


def test_latents_have_unit_mean_square_in_each_camera() -> None:
    latents = unit_latents(torch.randn(3, 8, 5, 5), 4)
    norms = latents.unflatten(1, (2, 4)).square().mean(2)
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5)


def test_each_camera_has_latents_of_its_own() -> None:
    model = untrained_world(embodiment_with(96, ("top", "wrist")))
    frames = torch.randint(256, (1, 2, 96, 96, 3), dtype=torch.uint8)
    other = frames.clone()
    other[:, 1] = 255 - other[:, 1]
    with torch.no_grad():
        a, b = model.encode(frames), model.encode(other)
    assert torch.equal(a[:, :4], b[:, :4])
    assert not torch.allclose(a[:, 4:], b[:, 4:], atol=0.1)


def test_cameras_of_different_sizes_share_a_grid_and_keep_their_sizes() -> None:
    config = latent_config(two_arms(), preset="tiny", context=3)
    assert config.cameras == ("front", "wrist")
    # The largest of 64x48 and 33x41 px in cells of 4 px, halved once more by the dynamics.
    assert (config.height, config.width) == (48, 64)
    assert config.camera_sizes == ((48, 64), (41, 33))
    again = LatentWorldConfig.from_json(json.loads(json.dumps(config.as_json())))
    assert again == config
    alike = latent_config(embodiment_with(96, ("top", "wrist")))
    assert (alike.sizes, alike.camera_sizes) == ((), ((96, 96),) * 2)
    odd = latent_config(embodiment_with(90), preset="tiny")
    assert ((odd.height, odd.width), odd.camera_sizes) == ((96, 96), ((90, 90),))


def test_views_become_the_models_size_and_their_own_again() -> None:
    rows, columns = torch.meshgrid(torch.arange(41), torch.arange(33), indexing="ij")
    smooth = torch.stack((rows * 4, columns * 5, rows + columns), dim=-1).to(torch.uint8)[None]
    front = torch.randint(256, (1, 48, 64, 3), dtype=torch.uint8)
    frames = side_by_side([front, smooth], (48, 64))
    assert (frames.shape, frames.dtype) == ((1, 2, 48, 64, 3), torch.uint8)
    same, back = apart(frames, ((48, 64), (41, 33)))
    assert torch.equal(same, front)
    assert (back.int() - smooth.int()).abs().max() <= 6


def test_a_plane_is_brightest_where_the_arm_is_told_to_go() -> None:
    scale = ActionScale((-0.18,) * 2, (0.18,) * 2, (Plane(x=0, y=1, view_m=(0.4, 0.4)),), (20, 20))
    # 0.09 m right of the middle and 0.15 m up, of 0.4 m in 20 cells: column 14.5, row 2.5.
    scaled = scale.scaled(torch.tensor([[0.09, 0.15]]))
    assert torch.allclose(scaled, torch.tensor([[0.5, 5 / 6]]))
    plane = scale.drawn(scaled)[0, 0]
    assert divmod(int(plane.argmax()), 20) in [(2, 14), (2, 13)]
    weight = plane / plane.sum()
    cells = torch.arange(20) + 0.5
    assert float((weight.sum(0) * cells).sum()) == pytest.approx(14.5, abs=0.05)
    assert float((weight.sum(1) * cells).sum()) == pytest.approx(2.5, abs=0.05)


def test_no_plane_for_cameras_that_do_not_look_down_or_actions_unknown() -> None:
    config = latent_config(embodiment_with(96, ("top", "wrist")), preset="tiny")
    assert [(plane.x, plane.y) for plane in config.planes] == [(0, 1), (2, 3)]
    model = LatentWorldModel(config)
    assert not model.actions.drawn(torch.full((1, 4), torch.nan)).any()


def test_actions_move_the_prediction() -> None:
    model = untrained_world(EMBODIMENT, objective="regression")
    latents = model.encode(torch.randint(256, (1, 1, 96, 96, 3), dtype=torch.uint8))
    window = latents[:, None].expand(-1, 3, -1, -1, -1)

    def following(value: float) -> torch.Tensor:
        actions = torch.full((1, 3, 4), value)
        condition = Condition(latents=window, actions=actions, noise=torch.zeros(1))
        return model.following(condition, lambda: torch.zeros(()))

    assert not torch.allclose(following(0.2), following(-0.4), atol=1e-3)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_a_configuration_comes_back_from_json(objective: str) -> None:
    config = latent_config(EMBODIMENT, objective=objective, context=7)
    assert LatentWorldConfig.from_json(json.loads(json.dumps(config.as_json()))) == config


def test_a_misnamed_configuration_is_refused() -> None:
    data = latent_config(EMBODIMENT).as_json()
    del data["dynamics"]["widths"]
    with pytest.raises(CheckpointError, match="widths"):
        LatentWorldConfig.from_json(data)


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ConfigError, match="preset"):
        latent_config(EMBODIMENT, preset="huge")
    with pytest.raises(ConfigError, match="context"):
        untrained_world(EMBODIMENT, context=1)


def test_a_checkpoint_brings_the_same_model_back(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path, seed=3)
    model, checkpoint = load_latent_world(path, EMBODIMENT.hash)
    again = untrained_world(EMBODIMENT, seed=3)
    for name, value in again.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert checkpoint.info.kind == "latent_world_model"
    with np.load(tmp_path / "world_starts.npz") as starts:
        assert starts["images"].shape == (3, 96, 96, 3)


def test_a_checkpoint_of_another_embodiment_is_refused(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path, embodiment_hash="f" * 64)
    with pytest.raises(CheckpointError, match="f" * 64) as refusal:
        load_latent_world(path, EMBODIMENT.hash)
    assert EMBODIMENT.hash in str(refusal.value)
