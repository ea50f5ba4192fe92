"""How often a stand-in's expert, operator or policy solves its task, without the graph.

    python -m hiwm_evaluation.standin_skill TASK expert --trials 50 --seed 1000
    python -m hiwm_evaluation.standin_skill TASK operator
    python -m hiwm_evaluation.standin_skill TASK recovery
    python -m hiwm_evaluation.standin_skill TASK recovery --policy models/policy_TASK.safetensors
    python -m hiwm_evaluation.standin_skill TASK policy --policy models/policy_TASK.safetensors

The expert reads ground truth, the operator only images and proprioception. `recovery` is the
operator from states of failure: a weak demonstrator, or a policy, acts for a drawn time, and if it
has not solved the task by then, the operator continues. Controllers and limits are those of driver
and bridge.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import HiwmError
from hiwm_core.frames import JointValues, RobotReader
from hiwm_core.limits import Limiter
from hiwm_core.number_arguments import seed_number, whole_number
from hiwm_core.task_plugin import DEMONSTRATION, FAILURE_DATA, Behaviour
from hiwm_core.tasks import Task, load_task
from hiwm_core.user_paths import path_argument
from hiwm_evaluation.rollout.pilot import Pilot
from hiwm_evaluation.statistics import wilson_interval
from hiwm_learning.policies.planning import load_planner
from hiwm_robot.standin_robot import StandinRobot

Array = NDArray[np.float64]
# What acts: for the measured action [A], the next target [A]; None ends the episode.
Actor = Callable[[Array], Array | None]

# A weak demonstrator acts for a number of ticks between these, and so does a policy: by then the
# expert has solved the task.
_WEAK_TICKS, _POLICY_TICKS = (25, 110), (100, 180)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One episode's end."""

    seed: int
    success: bool
    steps: int
    progress: float


