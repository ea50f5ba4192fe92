"""Policies see every camera of the embodiment, whatever its size; shipped ones are unchanged."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hiwm_learning.datasets import demonstration_weights
from hiwm_learning.policies.augmentation import largest_shift
from hiwm_learning.policies.backbones import BACKBONES
from hiwm_learning.policies.chunk_policy import ChunkPolicy, PolicyConfig
from hiwm_learning.policies.planning import load_planner
from hiwm_learning.policies.samples import split_samples
from hiwm_learning.policies.trainer import PolicyTrainer
from hiwm_test_support.arms import two_arms
from hiwm_test_support.policies import dot_embodiment, small_config
from hiwm_test_support.shipped import POLICY
from hiwm_test_support.two_cameras import noise_images, two_camera_episodes

MODELS = Path(__file__).parents[3] / "models"
backbones = pytest.mark.parametrize("backbone", sorted(BACKBONES))
_SMALL: dict[str, dict[str, Any]] = {
    "diffusion": {"encoder_width": 8, "keypoints": 4, "features": 16, "denoiser_width": 16},
    "act": {"encoder_width": 8, "features": 16, "heads": 2, "feedforward": 16},
}


def config_of(backbone: str) -> PolicyConfig:
    return BACKBONES[backbone].config.for_embodiment(
        two_arms(), horizon=4, execute_horizon=2, **_SMALL[backbone]
    )


def policy_of(backbone: str) -> ChunkPolicy:
    torch.manual_seed(0)
    return BACKBONES[backbone].build(config_of(backbone)).eval()


@backbones
def test_config_lists_every_camera_and_survives_json(backbone: str) -> None:
    config = config_of(backbone)
    assert [(one.name, one.height, one.width) for one in config.cameras] == [
        ("front", 48, 64), ("wrist", 41, 33),
    ]
    assert type(config).from_dict(config.to_dict(), "test") == config


@backbones
def test_a_plan_depends_on_every_camera(backbone: str) -> None:
    policy, proprio = policy_of(backbone), torch.zeros(1, 2, 16)
    for parameter in policy.parameters():  # blocks of the denoiser start as the identity
        torch.nn.init.normal_(parameter, std=0.2)
    images, others = noise_images((1, 2), 0), noise_images((1, 2), 1)

    def plan(**seen: Any) -> torch.Tensor:
        return policy.sample(
            [torch.from_numpy(one) for one in {**images, **seen}.values()], proprio,
            torch.Generator().manual_seed(0),
        )

    first = plan()
    assert first.shape == (1, 4, 14)
    for camera in ("front", "wrist"):
        assert (plan(**{camera: others[camera]}) - first).abs().max() > 0.0


@backbones
def test_training_reaches_every_camera_and_a_planner_needs_them_all(
    backbone: str, tmp_path: Path
) -> None:
    episodes = two_camera_episodes(tmp_path / "set.zarr", 3)
    output = tmp_path / "arms.safetensors"
    trainer = PolicyTrainer(
        episodes, config_of(backbone), weights=demonstration_weights(episodes), data={}, seed=0,
        output=output, name="arms",
    )
    before = {name: value.clone() for name, value in trainer.policy.state_dict().items()}
    for step in range(2):
        assert np.isfinite(trainer.train_step(step, 0.5)["loss"])
    moved = {
        name for name, value in trainer.policy.named_parameters()
        if not torch.equal(value, before[name])
    }
    first, other = {
        "diffusion": ("encoder", "other_encoders.0"), "act": ("see", "see_others.0"),
    }[backbone]
    assert {f"{first}.stem.0.weight", f"{other}.stem.0.weight"} <= moved
    assert np.isfinite(trainer.held_out()["held_out_loss"])
    trainer.export(2, 0.0, {})
    assert "on 2 cameras" in output.with_suffix(".card.md").read_text()

    planner = load_planner(output)
    assert planner.image_shapes == {"front": (48, 64, 3), "wrist": (41, 33, 3)}
    images, proprio = noise_images((2,), 5), episodes.proprio[:2]
    plan = planner.plan(images, proprio, (1, 2, 3))
    assert plan.shape == (4, 14)
    many = planner.plan_many(
        {name: np.stack([frames, 255 - frames]) for name, frames in images.items()},
        np.stack([proprio, proprio]), [(1, 2, 3), (4,)],
    )
    np.testing.assert_allclose(many[0], plan, atol=1e-5)
    with pytest.raises(KeyError, match="wrist"):
        planner.plan({"front": images["front"]}, proprio, (1, 2, 3))


def test_augmentation_shifts_each_oblique_camera_by_itself(tmp_path: Path) -> None:
    episodes = two_camera_episodes(tmp_path / "set.zarr", 2)
    samples, _ = split_samples(
        episodes, demonstration_weights(episodes), config_of("act"), sampling="uniform", seed=0,
        size=4,
    )
    chosen, device = np.arange(4), torch.device("cpu")
    plain = samples.batch(chosen, device)
    varied = samples.batch(chosen, device, np.random.default_rng(3))
    for before, after, size in zip(plain.images, varied.images, ((48, 64), (41, 33)), strict=True):
        assert after.shape == before.shape == (4, 2, *size, 3)
        assert (after[:, -1] != before[:, -1]).any()
    torch.testing.assert_close(varied.proprio[:, -1], plain.proprio[:, -1])
    torch.testing.assert_close(varied.actions, plain.actions)


def test_a_camera_that_looks_straight_down_is_shifted_only_alone() -> None:
    (top,) = dot_embodiment().cameras
    assert largest_shift(top, alone=True) == 1
    assert largest_shift(replace(top, width=96, height=96), alone=True) == 4
    assert largest_shift(top, alone=False) == 0
    assert largest_shift(replace(top, view_m=(0.0, 0.0)), alone=False) == 1


@backbones
def test_one_camera_has_the_weights_that_it_had_before(backbone: str) -> None:
    names = BACKBONES[backbone].build(small_config(backbone)).state_dict()
    assert not [name for name in names if "other" in name or "mark" in name]


# First and last action of the chunks that the shipped policies plan. Before they could see several
# cameras, and before their weights were halved, each differed by less than 0.04 mm from these.
SHIPPED = {
    POLICY.stem: (
        [-0.0482555032, -0.0040765731, -0.1025786996, -0.0815280154],
        [-0.0940920562, -0.0512535162, -0.1272161901, -0.0779220089],
    ),
    f"{POLICY.stem}_hi_wm": (
        [-0.0407710001, -0.0024264604, -0.1044624597, -0.0908166543],
        [0.0993259698, 0.0261552464, -0.1525806636, -0.1059088856],
    ),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_plan_as_before(name: str) -> None:
    planner, rng = load_planner(MODELS / f"{name}.safetensors"), np.random.default_rng(7)
    image = rng.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    plan = planner.plan(
        {"top": image}, rng.uniform(-0.15, 0.15, (2, 4)).astype(np.float32), (1, 2, 3)
    )
    np.testing.assert_allclose(plan[[0, -1]], SHIPPED[name], atol=1e-5)
