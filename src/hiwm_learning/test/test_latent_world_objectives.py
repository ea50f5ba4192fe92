"""Objectives fall when learnt, and samplers follow paths whose ends are known in closed form.

For data N(m, s^2) every optimal network is known, and so is where each path from noise must end:
the expected values here are worked out from those formulas, not from the code.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hiwm_core.errors import ConfigError
from hiwm_learning.latent_world.objectives import (
    CONSISTENCY_LARGEST,
    EDM_LARGEST,
    OBJECTIVES,
    ConsistencyTraining,
    objective_named,
)
from hiwm_learning.latent_world.samplers import SAMPLERS

MEAN, SPREAD = 0.7, 0.4
COUNT = 512


class Toy(nn.Module):
    """A network of two numbers that also sees what it is to follow."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2)
        )

    def bound(self, last: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda noisy, level: self.net(torch.cat([noisy, level[:, None], last], dim=1))


def turned(last: Tensor) -> Tensor:
    """What follows in the toy world: a quarter turn."""
    return torch.stack([-last[:, 1], last[:, 0]], dim=1)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_the_loss_falls_and_the_sampler_finds_what_was_learnt(name: str) -> None:
    torch.manual_seed(0)
    toy, objective = Toy(), objective_named(name)
    optimiser = torch.optim.Adam(toy.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(1)

    def loss_on(count: int) -> Tensor:
        last = torch.randn(count, 2, generator=generator)
        # Progress stays where consistency training has its coarsest levels: they learn fastest.
        return objective.loss(toy.bound(last), turned(last), last, generator, 0.0).mean()

    with torch.no_grad():
        before = float(loss_on(4096))
    for _ in range(600):
        optimiser.zero_grad()
        loss_on(128).backward()
        optimiser.step()
    with torch.no_grad():
        assert float(loss_on(4096)) < 0.5 * before
        last = torch.randn(COUNT, 2, generator=generator)
        sampler, steps = SAMPLERS[name]
        found = sampler(
            toy.bound(last), last, lambda: torch.randn(COUNT, 2, generator=generator), steps
        )
        error = (found - turned(last)).norm(dim=1).median()
    # An untrained one is off by about sqrt(2) times the length of what it follows.
    assert float(error) < 0.45


def test_flow_ends_where_the_straight_map_between_gaussians_does() -> None:
    def best(x: Tensor, level: Tensor) -> Tensor:
        t = level[:, None]
        slope = (t * SPREAD**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * SPREAD**2)
        return MEAN + slope * (x - t * MEAN)

    noise = torch.randn(COUNT, 1, generator=torch.Generator().manual_seed(0))
    found = SAMPLERS["flow"][0](best, noise, lambda: noise, 1000)
    assert torch.allclose(found, MEAN + SPREAD * noise, atol=4e-3)


def test_edm_ends_where_the_probability_flow_of_a_gaussian_does() -> None:
    def best(scaled: Tensor, quarter_log: Tensor) -> Tensor:
        s = (4 * quarter_log).exp()[:, None]
        x = scaled * (s**2 + 1).sqrt()
        clean = (SPREAD**2 * x + s**2 * MEAN) / (SPREAD**2 + s**2)
        return (clean - x / (s**2 + 1)) * (s**2 + 1).sqrt() / s

    noise = torch.randn(COUNT, 1, generator=torch.Generator().manual_seed(0))
    found = SAMPLERS["edm"][0](best, noise, lambda: noise, 1000)
    start = noise * EDM_LARGEST - MEAN
    wanted = MEAN + start * SPREAD / math.hypot(SPREAD, EDM_LARGEST)
    assert torch.allclose(found, wanted, atol=4e-3)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_consistency_draws_the_gaussian_in_any_number_of_steps(steps: int) -> None:
    smallest = 0.004

    def best(scaled: Tensor, quarter_log: Tensor) -> Tensor:
        s = (4 * quarter_log).exp()[:, None]
        root = (s**2 + 1).sqrt()
        x = scaled * root
        ratio = math.hypot(SPREAD, smallest) / (s**2 + SPREAD**2).sqrt()
        wanted = MEAN + (x - MEAN) * ratio
        gap = s - smallest
        return (wanted - x / (gap**2 + 1)) * root / gap

    generator = torch.Generator().manual_seed(0)
    drawn: list[Tensor] = []

    def draw() -> Tensor:
        drawn.append(torch.randn(20_000, 1, generator=generator))
        return drawn[-1]

    found = SAMPLERS["consistency"][0](best, torch.zeros(20_000, 1), draw, steps)
    assert len(drawn) == steps
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.015)
    assert float(found.std()) == pytest.approx(SPREAD, abs=0.012)
    if steps == 1:
        start = drawn[0] * CONSISTENCY_LARGEST - MEAN
        wanted = MEAN + start * SPREAD / math.hypot(SPREAD, CONSISTENCY_LARGEST)
        assert torch.allclose(found, wanted, atol=1e-3)


def test_regression_adds_the_change_and_draws_nothing() -> None:
    def never() -> Tensor:
        raise AssertionError("drawn")

    last = torch.tensor([[1.0], [2.0]])
    found = SAMPLERS["regression"][0](lambda x, level: 0.1 * x, last, never, 1)
    assert torch.allclose(found, torch.tensor([[1.1], [2.2]]))


def test_the_levels_of_consistency_training_double_to_the_last() -> None:
    counts = [len(ConsistencyTraining.levels(p)) - 1 for p in (0.0, 0.2, 0.5, 0.99, 1.0)]
    assert counts == [10, 20, 160, 1280, 1280]
    levels = ConsistencyTraining.levels(0.0)
    assert float(levels[0]) == pytest.approx(0.004)
    assert float(levels[-1]) == pytest.approx(160.0)
    assert (levels.diff() > 0).all()


def test_an_unknown_objective_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="regression, flow, edm, consistency"):
        objective_named("gan")


def test_every_objective_has_its_sampler() -> None:
    assert set(SAMPLERS) == set(OBJECTIVES)
