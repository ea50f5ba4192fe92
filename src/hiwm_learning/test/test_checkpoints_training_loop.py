"""The training loop: budgets, checkpoints during a run, progress lines."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_learning.checkpoints import load_training_state
from hiwm_learning.training_loop import Budget, rate_factor, train


class Clock:
    """A clock that advances only on request."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Counting:
    """Takes ten seconds per step and records its calls."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.steps: list[int] = []
        self.progress: list[float] = []
        self.exported: list[tuple[int, float, dict[str, float]]] = []

    def train_step(self, step: int, progress: float) -> dict[str, float]:
        self.steps.append(step)
        self.progress.append(progress)
        self.clock.now += 10.0
        return {"loss": 1.0 / (1 + step)}

    def held_out(self) -> dict[str, float]:
        return {"held_out_loss": 0.5}

    def state(self) -> dict[str, Any]:
        return {"steps": len(self.steps)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.steps = list(range(state["steps"]))

    def export(self, step: int, elapsed_s: float, scores: dict[str, float]) -> None:
        self.exported.append((step, elapsed_s, scores))


def test_a_run_ends_with_its_steps_and_leaves_a_checkpoint(tmp_path: Path) -> None:
    clock = Clock()
    trainable, lines = Counting(clock), []
    outcome = train(
        trainable, Budget(steps=5), state_path=tmp_path / "state.pt", clock=clock,
        write=lines.append,
    )
    assert trainable.steps == [0, 1, 2, 3, 4]
    assert (outcome.steps, outcome.elapsed_s, outcome.interrupted) == (5, 50.0, False)
    assert trainable.exported == [(5, 50.0, {"held_out_loss": 0.5})]
    assert "left    0.5 min" in lines[1]  # three steps of ten seconds


def test_minutes_end_a_run_and_decay_the_learning_rate(tmp_path: Path) -> None:
    clock = Clock()
    trainable = Counting(clock)
    outcome = train(
        trainable, Budget(steps=1000, minutes=1.0), state_path=tmp_path / "state.pt",
        clock=clock, write=lambda line: None,
    )
    assert outcome.steps == 6
    assert trainable.progress == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])


def test_checkpoints_are_written_during_a_run_and_resumed_minutes_add_up(tmp_path: Path) -> None:
    clock, state = Clock(), tmp_path / "state.pt"
    first = Counting(clock)
    train(
        first, Budget(steps=4), state_path=state, checkpoint_every_s=20.0, clock=clock,
        write=lambda line: None,
    )
    assert [step for step, _, _ in first.exported] == [2, 4, 4]
    assert load_training_state(state)["step"] == 4
    clock.now += 5000.0
    second = Counting(clock)
    outcome = train(
        second, Budget(steps=1000, minutes=1.0), state_path=state, resume=True, clock=clock,
        write=lambda line: None,
    )
    assert second.steps == [0, 1, 2, 3, 4, 5]
    assert (outcome.steps, outcome.elapsed_s) == (6, 60.0)


@given(st.floats(0, 1), st.integers(0, 100_000))
def test_the_learning_rate_stays_between_zero_and_full(progress: float, step: int) -> None:
    assert 0.0 < rate_factor(progress, step) <= 1.0


def test_the_learning_rate_rises_then_falls() -> None:
    assert rate_factor(0.0, 0) < rate_factor(0.0, 50) < rate_factor(0.0, 100) == 1.0
    assert rate_factor(0.3, 500) > rate_factor(0.9, 500) > rate_factor(1.0, 500)
    assert math.isclose(rate_factor(1.0, 500), 0.02)
