"""Sizes of studies: general ones, and what a task's own file changes (``task_study.py``)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hiwm_core.config_schema import settings
from hiwm_evaluation.task_study import task_study


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The size of a study."""

    episodes: Mapping[str, int]  # recorded on the stand-in, by kind of data
    # Optimiser steps, if the study trains the world model: of a latent one's robot, of what
    # is behind it, and of its heads, each; and of the dynamics.
    first_steps: int
    world_steps: int
    demonstrations: int  # of a base policy: few, to leave room for gains
    base_steps: int  # optimiser steps of a base policy
    post_steps: int  # further steps, equal for every set
    backbones: tuple[str, ...]
    seeds: tuple[int, ...]  # training seeds; one policy of each set per seed
    trials: int  # per evaluation
    checked_trials: int  # of them also run through the graph, for one policy per block
    rollouts: int  # in imagination; WM-CL learns from the successes
    more_rollouts: int  # for two additional WM-CL policies of some blocks
    with_more_rollouts: tuple[str, ...]  # names of those blocks
    weights: tuple[str, ...]  # schemes for corrections; one is chosen on tuning starts
    rounds: int  # of corrections, each of the previous round's policies
    operator_ticks: int  # least ticks per session of corrections that did not fail
    operator_frames: int  # to learn from, per session; equal for every set
    branches: int  # continuations of each failure state in imagination
    session_starts: int  # start frames of imagined sessions
    # Demonstrations and optimiser steps of each policy of a backbone, for the worlds' agreement.
    agreement: tuple[tuple[int, int], ...]
    branching: tuple[int, ...]  # operator frames to learn from, with and without branches
    size: str  # of the policies: tiny or full
    device: str  # for training policies: cpu or cuda
    correction_ticks: int = 200  # longest correction
    # The first backbone's base policies start from the shipped one; only for testing the commands.
    from_shipped: bool = False


BUDGETS: Mapping[str, Budget] = {
    "small": Budget(
        episodes={"demonstration": 270, "failure": 90, "exploration": 300, "edge": 80},
        first_steps=2500, world_steps=12000, demonstrations=30, base_steps=1500, post_steps=1500,
        seeds=(0, 1), backbones=("diffusion", "act"), trials=100, checked_trials=20,
        rollouts=50, more_rollouts=300, with_more_rollouts=("diffusion-s0",),
        weights=("rac", "sirius"), rounds=2, operator_ticks=6200, operator_frames=6000,
        branches=3, session_starts=300,
        agreement=(
            (10, 400), (20, 800), (30, 400), (30, 1500), (60, 800), (120, 800), (270, 800),
            (270, 1500),
        ),
        branching=(1500, 3000, 6000), size="tiny", device="cpu",
    ),
    "full": Budget(
        episodes={"demonstration": 600, "failure": 180, "exploration": 600, "edge": 160},
        first_steps=10000, world_steps=45000, demonstrations=30, base_steps=20000,
        post_steps=10000, seeds=(0, 1, 2), backbones=("diffusion", "act"), trials=100,
        checked_trials=20,
        rollouts=200, more_rollouts=1200, with_more_rollouts=("diffusion-s0",),
        weights=("rac", "sirius"), rounds=2, operator_ticks=15300, operator_frames=15000,
        branches=3, session_starts=1200,
        agreement=(
            (10, 3000), (20, 6000), (30, 3000), (30, 12000), (60, 6000), (120, 6000),
            (300, 6000), (600, 12000),
        ),
        branching=(3000, 7500, 15000), size="full", device="cuda",
    ),
    # Runs every command of a block in minutes. Its numbers are meaningless.
    "smoke": Budget(
        episodes={"demonstration": 12, "failure": 2, "exploration": 2, "edge": 2},
        first_steps=20, world_steps=50, demonstrations=3, base_steps=2, post_steps=20, seeds=(0,),
        backbones=("diffusion",), trials=2, checked_trials=2,
        rollouts=6, more_rollouts=16, with_more_rollouts=("diffusion-s0",),
        weights=("rac", "sirius"), rounds=2, operator_ticks=150, operator_frames=120, branches=2,
        session_starts=16, agreement=((3, 2), (6, 4), (12, 6)), branching=(60, 120), size="tiny",
        device="cpu", from_shipped=True,
    ),
}


def budget_of(name: str, task: str) -> Budget:
    """Return a budget with the sizes of a task.

    Args:
        name: one of `BUDGETS`.
        task: name; config/studies/TASK.yaml may replace sizes.

    Raises:
        ConfigError: the file has an unknown budget, an unknown size, or a wrong value.
    """
    budgets = {str(key): sizes for key, sizes in task_study(task).budgets.items()}
    if name not in budgets:
        return BUDGETS[name]
    return stored_budget(
        _plain(asdict(BUDGETS[name])) | dict(budgets[name]), f"studies/{task}.yaml: budgets.{name}"
    )


def stored_budget(content: Mapping[str, Any], where: str) -> Budget:
    """Return a budget from all its sizes.

    Args:
        content: as in a file, with lists in place of tuples.
        where: file and field, for messages.

    Raises:
        ConfigError: a size is unknown, missing or wrong.
    """
    budget = settings(Budget, dict(content), where)
    # A plain dictionary, so that `asdict` can copy it.
    return replace(budget, episodes=dict(budget.episodes))


def _plain(value: Any) -> Any:
    """Return a value with lists in place of tuples, as in a file."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value
