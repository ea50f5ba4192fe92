"""Many worlds at once: each as if it were alone, and doubt that grows where members part."""

import numpy as np
import pytest
import torch

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import load_task
from hiwm_learning.world_models.layered.imagination import advance, begin, doubt, parting, trust
from hiwm_learning.world_models.layered.layers import frames_to_bytes
from hiwm_learning.world_models.layered.model import WorldModel
from hiwm_learning.world_models.layered.simulator import Simulator
from hiwm_test_support.layered_worlds import drawn_world_model, object_pose, scene

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)
HOME = torch.tensor(EMBODIMENT.home, dtype=torch.float32)
STEPS = 12


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return drawn_world_model(EMBODIMENT, seed=5)


def scenes(model: WorldModel, count: int) -> torch.Tensor:
    """Return poses [B, L, 4] of Ts here and there, the arms at home."""
    objects = torch.stack([
        object_pose(0.02 * k - 0.04, 0.01 * k, 0.7 * k - 1.0) for k in range(count)
    ])
    return scene(model, objects, HOME.expand(count, -1))


def leads(count: int) -> torch.Tensor:
    """Return targets [T, B, arms, 2] that lead every world's arms elsewhere by 3 mm steps."""
    generator = torch.Generator().manual_seed(1)
    move = (torch.rand(STEPS, count, 2, 2, generator=generator) - 0.5) * 0.006
    return HOME.reshape(2, 2) + move.cumsum(0)


@torch.no_grad()
def test_each_of_many_worlds_goes_as_it_would_alone(model: WorldModel) -> None:
    poses, targets = scenes(model, 5), leads(5)
    together = begin(model, poses)
    alone = [begin(model, poses[k : k + 1]) for k in range(5)]
    for step in range(STEPS):
        together = advance(model, together, targets[step])
        alone = [
            advance(model, world, targets[step, k : k + 1]) for k, world in enumerate(alone)
        ]
    assert torch.allclose(together.poses, torch.cat([w.poses for w in alone]), atol=1e-5)
    assert torch.allclose(together.own, torch.cat([w.own for w in alone], dim=1), atol=1e-5)
    assert torch.allclose(
        doubt(model, together), torch.cat([doubt(model, w) for w in alone]), atol=1e-5
    )


@torch.no_grad()
def test_the_simulator_takes_the_same_steps(model: WorldModel) -> None:
    simulator = Simulator(model, EMBODIMENT)
    image = frames_to_bytes(model.decoder(scenes(model, 1)))[0].numpy()
    state = simulator.begin(image, HOME.numpy(), seed=0)
    worlds = begin(model, torch.from_numpy(state.poses)[None])
    for target in leads(1):
        state, limited = simulator.step(state, target.reshape(4).numpy().astype(np.float64))
        sent = torch.from_numpy(limited.action.astype(np.float32))
        worlds = advance(model, worlds, sent.reshape(1, 2, 2))
    assert np.array_equal(state.poses, worlds.poses[0].numpy())
    assert simulator.observe(state).trust == pytest.approx(float(trust(doubt(model, worlds))[0]))


@torch.no_grad()
def test_one_pass_moves_as_the_mean_and_the_members_do(model: WorldModel) -> None:
    poses, targets = scenes(model, 4), leads(4)[0]
    worlds = advance(model, begin(model, poses), targets)
    dynamics = model.dynamics
    assert torch.allclose(worlds.poses, dynamics.mean_step(poses, poses, targets), atol=1e-6)
    spread = poses.expand(2, -1, -1, -1).contiguous()
    apart = dynamics.step_members(spread, spread, targets.expand(2, -1, -1, -1))
    assert torch.allclose(worlds.own, apart, atol=1e-6)


@torch.no_grad()
def test_members_that_agree_leave_no_doubt_and_those_that_part_do(model: WorldModel) -> None:
    worlds = begin(model, scenes(model, 3))
    assert torch.equal(trust(doubt(model, worlds)), torch.ones(3))
    for target in leads(3):
        worlds = advance(model, worlds, target)
    # The members of an untrained ensemble agree on nothing.
    assert bool((parting(worlds) > 1e-5).all())
    assert bool((trust(doubt(model, worlds)) < 1.0).all())
    one = drawn_world_model(EMBODIMENT, seed=5)
    for weights in (*one.dynamics.weights, *one.dynamics.biases):
        weights.copy_(weights[:1].expand_as(weights))
    agreed = begin(one, scenes(one, 3))
    for target in leads(3):
        agreed = advance(one, agreed, target)
    assert float(parting(agreed).max()) < 1e-5


def test_trust_falls_to_a_third_at_twenty_millimetres() -> None:
    assert float(trust(torch.tensor(0.02))) == pytest.approx(np.exp(-1))
