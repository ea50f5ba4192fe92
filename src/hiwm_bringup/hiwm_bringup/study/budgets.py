"""How much of everything a study takes."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A policy of another quality, for the correlation between worlds alone."""

    name: str
    backbone: str
    episodes: int  # demonstrations it learns from
    steps: int  # optimiser steps


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The size of a study."""

    episodes: Mapping[str, int]  # recorded on the stand-in, by kind of data
    world_steps: int  # optimiser steps of the dynamics
    demonstrations: int  # that a base policy learns from: few, so that there is room above it
    base_steps: int  # optimiser steps of a base policy
    post_steps: int  # further steps, the same for every set
    seeds: tuple[int, ...]  # of policies; each is trained, corrected and judged by itself
    trials: int  # of an evaluation
    rollouts: int  # imagined, of which WM-CL takes the successes
    weights: str  # of corrections; see hiwm_learning.datasets.weights
    rounds: int  # of corrections, each of what the policies of the round before still do wrong
    operator_ticks: int  # that the operator corrects for in a session, for Hi-WM
    branches: int  # continuations of each failure state
    size: str  # of the policies: tiny or full
    device: str  # where policies are trained: cpu or cuda
    variants: tuple[Variant, ...]


# Between them from next to nothing to more than the base: a correlation wants spread.
_VARIANTS = (
    Variant(name="few", backbone="diffusion", episodes=15, steps=1000),
    Variant(name="all", backbone="diffusion", episodes=120, steps=2500),
    Variant(name="few", backbone="act", episodes=15, steps=1000),
    Variant(name="short", backbone="act", episodes=120, steps=700),
)

BUDGETS: Mapping[str, Budget] = {
    "small": Budget(
        episodes={"demonstration": 120, "failure": 90, "exploration": 300, "edge": 80},
        world_steps=12000, demonstrations=30, base_steps=1500, post_steps=1500, seeds=(0, 1),
        trials=50, rollouts=50, weights="rac", rounds=2, operator_ticks=6000, branches=3,
        size="tiny", device="cpu", variants=_VARIANTS,
    ),
    "full": Budget(
        episodes={"demonstration": 120, "failure": 180, "exploration": 600, "edge": 160},
        world_steps=45000, demonstrations=30, base_steps=20000, post_steps=10000,
        seeds=(0, 1, 2), trials=100, rollouts=200, weights="rac", rounds=2, operator_ticks=15000,
        branches=3, size="full", device="cuda", variants=_VARIANTS,
    ),
}
