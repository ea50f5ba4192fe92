"""Trials in a world model, many side by side.

A batch of one gives the bytes of a graph. Steps of more agree with it to rounding, which a contact
may turn into another course. Held by ``test_rollout_parity.py`` and ``test_rollout_imagined.py``.
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
from hiwm_evaluation.trials import Pose, TrialResult
from hiwm_learning.policies.planning import Planner
from hiwm_learning.simulators import WorldSimulator
from hiwm_world.imagined_world import Starts

# Smaller matrices take other kernels. Filled up to this many rows, the last trials of a batch give
# the same bytes as those amid many others.
_LEAST_ROWS = 8

Wanted = tuple[int, int]  # number of the policy, number of the trial
Row = TypeVar("Row")


@dataclass(kw_only=True)
class _Run:
    """One trial under way."""

    policy: int
    trial: JudgedTrial
    pilot: Pilot
    state: Any
    step: int = 0


class ImaginedTrials:
    """Runs trials of policies in one world model.

    Args:
        simulator: runs the model.
        starts: frames that episodes begin from.
        planner: a policy by its number.
        make_trial: begins a trial.
        poses: wanted start of every trial; the nearest frame is taken.
        seed: of the evaluation.
        batch: trials side by side.
    """

    def __init__(
        self, simulator: WorldSimulator[Any], starts: Starts, planner: Callable[[int], Planner],
        make_trial: MakeTrial, *, poses: Sequence[Pose], seed: int, batch: int,
    ) -> None:
        self._simulator = simulator
        self._starts = starts
        self._planner = planner
        self._make_trial = make_trial
        self._poses = poses
        self._seed = seed
        self._batch = batch
        self._begun: dict[int, Any] = {}  # state each trial begins in, the same for all policies

    def run(self, wanted: Iterable[Wanted]) -> Iterator[tuple[int, TrialResult]]:
        """Yield policies and results as trials end; those that wait take their places."""
        waiting = deque(wanted)
        going: list[_Run] = []
        beat = 0
        while waiting or going:
            fresh: list[_Run] = []
            while (
                waiting and len(going) + len(fresh) < self._batch
                and self._joins(waiting[0], beat)
            ):
                fresh.append(self._begin(*waiting.popleft()))
            self._judge(fresh)
            going = yield from _ended(going + fresh)
            self._look([run for run in going if run.pilot.looks(run.step)])
            self._plan([run for run in going if run.pilot.plans(run.step)])
            going = yield from _ended(going)
            self._step(going)
            going = yield from _ended(going)
            beat = beat + 1 if going else 0

    def _joins(self, wanted: Wanted, beat: int) -> bool:
        """Return whether a trial can begin now: at a beat at which its policy's others plan too.

        Plans made together cost far less than plans made one by one.
        """
        return beat % self._planner(wanted[0]).execute_horizon == 0

    def _begin(self, policy: int, number: int) -> _Run:
        if number not in self._begun:
            index = self._starts.choose("", np.array(self._poses[number]), 0)
            self._begun[number] = self._simulator.begin(
                self._starts.images[index], self._starts.proprioception[index],
                self._seed + number,
            )
        planner = self._planner(policy)
        return _Run(
            policy=policy, trial=self._make_trial(number, planner.label),
            pilot=Pilot(planner, self._seed, trial_epoch(number)), state=self._begun[number],
        )

    def _look(self, runs: Sequence[_Run]) -> None:
        """Show runs what they plan from."""
        if not runs:
            return
        seen = self._simulator.observe_many([run.state for run in runs])
        first = self._simulator.cameras[0]
        for run, one in zip(runs, seen, strict=True):
            image = {first: one.image, **one.others}[run.pilot.planner.camera]
            run.pilot.see(image, one.proprioception.astype(np.float32))

    def _plan(self, runs: Sequence[_Run]) -> None:
        """Plan anew, the runs of each policy together."""
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
        plans = planner.plan_many(np.stack(images), np.stack(proprio), seeds)
        return list(plans[: len(questions)])

    def _step(self, runs: Sequence[_Run]) -> None:
        """Let every run go one step on."""
        if not runs:
            return
        rows = self._filled([(run.state, run.pilot.action(run.step)) for run in runs])
        states, _ = self._simulator.step_many(*zip(*rows, strict=True))
        for run, state in zip(runs, states[: len(runs)], strict=True):
            run.state = state
            run.step += 1
        self._judge(runs)

    def _judge(self, runs: Sequence[_Run]) -> None:
        """Let the heads speak of where runs stand."""
        if not runs:
            return
        readings = self._simulator.read_many(self._filled([run.state for run in runs]))
        for run, reading in zip(runs, readings[: len(runs)], strict=True):
            if np.isfinite(reading.proprioception).all():
                run.trial.observe(success=reading.success)
            else:
                run.trial.abort(
                    f"the world model gave a state that is not finite at step {run.step}"
                )

    def _filled(self, rows: Sequence[Row]) -> list[Row]:
        """Return rows, and the last one again up to the least number; a batch of one as it is."""
        short = _LEAST_ROWS - len(rows) if self._batch > 1 else 0
        return [*rows, *list(rows[-1:]) * short]


def _policy(run: _Run) -> int:
    return run.policy


def _ended(runs: Sequence[_Run]) -> Generator[tuple[int, TrialResult], None, list[_Run]]:
    """Yield what has ended, and return the rest."""
    left = []
    for run in runs:
        if run.trial.result is None:
            left.append(run)
        else:
            yield run.policy, run.trial.result
    return left
