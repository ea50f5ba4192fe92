"""Anchors, scales and configurations, common to all backbones."""

import json

import numpy as np
import pytest
import torch

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError
from hiwm_learning.policies.backbones import BACKBONES
from hiwm_learning.policies.chunk_policy import ABSOLUTE, Batch, ChunkPolicy, action_anchors
from hiwm_test_support.policies import dot_embodiment, small_config
from hiwm_test_support.robots import mixed_robot, other_proprioception

backbones = pytest.mark.parametrize("backbone", sorted(BACKBONES))


def policy(backbone: str = "act") -> ChunkPolicy:
    return BACKBONES[backbone].build(small_config(backbone))


def some_batch(count: int = 50) -> Batch:
    rng = np.random.default_rng(0)
    proprio = rng.uniform(-0.1, 0.1, (count, 2, 2)).astype(np.float32)
    actions = rng.normal(0.3, 0.02, (count, 4, 3)).astype(np.float32)
    actions[..., :2] += proprio[:, -1:]
    return Batch(
        images=(torch.zeros((count, 2, 32, 32, 3), dtype=torch.uint8),),
        proprio=torch.from_numpy(proprio), actions=torch.from_numpy(actions),
        weights=torch.ones((count, 4)),
    )


def test_measured_actions_are_offsets_from_the_newest_proprioception() -> None:
    anchor = policy().anchor(torch.tensor([[0.1, -0.2]]))
    torch.testing.assert_close(anchor, torch.tensor([[0.1, -0.2, 0.0]]))


def test_anchors_are_found_by_what_is_measured_not_by_place() -> None:
    planar = load_embodiment("planar_bimanual")
    assert action_anchors(planar) == (0, 1, 2, 3)
    # The last joint first, and the velocity of each joint before its position.
    assert action_anchors(other_proprioception(planar)) == (7, 5, 3, 1)
    # Of the mixed robot proprioception measures only the height of the left tool.
    assert action_anchors(mixed_robot()) == (
        ABSOLUTE, ABSOLUTE, 0, *[ABSOLUTE] * 13
    )


@backbones
def test_a_policy_plans_for_proprioception_with_other_entries_than_the_action(
    backbone: str,
) -> None:
    robot = other_proprioception(dot_embodiment())
    config = small_config(backbone, proprio_dim=6, anchors=action_anchors(robot))
    network, rng = BACKBONES[backbone].build(config), np.random.default_rng(0)
    proprio = rng.uniform(-0.1, 0.1, (20, 2, 6)).astype(np.float32)
    actions = np.repeat(proprio[:, -1:, [5, 3, 1]], 4, axis=1) + 0.01
    network.fit_scales(proprio[:, -1], actions)
    torch.testing.assert_close(network.offset_centre, torch.full((4, 3), 0.01))
    images = (torch.zeros((20, 2, 32, 32, 3), dtype=torch.uint8),)
    planned = network.sample(images, torch.from_numpy(proprio), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(planned.numpy(), actions, atol=1e-3)


def test_normalised_chunks_have_unit_scale_lie_within_bounds_and_are_invertible() -> None:
    network, batch = policy(), some_batch()
    network.fit_scales(batch.proprio[:, -1].numpy(), batch.actions.numpy())
    chunk = network.normal_chunk(batch)
    torch.testing.assert_close(chunk.mean(0), torch.zeros(4, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(chunk.std(0, correction=0), torch.ones(4, 3), atol=1e-4, rtol=0)
    assert (chunk >= network.offset_lower).all() and (chunk <= network.offset_upper).all()
    torch.testing.assert_close(network.actions_of(chunk, batch.proprio), batch.actions)


def test_bounds_widen_for_new_data_and_scales_stay() -> None:
    network, batch = policy(), some_batch()
    network.fit_scales(batch.proprio[:, -1].numpy(), batch.actions.numpy())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    farther = batch.actions.clone()
    farther[0] += 0.5
    network.widen_bounds(batch.proprio[:, -1].numpy(), farther.numpy())
    after = network.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"offset_upper"}
    assert (after["offset_upper"] > before["offset_upper"]).all()


@backbones
def test_a_config_is_restored_from_json_and_names_differences(backbone: str) -> None:
    config = small_config(backbone)
    kind = type(config)
    assert kind.from_dict(json.loads(json.dumps(config.to_dict())), "test") == config
    assert small_config(backbone, horizon=6).differences(config) == ["horizon 6, not 4"]
    with pytest.raises(CheckpointError, match=f"not the configuration of a {config.kind}"):
        kind.from_dict({**config.to_dict(), "wings": 2}, "test")


@backbones
def test_the_full_size_is_a_wider_network_at_a_lower_rate(backbone: str) -> None:
    make = BACKBONES[backbone]
    configs = [make.config.for_embodiment(dot_embodiment(), size) for size in ("tiny", "full")]
    with torch.device("meta"):
        tiny, full = (
            sum(p.numel() for p in make.build(config).parameters()) for config in configs
        )
    assert full > 8 * tiny
    assert configs[1].learning_rate < configs[0].learning_rate
