"""What counts as success in a trial."""

import math
from itertools import permutations

from hiwm_evaluation.judges import GroundTruthJudge, HeadJudge


def test_progress_counts_at_any_tick_even_if_it_falls_again() -> None:
    judge = GroundTruthJudge(0.85)
    for step, progress in enumerate((0.2, 0.86, 0.3)):
        judge.on_truth(100 + step, progress)
        judge.on_tick(step, 100 + step, math.nan)
    assert judge.success_step == 1 and judge.best == 0.86


def test_the_step_of_success_does_not_depend_on_the_order_of_arrival() -> None:
    truths = [(100, 0.1), (101, 0.9), (102, 0.2)]
    for order in permutations(range(6)):
        judge = GroundTruthJudge(0.85)
        step = 0
        for item in order:
            if item < 3:
                judge.on_truth(*truths[item])
            else:
                judge.on_tick(step, 100 + step, math.nan)
                step += 1
        assert judge.success_step == 1 and judge.complete and judge.informed


def test_a_truth_from_before_the_trial_is_ignored() -> None:
    judge = GroundTruthJudge(0.85)
    judge.on_truth(99, 1.0)
    judge.on_tick(0, 100, math.nan)
    assert judge.success_step is None and judge.best == 0.0 and not judge.informed
    assert not judge.complete
    judge.on_truth(100, 0.5)
    assert judge.complete and judge.informed


def test_a_truth_between_ticks_counts_for_the_next_one() -> None:
    judge = GroundTruthJudge(0.85)
    judge.on_tick(0, 100, math.nan)
    judge.on_truth(105, 0.9)
    assert judge.success_step is None
    judge.on_tick(1, 110, math.nan)
    assert judge.success_step == 1


def test_a_head_decides_success_and_nan_is_ignored() -> None:
    judge = HeadJudge(0.5)
    judge.on_tick(0, 0, math.nan)
    assert not judge.informed
    judge.on_truth(0, 1.0)
    judge.on_tick(1, 1, 0.49)
    assert judge.success_step is None and judge.informed and judge.complete
    judge.on_tick(2, 2, 0.5)
    judge.on_tick(3, 3, 0.9)
    assert judge.success_step == 2 and judge.best == 0.9
