"""One trial of a rollout ends like one of the evaluator."""

import math

from hiwm_evaluation.judges import GroundTruthJudge, HeadJudge, Judge
from hiwm_evaluation.rollout.trial import JudgedTrial
from hiwm_evaluation.trials import Outcome

STARTS = [(0.0, 0.0, 0.0), (0.05, 0.02, 1.0)]


def trial(judge: Judge) -> JudgedTrial:
    return JudgedTrial(
        number=1, starts=STARTS, seed=7, horizon=4, judge=judge, policy="tiny-01234567"
    )


def test_success_ends_a_trial_at_its_step() -> None:
    run = trial(GroundTruthJudge(0.85))
    over = [run.observe(progress=progress) for progress in (0.1, 0.5, 0.86)]
    result = run.result
    assert over == [False, False, True] and result is not None
    assert (result.outcome, result.steps, result.best) == (Outcome.SUCCESS, 2, 0.86)
    assert (result.trial, result.start, result.seed) == (1, STARTS[1], 8)
    # The world's first reset is ep_0001, and trial 0 is ep_0002.
    assert (result.policy, result.episode_id) == ("tiny-01234567", "ep_0003")


def test_a_trial_without_success_fails_at_the_horizon() -> None:
    run = trial(HeadJudge(0.5))
    over = [run.observe(success=0.1 * step) for step in range(5)]
    assert over == [False] * 4 + [True] and run.result is not None
    assert (run.result.outcome, run.result.steps) == (Outcome.FAILURE, 4)
    assert run.result.reason == "horizon reached" and run.result.best == 0.4


def test_a_world_without_success_values_gives_no_verdict() -> None:
    run = trial(HeadJudge(0.5))
    while not run.observe(success=math.nan):
        pass
    assert run.result is not None and run.result.outcome is Outcome.ABORTED


def test_an_aborted_trial_keeps_its_reason() -> None:
    run = trial(HeadJudge(0.5))
    run.observe(success=0.0)
    assert run.abort("the plan was not finite").outcome is Outcome.ABORTED
    assert run.result is not None and run.result.reason == "the plan was not finite"


def test_a_trial_has_the_mean_trust_of_the_policys_ticks() -> None:
    imagined, doubtless = trial(HeadJudge(0.5)), trial(HeadJudge(0.5))
    for step, trust in enumerate((0.0, 0.5, math.nan, 0.6, 0.7)):  # the first is the reset's
        imagined.observe(success=0.1, trust=trust)
        doubtless.observe(success=0.1, trust=math.nan)
        assert (imagined.result is None) is (step < 4)
    assert imagined.result is not None and imagined.result.trust == 0.6
    assert doubtless.result is not None and doubtless.result.trust is None
    real = trial(GroundTruthJudge(0.85))
    while not real.observe(progress=0.0):
        pass
    assert real.result is not None and real.result.trust == 1.0
