"""Runs trials in a world model, in batches.

A batch of one is byte-identical to a graph. Larger batches agree with it to rounding; a contact may
amplify the difference. Tested by ``test_rollout_parity.py`` and ``test_rollout_imagined.py``.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hiwm_evaluation.rollout.pilot import Pilot
from hiwm_evaluation.rollout.trial import JudgedTrial, MakeTrial, trial_epoch
from hiwm_evaluation.trials import StartValues, TrialResult
from hiwm_learning.policies.planning import Planner
from hiwm_learning.world_models.simulators import WorldSimulator
from hiwm_world.imagined_world import Starts

# Smaller matrices use other kernels. Batches are padded to this many rows, so that the last trials
# give the same bytes as in a large batch.
_LEAST_ROWS = 8

Wanted = tuple[int, int]  # number of the policy, number of the trial
Row = TypeVar("Row")


@dataclass(kw_only=True)
class _Run:
    """One running trial."""

    policy: int
    trial: JudgedTrial
    pilot: Pilot
    state: Any
    step: int = 0


class ImaginedTrials:
    """Runs trials of policies in one world model.

    Args:
        simulator: runs the model.
        starts: start frames of episodes.
        planner: returns a policy by number.
        make_trial: starts a trial.
        wanted_starts: of every trial, values in the task's order; the nearest frame is used.
        seed: of the evaluation.
        batch: trials in parallel.
    """

    def __init__(
        self, simulator: WorldSimulator[Any], starts: Starts, planner: Callable[[int], Planner],
        make_trial: MakeTrial, *, wanted_starts: Sequence[StartValues], seed: int, batch: int,
    ) -> None:
        self._simulator = simulator
        self._starts = starts
        self._planner = planner
        self._make_trial = make_trial
        self._wanted_starts = wanted_starts
        self._seed = seed
        self._batch = batch
        self._initial: dict[int, Any] = {}  # start state of each trial, equal for all policies

    def run(self, wanted: Iterable[Wanted]) -> Iterator[tuple[int, TrialResult]]:
        """Yield policies and results as trials end; waiting trials replace them."""
        waiting = deque(wanted)
        running: list[_Run] = []
        beat = 0
        while waiting or running:
            fresh: list[_Run] = []
            while (
                waiting and len(running) + len(fresh) < self._batch
                and self._may_start(waiting[0], beat)
            ):
                fresh.append(self._start(*waiting.popleft()))
            self._judge(fresh)
            running = yield from _ended(running + fresh)
            self._look([run for run in running if run.pilot.looks(run.step)])
            self._plan([run for run in running if run.pilot.plans(run.step)])
            running = yield from _ended(running)
            self._step(running)
            running = yield from _ended(running)
            beat = beat + 1 if running else 0

    def _may_start(self, wanted: Wanted, beat: int) -> bool:
        """Return whether a trial may start now: at a step where its policy's other trials plan.

        Batched plans cost far less than single ones.
        """
        return beat % self._planner(wanted[0]).execute_horizon == 0

    def _start(self, policy: int, number: int) -> _Run:
        if number not in self._initial:
            index = self._starts.nearest(self._wanted_starts[number])
            self._initial[number] = self._simulator.begin(
                self._starts.images[index], self._starts.proprioception[index],
                self._seed + number,
            )
        planner = self._planner(policy)
        return _Run(
            policy=policy, trial=self._make_trial(number, planner.label),
            pilot=Pilot(planner, self._seed, trial_epoch(number)), state=self._initial[number],
        )

    def _look(self, runs: Sequence[_Run]) -> None:
        """Pass the observations for plans to the runs."""
        if not runs:
            return
        seen = self._simulator.observe_many([run.state for run in runs])
        first = self._simulator.cameras[0]
        for run, one in zip(runs, seen, strict=True):
            run.pilot.see(
                {first: one.image, **one.others}, one.proprioception.astype(np.float32)
            )

    def _plan(self, runs: Sequence[_Run]) -> None:
        """Make new plans, batched by policy."""
        for _, same in groupby(sorted(runs, key=_policy), key=_policy):
            group = list(same)
            plans = self._plans(group[0].pilot.planner, [run.pilot.question() for run in group])
            for run, plan in zip(group, plans, strict=True):
                if not run.pilot.follow(plan):
                    run.trial.abort(
                        f"{run.pilot.planner.label} gave actions that are not finite at step "
                        f"{run.step}"
                    )

    def _plans(self, planner: Planner, questions: Sequence[Any]) -> Sequence[NDArray[np.float64]]:
        if self._batch == 1:
            return [planner.plan(*question) for question in questions]
        images, proprio, seeds = zip(*self._filled(questions), strict=True)
        together = {
            camera: np.stack([one[camera] for one in images]) for camera in planner.image_shapes
        }
        plans = planner.plan_many(together, np.stack(proprio), seeds)
        return list(plans[: len(questions)])

    def _step(self, runs: Sequence[_Run]) -> None:
        """Step every run."""
        if not runs:
            return
        rows = self._filled([(run.state, run.pilot.action(run.step)) for run in runs])
        states, _ = self._simulator.step_many(*zip(*rows, strict=True))
        for run, state in zip(runs, states[: len(runs)], strict=True):
            run.state = state
            run.step += 1
        self._judge(runs)

    def _judge(self, runs: Sequence[_Run]) -> None:
        """Judge every run's state by the heads."""
        if not runs:
            return
        readings = self._simulator.read_many(self._filled([run.state for run in runs]))
        for run, reading in zip(runs, readings[: len(runs)], strict=True):
            if np.isfinite(reading.proprioception).all():
                run.trial.observe(success=reading.success, trust=reading.trust)
            else:
                run.trial.abort(
                    f"the world model gave a state that is not finite at step {run.step}"
                )

    def _filled(self, rows: Sequence[Row]) -> list[Row]:
        """Return rows, padded with the last one; unchanged if the batch size is one."""
        short = _LEAST_ROWS - len(rows) if self._batch > 1 else 0
        return [*rows, *list(rows[-1:]) * short]


def _policy(run: _Run) -> int:
    return run.policy


def _ended(runs: Sequence[_Run]) -> Generator[tuple[int, TrialResult], None, list[_Run]]:
    """Yield finished runs, and return the others."""
    left = []
    for run in runs:
        if run.trial.result is None:
            left.append(run)
        else:
            yield run.policy, run.trial.result
    return left
