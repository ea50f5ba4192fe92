"""One trial of a rollout, judged like a trial of the evaluator.

It uses the evaluator's `Evaluation`, so that outcome, steps and wording cannot differ. Tested by
``test_rollout_trial.py`` and, against a graph, by ``test_rollout_parity.py``.
"""

import math
import time
from collections.abc import Callable, Sequence

from hiwm_core.control import Source
from hiwm_evaluation.evaluation import Evaluation
from hiwm_evaluation.evaluation_messages import Action, Record, Request, TrialTick
from hiwm_evaluation.judges import Judge
from hiwm_evaluation.trials import StartValues, TrialResult

# A graph starts in epoch 1, and every trial's reset starts the next epoch.
_FIRST_EPOCH = 2


def trial_epoch(number: int) -> int:
    """Return the epoch of a trial (counted from 0) in a new graph."""
    return number + _FIRST_EPOCH


class JudgedTrial:
    """One trial, from its reset on.

    Args:
        number: of the trial, from 0.
        starts: of every trial, values in the task's order.
        seed: trial i is reset with seed + i.
        horizon: ticks after which a trial without success has failed.
        judge: decides success.
        policy: label of the policy.
    """

    def __init__(
        self, *, number: int, starts: Sequence[StartValues], seed: int, horizon: int, judge: Judge,
        policy: str,
    ) -> None:
        self._policy = policy
        self._epoch = trial_epoch(number)
        self._step = 0
        self.result: TrialResult | None = None  # set when it is over
        self._evaluation = Evaluation(
            starts=starts, seed=seed, horizon=horizon,
            finished=set(range(len(starts))) - {number}, policy=policy, make_judge=lambda: judge,
            tick_timeout_s=math.inf, clock=time.monotonic,
        )
        # Pause, reset and start; in a graph the arbiter and the world reply.
        actions = self._evaluation.begin()
        while actions:
            (request,) = actions
            assert isinstance(request, Request)
            actions = self._evaluation.on_reply(
                request.number, accepted=True, message="", epoch=self._epoch
            )

    def observe(
        self, *, success: float = math.nan, progress: float | None = None, trust: float = 1.0
    ) -> bool:
        """Handle the next observation, from the reset on; return whether the trial is over.

        Args:
            success: the world model's probability of success.
            progress: from the stand-in's ground truth.
            trust: the world model's, 0..1 or NaN; a stand-in's is 1.
        """
        if progress is not None:
            self._take(self._evaluation.on_truth(self._step, progress))
        acted = self._step > 0
        self._take(self._evaluation.on_tick(TrialTick(
            epoch=self._epoch, step=self._step, stamp_ns=self._step, success=success,
            source=Source.POLICY if acted else Source.NONE, device=self._policy if acted else "",
            episode_id=f"ep_{self._epoch:04d}", trust=trust,
        )))
        self._step += 1
        return self.result is not None

    def abort(self, reason: str) -> TrialResult:
        """End the trial without a verdict."""
        self._take(self._evaluation.abort(reason))
        assert self.result is not None
        return self.result

    def _take(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Record):
                self.result = action.result


MakeTrial = Callable[[int, str], JudgedTrial]  # number, label of the policy
