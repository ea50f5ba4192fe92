"""Doubt: bounded, in units of its own, and learned over many steps."""

import math

import pytest
import torch
from torch import Tensor

from hiwm_learning.world_models.latent import doubt_memory
from hiwm_learning.world_models.latent.doubt import Doubt, doubt_error
from hiwm_learning.world_models.latent.doubt_memory import DoubtMemory

CPU = torch.device("cpu")
ROLLOUTS, SUMMARY = 6, 4


def add(memory: DoubtMemory, summary: Tensor, **named: Tensor) -> None:
    step = {
        "apart": torch.zeros(ROLLOUTS), "begins": torch.zeros(ROLLOUTS, dtype=torch.bool),
        "before": torch.zeros(ROLLOUTS), **named,
    }
    memory.add(summary=summary, **step)


def test_doubt_is_the_same_in_other_units() -> None:
    torch.manual_seed(0)
    summaries, doubts = torch.randn(50, SUMMARY), Doubt(SUMMARY)
    torch.nn.init.normal_(doubts.net[-1].weight)
    doubts.set_units(summaries)
    other = Doubt(SUMMARY)
    other.net.load_state_dict(doubts.net.state_dict())
    scale, shift = torch.tensor([1.0, 0.01, 100.0, 1.0]), torch.tensor([0.0, 3.0, -50.0, 0.0])
    other.set_units(summaries * scale + shift)
    before = torch.rand(50)
    torch.testing.assert_close(
        other(summaries * scale + shift, before), doubts(summaries, before), rtol=1e-3, atol=1e-5
    )


def test_a_doubt_that_has_units_keeps_them() -> None:
    doubts = Doubt(SUMMARY)
    doubts.set_units(torch.randn(20, SUMMARY))
    kept = doubts.mean.clone(), doubts.deviation.clone()
    doubts.set_units(5.0 + torch.randn(20, SUMMARY))
    assert torch.equal(doubts.mean, kept[0]) and torch.equal(doubts.deviation, kept[1])


def test_a_feature_that_never_varies_does_no_harm() -> None:
    doubts = Doubt(SUMMARY)
    doubts.set_units(torch.tensor([[0.0, 1.0, 2.0, 3.0]]).expand(9, SUMMARY))
    assert doubts(torch.full((2, SUMMARY), 1e6), torch.zeros(2)).isfinite().all()


def test_a_window_begins_with_the_doubt_that_a_rollout_had() -> None:
    memory, doubts = DoubtMemory(ROLLOUTS, SUMMARY), Doubt(SUMMARY)
    before = torch.linspace(0.0, 0.5, ROLLOUTS)
    begins = torch.arange(ROLLOUTS) == 5  # had a doubt of an earlier rollout
    add(memory, torch.zeros(ROLLOUTS, SUMMARY), before=before, begins=begins)
    wanted = doubts(torch.zeros(ROLLOUTS, SUMMARY), before.masked_fill(begins, 0.0))
    error = memory.error(doubts, torch.Generator().manual_seed(0), CPU)
    torch.testing.assert_close(error, doubt_error(wanted, torch.zeros(ROLLOUTS)).mean())


def test_only_the_newest_steps_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubt_memory, "KEPT", 3)
    memory = DoubtMemory(ROLLOUTS, SUMMARY)
    for step in range(5):
        add(memory, torch.zeros(ROLLOUTS, SUMMARY), apart=torch.full((ROLLOUTS,), float(step)))
    assert memory.state()["kept_apart"][:, 0].tolist() == [2.0, 3.0, 4.0]


def test_an_early_step_that_makes_later_ones_wrong_is_found(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the rollouts go astray at their first step; nothing shows it afterwards."""
    monkeypatch.setattr(doubt_memory, "WINDOW", 12)
    torch.manual_seed(0)
    memory, astray = DoubtMemory(ROLLOUTS, SUMMARY), torch.arange(ROLLOUTS) % 2 == 0
    sign = torch.where(astray, 1.0, -1.0)
    for step in range(12):
        summary = torch.zeros(ROLLOUTS, SUMMARY)
        summary[:, 0] = sign * (step == 0)
        add(
            memory, summary, apart=torch.where(astray, 0.6, 0.02),
            begins=torch.full((ROLLOUTS,), step == 0),
        )
    doubts = Doubt(SUMMARY)
    optimiser = torch.optim.Adam(doubts.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    errors = []
    for _ in range(200):
        error = memory.error(doubts, generator, CPU)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.3 * errors[0] and math.isfinite(errors[-1])


def test_a_restored_memory_gives_the_same_errors() -> None:
    torch.manual_seed(0)
    memory, doubts = DoubtMemory(ROLLOUTS, SUMMARY), Doubt(SUMMARY)
    for _ in range(60):
        add(memory, torch.randn(ROLLOUTS, SUMMARY), apart=torch.rand(ROLLOUTS))
    other = DoubtMemory(ROLLOUTS, SUMMARY)
    assert set(other.state()) == set(memory.state())
    other.load_state(memory.state())
    one, two = (
        each.error(doubts, torch.Generator().manual_seed(3), CPU) for each in (memory, other)
    )
    assert torch.equal(one, two)


def test_doubt_stays_bounded_and_is_judged_by_its_factor() -> None:
    torch.manual_seed(0)
    doubts, doubt = Doubt(8), torch.zeros(3)
    summary = torch.randn(3, 8)
    seen = []
    for _ in range(2000):
        doubt = doubts(summary, doubt).detach()
        seen.append(float(doubt.max()))
    assert 0.0 < seen[0] < seen[10] and seen[-1] < 2.0
    assert seen[-1] == pytest.approx(seen[-500], rel=1e-3)
    off = doubt_error(torch.tensor([0.11, 0.51, 0.05]), torch.tensor([0.05, 0.25, 0.05]))
    assert off.tolist() == pytest.approx([math.log(2.0), math.log(2.0), 0.0], abs=1e-5)