class Bench:
    """One stand-in, and who acts on it.

    Args:
        task: with a stand-in.
        policy: checkpoint of the policy to try; None: none.
    """

    def __init__(self, task: Task, policy: Path | None = None) -> None:
        self._task = task
        self._plugin = task.stand_in()
        self._embodiment = load_embodiment(task.embodiment)
        self.robot = StandinRobot(task, self._embodiment)
        self._limiter = Limiter(self._embodiment)
        self._reader = RobotReader(self._embodiment)
        self._planner = load_planner(policy) if policy else None

    def policy(self, seed: int) -> Trial:
        """Run the policy from a drawn start."""
        self.robot.place(self._task.sample_start(np.random.default_rng(seed)), seed)
        steps = self._run(self._piloted(seed), self._task.horizon_steps)
        return self._trial(seed, steps)

    def expert(self, seed: int) -> Trial:
        """Run the expert from its seed's start."""
        behaviour = self._plugin.behaviour(DEMONSTRATION, self._embodiment, seed)
        self.robot.place(behaviour.start(), seed)
        steps = self._run(self._by(behaviour), self._task.horizon_steps)
        return self._trial(seed, steps)

    def operator(self, seed: int) -> Trial:
        """Run the scripted operator from a drawn start."""
        self.robot.place(self._task.sample_start(np.random.default_rng(seed)), seed)
        steps = self._run(self._operating(seed), self._task.horizon_steps)
        return self._trial(seed, steps)

    def recovery(self, seed: int) -> Trial | None:
        """Run the operator from a state of failure; None if there was none: the task is solved."""
        drawn = np.random.default_rng([seed, 17])
        if self._planner is None:
            weak = self._plugin.behaviour(FAILURE_DATA, self._embodiment, seed)
            start, failing, ticks = weak.start(), self._by(weak), drawn.integers(*_WEAK_TICKS)
        else:
            start = self._task.sample_start(np.random.default_rng(seed))
            failing, ticks = self._piloted(seed), drawn.integers(*_POLICY_TICKS)
        self.robot.place(start, seed)
        self._run(failing, int(ticks))
        if self._succeeded():
            return None
        steps = self._run(self._operating(seed), self._task.horizon_steps)
        return self._trial(seed, steps)

    def _piloted(self, seed: int) -> Actor:
        assert self._planner is not None
        planner, scene = self._planner, self.robot.scene
        pilot = Pilot(planner, seed, 0)
        steps = itertools.count()

        def act(measured: Array) -> Array:
            step = next(steps)
            if pilot.looks(step):
                pilot.see(self.robot.images, self._reader.read(JointValues(
                    name=self._embodiment.joint_names, position=scene.joint_positions.tolist(),
                    velocity=scene.joint_velocities.tolist(),
                )).proprio)
            if pilot.plans(step):
                pilot.follow(planner.plan(*pilot.question()))
            return pilot.action(step)

        return act

    def _by(self, behaviour: Behaviour) -> Actor:
        def act(measured: Array) -> Array | None:
            truth = self.robot.scene.truth
            if behaviour.finished(truth):
                return None
            return behaviour.targets(truth, measured)

        return act

    def _operating(self, seed: int) -> Actor:
        operator = self._plugin.operator(self._embodiment)
        correction = operator.correction(seed, 0.0)
        first = True

        def act(measured: Array) -> Array | None:
            nonlocal first
            sight = operator.look(self.robot.images, measured, jumped=first)
            first = False
            # Out of sight: wait, as the operator's script does.
            return correction.targets(sight, measured) if sight.visible else measured

        return act

    def _run(self, act: Actor, ticks: int) -> int:
        """Let an actor act; return the number of ticks until it ended or the task is solved."""
        limits, solved = self._limiter.initial_state(), 0
        for tick in range(ticks):
            measured = self.robot.measured
            target = act(measured)
            solved = solved + 1 if self._succeeded() else 0
            if target is None or solved >= 25:
                return tick
            allowed = self._limiter.limit(target, measured, limits)
            limits = allowed.state
            self.robot.take(allowed.action)
            self.robot.advance()
        return ticks

    def _succeeded(self) -> bool:
        progress = self._plugin.progress(self.robot.scene.truth)
        return progress >= self._task.success_progress

    def _trial(self, seed: int, steps: int) -> Trial:
        progress = self._plugin.progress(self.robot.scene.truth)
        return Trial(seed=seed, success=self._succeeded(), steps=steps, progress=progress)


def main() -> int:
    """Run trials, and print each and the share of successes with its Wilson interval."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("task")
    parser.add_argument("who", choices=("expert", "operator", "recovery", "policy"))
    parser.add_argument("--trials", type=whole_number(1), default=50)
    parser.add_argument("--seed", type=seed_number, default=1000, help="of the first trial")
    parser.add_argument("--policy", type=path_argument, help="checkpoint, for policy and recovery")
    options = parser.parse_args()
    if options.who == "policy" and not options.policy:
        parser.error("policy needs a checkpoint: --policy FILE")
    try:
        bench = Bench(load_task(options.task), options.policy)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    trials: list[Trial] = []
    seed = options.seed
    while len(trials) < options.trials:
        trial = getattr(bench, options.who)(seed)
        seed += 1
        if trial is None:
            continue
        trials.append(trial)
        mark = "" if trial.success else f", failed at progress {trial.progress:.2f}"
        print(f"seed {trial.seed}: {trial.steps} steps{mark}", flush=True)
    bench.robot.close()
    won = sum(trial.success for trial in trials)
    low, high = wilson_interval(won, len(trials))
    print(
        f"{options.task} {options.who}: {won} of {len(trials)}, 95 % interval {low:.2f} to "
        f"{high:.2f}, seeds {options.seed} to {seed - 1}"
    )
    return 0


if __name__ == "__main__":
    # MuJoCo selects its renderer at import.
    os.environ.setdefault("MUJOCO_GL", "egl")
    sys.exit(main())
