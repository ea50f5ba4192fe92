"""Runs trials on the stand-in, one after the other, in simulated time.

Scene and controllers are those of the driver, limits those of the bridge. Tested by
``test_rollout_parity.py``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from hiwm_core.embodiment import Embodiment
from hiwm_core.frames import JointValues, RobotReader
from hiwm_core.limits import Limiter
from hiwm_core.tasks import Task
from hiwm_evaluation.rollout.pilot import Pilot
from hiwm_evaluation.rollout.trial import MakeTrial, trial_epoch
from hiwm_evaluation.trials import StartValues, TrialResult
from hiwm_learning.policies.planning import Images, Planner
from hiwm_robot.standin_robot import StandinRobot


class StandinTrials:
    """Runs trials of policies on one stand-in.

    Args:
        body: scene and controllers.
        task: names the starts' values, and judges.
        embodiment: of the stand-in.
        planner: returns a policy by number.
        make_trial: starts a trial.
        starts: of every trial, values in the task's order.
        seed: of the evaluation.
        watch: receives every camera's image at every step; None: none is rendered for it.
    """

    def __init__(
        self, body: StandinRobot, task: Task, embodiment: Embodiment,
        planner: Callable[[int], Planner], make_trial: MakeTrial, *,
        starts: Sequence[StartValues], seed: int, watch: Callable[[Images], None] | None = None,
    ) -> None:
        self._body = body
        self._names = task.start_names
        self._progress = task.stand_in().progress
        self._embodiment = embodiment
        self._limiter = Limiter(embodiment)
        self._robot = RobotReader(embodiment)
        self._planner = planner
        self._make_trial = make_trial
        self._starts = starts
        self._seed = seed
        self._watch = watch

    def run(self, wanted: Iterable[tuple[int, int]]) -> Iterator[tuple[int, TrialResult]]:
        """Yield policies and results in the given order."""
        for policy, number in wanted:
            yield policy, self._trial(self._planner(policy), number)

    def _trial(self, planner: Planner, number: int) -> TrialResult:
        body, scene, names = self._body, self._body.scene, self._embodiment.joint_names
        pilot = Pilot(planner, self._seed, trial_epoch(number))
        trial = self._make_trial(number, planner.label)
        start = dict(zip(self._names, self._starts[number], strict=True))
        body.place(start, self._seed + number)
        limits = self._limiter.initial_state()
        step = 0
        while not trial.observe(progress=self._progress(scene.truth)):
            measured = body.measured
            if self._watch:
                self._watch(body.images)
            if pilot.looks(step):
                pilot.see(body.images, self._robot.read(JointValues(
                    name=names, position=scene.joint_positions.tolist(),
                    velocity=scene.joint_velocities.tolist(),
                )).proprio)
            if pilot.plans(step) and not pilot.follow(planner.plan(*pilot.question())):
                return trial.abort(
                    f"{planner.label} gave actions that are not finite at step {step}"
                )
            allowed = self._limiter.limit(pilot.action(step), measured, limits)
            limits = allowed.state
            body.take(allowed.action)
            body.advance()
            step += 1
        assert trial.result is not None
        return trial.result
