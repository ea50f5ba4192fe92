"""ACT fits its data, is deterministic, and ignores actions of weight 0."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hiwm_learning.policies.act_policy import ActPolicy
from hiwm_learning.policies.chunk_policy import Batch
from hiwm_test_support.policies import picture, small_config, towards


def dot_batch(count: int) -> Batch:
    """Return chunks that lead to discs that only the image shows."""
    rng = np.random.default_rng(0)
    goals, hands = rng.uniform(-0.1, 0.1, (2, count, 2))
    chunks = [
        [[*towards(goal, hand, step), 0.5] for step in range(1, 5)]
        for goal, hand in zip(goals, hands, strict=True)
    ]
    images = np.stack([picture(*pair) for pair in zip(goals, hands, strict=True)])
    return Batch(
        images=(torch.from_numpy(images)[:, None].repeat(1, 2, 1, 1, 1),),
        proprio=torch.from_numpy(hands).float()[:, None].repeat(1, 2, 1),
        actions=torch.tensor(chunks, dtype=torch.float32), weights=torch.ones((count, 4)),
    )


def small_policy(batch: Batch) -> ActPolicy:
    torch.manual_seed(0)
    config = small_config("act", dropout=0.0)
    policy = ActPolicy(config)  # type: ignore[arg-type]
    policy.fit_scales(batch.proprio[:, -1].numpy(), batch.actions.numpy())
    return policy


def loss(policy: ActPolicy, batch: Batch) -> dict[str, float]:
    with torch.no_grad():
        losses = policy.loss(batch, np.random.default_rng(0))
    return {name: float(value) for name, value in losses.items()}


def test_it_fits_a_few_chunks() -> None:
    torch.set_num_threads(1)
    batch = dot_batch(6)
    policy = small_policy(batch)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=5e-4)
    before = loss(policy, batch)
    for step in range(60):
        optimiser.zero_grad()
        policy.loss(batch, np.random.default_rng(step))["loss"].backward()
        optimiser.step()
    assert loss(policy, batch)["l1"] < 0.3 * before["l1"]
    policy.eval()
    sampled = policy.sample(batch.images, batch.proprio, torch.Generator())
    still = batch.proprio[:, -1:].expand(-1, 4, -1)
    miss = (sampled - batch.actions)[..., :2].norm(dim=-1).mean()
    assert miss < 0.3 * (still - batch.actions[..., :2]).norm(dim=-1).mean()


def test_chunks_of_the_zero_latent_depend_only_on_the_observation() -> None:
    batch = dot_batch(3)
    policy = small_policy(batch).eval()
    first, second = (
        policy.sample(batch.images, batch.proprio, torch.Generator().manual_seed(seed))
        for seed in (1, 2)
    )
    assert torch.equal(first, second)
    other = policy.sample([batch.images[0].flip(0)], batch.proprio, torch.Generator())
    assert not torch.equal(first, other)


def test_actions_of_weight_zero_change_nothing() -> None:
    batch = dot_batch(3)
    policy = small_policy(batch)
    for parameter in policy.style_leave.parameters():
        torch.nn.init.normal_(parameter)  # so that a style that depends on them would be detected
    weights = batch.weights.clone()
    weights[:, 2:] = 0.0
    actions = batch.actions.clone()
    actions[:, 2:] += 0.1
    hidden = replace(batch, weights=weights)
    assert loss(policy, replace(hidden, actions=actions)) == pytest.approx(loss(policy, hidden))
    assert loss(policy, replace(batch, actions=actions)) != pytest.approx(loss(policy, batch))


def test_the_style_costs_ten_times_its_divergence() -> None:
    batch = dot_batch(3)
    policy = small_policy(batch)
    assert loss(policy, batch)["kl"] == 0.0  # a new network starts at the prior
    for parameter in policy.style_leave.parameters():
        torch.nn.init.normal_(parameter)
    losses = loss(policy, batch)
    assert losses["kl"] > 0.0
    assert losses["loss"] == pytest.approx(losses["l1"] + 10.0 * losses["kl"])
