"""Parallel trials in the shipped world model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hiwm_core.embodiment import load_embodiment
from hiwm_core.limits import LimitResult
from hiwm_evaluation.judges import HeadJudge
from hiwm_evaluation.rollout.imagined import ImaginedTrials
from hiwm_evaluation.rollout.trial import JudgedTrial
from hiwm_evaluation.trials import Outcome, TrialResult, sampled_starts
from hiwm_learning.policies.planning import Planner, load_planner
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.simulators import Reading
from hiwm_test_support.shipped import POLICY, START_FRAMES, TASK, WORLD_MODEL
from hiwm_world.imagined_world import load_starts

STARTS = sampled_starts(TASK, 5, 24)
HORIZON = 50
# How far a batch's objects and arms may be from those of single trials within the horizon, m.
TOLERANCE_M = 1e-4


class Watched:
    """A simulator that records the poses of every step, by episode seed."""

    def __init__(self, simulator: Any) -> None:
        self._simulator = simulator
        self.cameras = simulator.cameras
        self.poses: dict[tuple[int, int], NDArray[np.float32]] = {}
        self.widest = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._simulator, name)

    def step_many(
        self, states: Sequence[Any], actions: Sequence[NDArray[np.float64]]
    ) -> tuple[list[Any], list[LimitResult]]:
        self.widest = max(self.widest, len(states))
        following, limited = self._simulator.step_many(states, actions)
        self.poses |= {(state.seed, state.step): state.poses for state in following}
        return following, limited


@pytest.fixture(scope="module")
def models() -> tuple[Any, Planner]:
    torch.set_num_threads(1)
    simulator, _ = load_simulator(
        WORLD_MODEL, load_embodiment(TASK.embodiment)
    )
    return simulator, load_planner(POLICY)


def roll(
    simulator: Any, planner: Planner, batch: int, numbers: Sequence[int], policies: int = 1
) -> dict[tuple[int, int], TrialResult]:
    def make_trial(number: int, policy: str) -> JudgedTrial:
        return JudgedTrial(
            number=number, starts=STARTS, seed=0, horizon=HORIZON, judge=HeadJudge(0.5),
            policy=policy,
        )

    trials = ImaginedTrials(
        simulator, load_starts(START_FRAMES, TASK), lambda _: planner, make_trial,
        wanted_starts=STARTS, seed=0, batch=batch,
    )
    wanted = [(policy, number) for policy in range(policies) for number in numbers]
    return {(policy, result.trial): result for policy, result in trials.run(wanted)}


def verdicts(results: dict[tuple[int, int], TrialResult]) -> dict[Any, Any]:
    """Return what must not change; the best probability to what rounding leaves of it."""
    return {
        key: (one.outcome, one.steps, pytest.approx(one.best, abs=1e-3))
        for key, one in results.items()
    }


def test_a_batch_agrees_with_single_trials(models: tuple[Any, Planner]) -> None:
    simulator, planner = models
    single, many = Watched(simulator), Watched(simulator)
    numbers = range(12)
    one, batch = (
        roll(world, planner, size, numbers) for world, size in ((single, 1), (many, 8))
    )
    assert single.widest == 1 and many.widest == 8
    assert single.poses.keys() == many.poses.keys()
    worst = max(np.abs(pose - many.poses[key])[:, :2].max() for key, pose in single.poses.items())
    assert worst < TOLERANCE_M
    assert {key: result.outcome for key, result in one.items()} == {
        key: result.outcome for key, result in batch.items()
    }
    assert {outcome for outcome, *_ in verdicts(batch).values()} == {
        Outcome.SUCCESS, Outcome.FAILURE
    }


def test_a_trial_does_not_depend_on_others_in_its_batch(models: tuple[Any, Planner]) -> None:
    simulator, planner = models
    every = verdicts(roll(simulator, planner, 8, range(24)))
    # As after a kill: finished trials are left out, and the others make another batch.
    rest = verdicts(roll(simulator, planner, 8, [3, 17, 20]))
    assert rest == {key: every[key] for key in rest}
    two = verdicts(roll(simulator, planner, 8, range(6), policies=2))
    assert two == {(p, n): every[0, n] for p in range(2) for n in range(6)}


def test_values_that_are_not_finite_end_their_own_trial(
    models: tuple[Any, Planner], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator, planner = models
    plan_many, read_many = planner.plan_many, simulator.read_many

    def bad_plans(images: Any, proprio: Any, seeds: Any) -> NDArray[np.float64]:
        plans = plan_many(images, proprio, seeds)
        plans[[epoch == 3 for _, epoch, _ in seeds]] = np.nan  # of trial 1
        return plans

    def bad_states(states: Sequence[Any]) -> list[Reading]:
        return [
            Reading(
                proprioception=one.proprioception * (np.nan if state.seed == 2 else 1.0),
                trust=one.trust, progress=one.progress, success=one.success,
            )
            for one, state in zip(read_many(states), states, strict=True)
        ]

    monkeypatch.setattr(planner, "plan_many", bad_plans)
    monkeypatch.setattr(simulator, "read_many", bad_states)
    results = roll(simulator, planner, 8, range(4))
    assert "not finite at step 0" in results[0, 1].reason
    assert "state that is not finite" in results[0, 2].reason
    assert results[0, 1].outcome is results[0, 2].outcome is Outcome.ABORTED
    assert Outcome.ABORTED not in (results[0, 0].outcome, results[0, 3].outcome)
