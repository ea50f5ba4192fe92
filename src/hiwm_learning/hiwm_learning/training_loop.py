"""The training loop: budget, progress and time left, checkpoints, interruption, resume.

It trains a `Trainable` and is independent of networks and data. Every step is a function of only
the state and the step number, so a resumed run equals an uninterrupted one.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from hiwm_learning.checkpoints import load_training_state, save_training_state
from hiwm_learning.parallel import ALONE, Team


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Length of a run: whichever limit is reached first."""

    steps: int  # optimiser steps
    minutes: float = math.inf  # wall-clock, summed over resumed runs

    def progress(self, step: int, elapsed_s: float) -> float:
        """Return the used fraction of the budget, 0..1."""
        return min(1.0, max(step / self.steps, elapsed_s / 60.0 / self.minutes))


def rate_factor(progress: float, step: int, warmup_steps: int = 100) -> float:
    """Return the factor on the learning rate: linear warm-up, then a cosine from 1 to 0.02."""
    cosine = 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * progress))
    return min(1.0, (step + 1) / warmup_steps) * cosine


class Trainable(Protocol):
    """The interface of models to the loop."""

    def train_step(self, step: int, progress: float) -> dict[str, float]:
        """Take optimiser step number `step`; `progress` 0..1 sets the learning rate."""

    def held_out(self) -> dict[str, float]:
        """Return scores on held-out data; empty if there is none."""

    def state(self) -> dict[str, Any]:
        """Return all that `load_state` needs to continue exactly."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a state; on several processes, with the first one's weights."""

    def export(self, step: int, elapsed_s: float, scores: dict[str, float]) -> None:
        """Write the checkpoint for use elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a run."""

    steps: int
    elapsed_s: float
    interrupted: bool
    scores: dict[str, float]


def train(
    trainable: Trainable, budget: Budget, *, state_path: Path, resume: bool = False,
    checkpoint_every_s: float = 300.0, report_every_s: float = 10.0,
    held_out_every_s: float = 60.0,
    clock: Callable[[], float] = time.monotonic, write: Callable[[str], None] = print,
    team: Team = ALONE,
) -> Outcome:
    """Train until the budget is used or SIGINT or SIGTERM arrives, then write a checkpoint.

    On several processes, the first one measures time, reports and exports; each keeps its own state
    for resuming. States are replaced when all are written, so that those of a killed run are of one
    step.

    Args:
        trainable: network, data and optimiser.
        budget: when to stop.
        state_path: file of the state for resuming.
        resume: continue from `state_path`.
        checkpoint_every_s: seconds between checkpoints.
        report_every_s: seconds between progress lines.
        held_out_every_s: seconds between held-out measurements.
        clock: returns monotonic seconds.
        write: receives progress lines.
        team: the processes that train together.

    Raises:
        CheckpointError: `resume` is set and the state cannot be read, or the processes' states are
            of different steps.
    """
    state_path = team.own_file(state_path)
    write = team.reporting(write)
    step, before_s = 0, 0.0
    state: dict[str, Any] = load_training_state(state_path) if resume else {"step": -1}
    team.require_alike("the step to resume from", int(state["step"]), str(state_path))
    if resume:
        step, before_s = int(state["step"]), float(state["elapsed_s"])
        trainable.load_state(state["trainable"])
        write(f"resumed at step {step} after {before_s / 60:.1f} min")
    first, started = step, clock()
    reported = checkpointed = measured = started
    sums: dict[str, float] = {}
    count = 0
    scores: dict[str, float] = {}

    def save() -> None:
        elapsed_s = before_s + clock() - started
        written = state_path if team.size == 1 else state_path.with_suffix(".new.pt")
        save_training_state(
            written, {"step": step, "elapsed_s": elapsed_s, "trainable": trainable.state()}
        )
        team.wait()
        written.replace(state_path)
        if team.leads:
            trainable.export(step, elapsed_s, scores)
        team.wait()

    with _interruption() as interrupted:
        while True:
            # The first process decides for all: another rate or another end would part them.
            now = clock()
            progress, stop, save_now = team.agree([
                budget.progress(step, before_s + now - started), float(interrupted()),
                float(now - checkpointed >= checkpoint_every_s),
            ])
            stopped = bool(stop)
            if save_now:
                save()
                checkpointed = clock()
            if stopped or progress >= 1.0:
                break
            for name, value in trainable.train_step(step, progress).items():
                sums[name] = sums.get(name, 0.0) + value
            step += 1
            count += 1
            now = clock()
            if not team.leads:
                continue
            if now - measured >= held_out_every_s:
                scores = trainable.held_out()
                measured = clock()
            if now - reported >= report_every_s:
                means = {name: value / count for name, value in sums.items()}
                write(_line(
                    step, budget, step - first, now - started, before_s, {**means, **scores}
                ))
                reported, count = now, 0
                sums.clear()
        if team.leads:
            scores = trainable.held_out()
        save()
    elapsed_s = before_s + clock() - started
    write(
        f"{'interrupted' if stopped else 'finished'} at step {step} after "
        f"{elapsed_s / 60:.1f} min" + "".join(f", {k} {v:.4f}" for k, v in scores.items())
    )
    return Outcome(steps=step, elapsed_s=elapsed_s, interrupted=stopped, scores=scores)


def _line(
    step: int, budget: Budget, taken: int, run_s: float, before_s: float,
    numbers: dict[str, float],
) -> str:
    per_step = run_s / max(1, taken)
    left_s = min((budget.steps - step) * per_step, budget.minutes * 60.0 - before_s - run_s)
    values = "  ".join(f"{name} {value:.4f}" for name, value in numbers.items())
    percent = 100.0 * budget.progress(step, before_s + run_s)
    return (
        f"step {step:>7}  {percent:5.1f} %  {1.0 / per_step:6.1f} steps/s  "
        f"left {max(0.0, left_s) / 60:6.1f} min  {values}"
    )


@contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM arrived; a second one raises."""
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True

    try:
        previous = {s: signal.signal(s, interrupt) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, which then handles signals
        previous = {}
    try:
        yield lambda: interrupted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
