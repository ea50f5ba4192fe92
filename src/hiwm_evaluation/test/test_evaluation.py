"""The sequence of an evaluation; the test plays the graph."""

import math
from typing import Any

import pytest

from hiwm_core.control import Mode, Source
from hiwm_core.errors import ConfigError
from hiwm_evaluation.evaluation import RESET_TIMEOUT_S, Evaluation
from hiwm_evaluation.evaluation_messages import (
    Action,
    Finish,
    Phase,
    Record,
    Request,
    RequestKind,
    TrialTick,
)
from hiwm_evaluation.judges import GroundTruthJudge, HeadJudge, PersonJudge
from hiwm_evaluation.trials import Outcome, TrialResult

STARTS = [(0.01 * number, 0.0, 0.0) for number in range(5)]
POLICY = "push 12345678"


class Bench:
    """An evaluation whose requests the test answers."""

    def __init__(self, *, trials: int = 2, truth: bool = False, **changes: Any) -> None:
        self.now = 0.0
        self.results: list[TrialResult] = []
        self.finish: Finish | None = None
        self.request: Request | None = None
        self.epoch = 1
        settings: dict[str, Any] = {
            "starts": STARTS[:trials], "seed": 7, "horizon": 5, "finished": set(), "policy": "",
            "make_judge": lambda: GroundTruthJudge(0.85) if truth else HeadJudge(0.5),
            "tick_timeout_s": 10.0, "clock": lambda: self.now,
        }
        self.evaluation = Evaluation(**(settings | changes))
        self.take(self.evaluation.begin())

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Record):
                self.results.append(action.result)
            elif isinstance(action, Finish):
                self.finish = action
            else:
                self.request = action

    def reply(
        self, kind: RequestKind, *, accepted: bool = True, message: str = "", epoch: int = -1
    ) -> Request:
        request = self.request
        assert request is not None and request.kind is kind
        self.request = None
        self.take(self.evaluation.on_reply(
            request.number, accepted=accepted, message=message, epoch=epoch
        ))
        return request

    def tick(
        self, step: int, *, success: float = 0.0, source: Source = Source.POLICY,
        epoch: int | None = None, device: str = POLICY,
    ) -> None:
        self.take(self.evaluation.on_tick(TrialTick(
            epoch=self.epoch if epoch is None else epoch, step=step, stamp_ns=1000 + step,
            success=success, source=source, device=device, episode_id="ep_0001",
        )))

    def truth(self, step: int, progress: float) -> None:
        self.take(self.evaluation.on_truth(1000 + step, progress))

    def control(self, mode: Mode, reason: str = "") -> None:
        self.take(self.evaluation.on_control(mode, reason, self.epoch))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.evaluation.on_time())

    def refuse_reset(self, message: str) -> None:
        """Refuse the request every time."""
        self.reply(RequestKind.PAUSE)
        recorded = len(self.results)
        while len(self.results) == recorded:
            self.reply(RequestKind.RESET, accepted=False, message=message)
            self.wait(1.0)

    def begin_trial(self) -> Request:
        """Answer until the policy runs, and return the requested reset."""
        self.reply(RequestKind.PAUSE)
        self.epoch += 1
        reset = self.reply(RequestKind.RESET, epoch=self.epoch)
        self.tick(0, source=Source.NONE)
        self.reply(RequestKind.START)
        assert self.evaluation.phase is Phase.RUNNING
        return reset


def test_trials_run_from_their_poses_until_success_or_horizon() -> None:
    bench = Bench()
    reset = bench.begin_trial()
    assert (reset.start, reset.seed) == (STARTS[0], 7)
    bench.tick(1)
    bench.tick(2, success=0.8)
    reset = bench.begin_trial()
    assert (reset.start, reset.seed) == (STARTS[1], 8)
    for step in range(1, 6):
        bench.tick(step, success=0.2)
    first, second = bench.results
    assert (first.trial, first.outcome, first.steps) == (0, Outcome.SUCCESS, 2)
    assert (second.trial, second.outcome, second.steps) == (1, Outcome.FAILURE, 5)
    assert first.policy == POLICY and second.best == 0.2 and first.start == STARTS[0]
    assert bench.finish is None
    bench.reply(RequestKind.PAUSE)
    assert bench.finish == Finish()


def by_hand_bench() -> Bench:
    """A robot that only a person can reset and judge."""
    return Bench(by_hand=True, make_judge=PersonJudge)


def test_if_the_world_cannot_reset_itself_nothing_moves_before_a_person_confirms() -> None:
    bench = by_hand_bench()
    with pytest.raises(ConfigError, match="no trial is waiting"):
        bench.take(bench.evaluation.on_placed())
    bench.reply(RequestKind.PAUSE)
    assert bench.evaluation.phase is Phase.PLACING and bench.evaluation.start == STARTS[0]
    bench.wait(1e6)  # a person may take long
    bench.tick(1)
    assert bench.request is None and not bench.results
    bench.take(bench.evaluation.on_placed())
    bench.epoch += 1
    reset = bench.reply(RequestKind.RESET, epoch=bench.epoch)
    assert reset.by_hand and reset.start == STARTS[0]
    bench.reply(RequestKind.START)
    assert bench.evaluation.phase is Phase.RUNNING


def test_a_reset_is_retried_however_long_placing_took() -> None:
    bench = by_hand_bench()
    bench.reply(RequestKind.PAUSE)
    bench.wait(1e4)
    bench.take(bench.evaluation.on_placed())
    bench.reply(RequestKind.RESET, accepted=False, message="a reset is under way")
    bench.wait(1.0)
    assert bench.reply(RequestKind.RESET, epoch=2).by_hand and not bench.results


def test_on_a_robot_a_person_judges_and_the_robot_waits_paused() -> None:
    bench = by_hand_bench()
    for trial, success in enumerate((True, False)):
        bench.reply(RequestKind.PAUSE)
        bench.take(bench.evaluation.on_placed())
        bench.epoch += 1
        bench.reply(RequestKind.RESET, epoch=bench.epoch)
        bench.tick(0, source=Source.NONE)
        bench.reply(RequestKind.START)
        for step in range(1, 6):
            bench.tick(step)
        assert bench.evaluation.phase is Phase.HOLDING
        bench.tick(6)
        bench.control(Mode.PAUSED, "evaluation")
        bench.reply(RequestKind.PAUSE)
        bench.wait(1e6)
        assert bench.evaluation.phase is Phase.JUDGING and len(bench.results) == trial
        bench.take(bench.evaluation.on_label(success, "person anna", "rim"))
    first, second = bench.results
    assert (first.outcome, first.judged_by, first.steps) == (Outcome.SUCCESS, "person anna", 5)
    assert (second.outcome, second.reason) == (Outcome.FAILURE, "rim")


def test_a_label_ends_the_current_trial_whatever_the_head_reports() -> None:
    bench = Bench()
    with pytest.raises(ConfigError, match="not started"):
        bench.evaluation.on_label(True, "person", "")
    bench.begin_trial()
    bench.tick(1, success=0.1)
    bench.take(bench.evaluation.on_label(True, "person anna", "seen from the side"))
    result = bench.results[0]
    assert (result.outcome, result.judged_by, result.steps) == (Outcome.SUCCESS, "person anna", 1)
    assert bench.begin_trial().start == STARTS[1]


def test_a_world_that_repeats_its_tick_does_not_keep_a_trial_alive() -> None:
    bench = Bench()
    bench.begin_trial()
    bench.tick(1)
    for _ in range(3):
        bench.wait(4.0)
        bench.tick(1)
    assert bench.results[0].outcome is Outcome.ABORTED
    assert "no tick by the policy for 10 s after step 1" in bench.results[0].reason


def test_finished_trials_are_not_run_again() -> None:
    bench = Bench(trials=3, finished={0, 2})
    assert bench.begin_trial().start == STARTS[1]
    bench.tick(1, success=1.0)
    assert [result.trial for result in bench.results] == [1]
    bench.reply(RequestKind.PAUSE)
    assert bench.finish == Finish()


def test_an_evaluation_without_unfinished_trials_ends_immediately() -> None:
    bench = Bench(finished={0, 1})
    bench.reply(RequestKind.PAUSE)
    assert bench.finish == Finish()


def test_ticks_that_overtake_the_answer_to_the_reset_are_not_lost() -> None:
    bench = Bench()
    bench.reply(RequestKind.PAUSE)
    bench.tick(90, epoch=1, success=1.0)
    bench.epoch = 2
    bench.tick(0, source=Source.NONE)
    bench.reply(RequestKind.RESET, epoch=2)
    for step in range(1, 5):  # in real time the world steps while the arms hold still
        bench.tick(step, source=Source.NONE)
    bench.reply(RequestKind.START)
    for step in range(5, 10):
        assert not bench.results
        bench.tick(step)
    assert (bench.results[0].outcome, bench.results[0].steps) == (Outcome.FAILURE, 5)


def test_ticks_that_overtake_the_answer_to_the_start_are_judged() -> None:
    bench = Bench(truth=True)
    bench.reply(RequestKind.PAUSE)
    bench.epoch = 2
    bench.reply(RequestKind.RESET, epoch=2)
    bench.tick(0, source=Source.NONE)
    for step in range(1, 4):
        bench.truth(step, 0.9 if step == 2 else 0.1)
        bench.tick(step)
    bench.reply(RequestKind.START)
    assert (bench.results[0].outcome, bench.results[0].steps) == (Outcome.SUCCESS, 2)


def test_ticks_of_a_robot_without_its_policy_are_not_a_failure() -> None:
    bench = Bench()
    bench.begin_trial()
    bench.tick(1)
    for step in range(2, 4):
        bench.wait(6.0)
        bench.tick(step, source=Source.NONE)
    assert bench.results[0].outcome is Outcome.ABORTED
    assert "no tick by the policy" in bench.results[0].reason


def test_on_the_stand_in_the_verdict_waits_for_the_truth_of_the_last_tick() -> None:
    bench = Bench(truth=True)
    bench.begin_trial()
    for step in range(1, 6):
        bench.tick(step)
        bench.truth(step - 1, 0.2)
    assert bench.evaluation.phase is Phase.LAST_TRUTH and not bench.results
    bench.truth(5, 0.9)
    assert (bench.results[0].outcome, bench.results[0].steps) == (Outcome.SUCCESS, 5)
    assert (bench.results[0].best, bench.results[0].judged_by) == (0.9, "ground truth")


def test_on_the_stand_in_a_trial_without_any_truth_is_not_a_failure() -> None:
    bench = Bench(truth=True)
    bench.begin_trial()
    for step in range(1, 6):
        bench.tick(step)
    bench.wait(5.0)
    assert bench.results[0].outcome is Outcome.ABORTED
    assert "ground truth" in bench.results[0].reason


def test_a_truth_of_the_previous_trial_is_ignored() -> None:
    bench = Bench(truth=True)
    bench.reply(RequestKind.PAUSE)
    bench.take(bench.evaluation.on_truth(900, 1.0))
    bench.epoch = 2
    bench.tick(0, source=Source.NONE)
    bench.reply(RequestKind.RESET, epoch=2)
    bench.reply(RequestKind.START)
    bench.take(bench.evaluation.on_truth(901, 1.0))
    bench.tick(1)
    assert not bench.results


def test_a_world_that_dies_aborts_the_trial_and_the_next_one_is_tried() -> None:
    bench = Bench()
    bench.begin_trial()
    bench.control(Mode.POLICY, "start requested")
    bench.tick(1)
    bench.wait(9.9)
    assert not bench.results
    bench.wait(0.2)
    assert bench.results[0].outcome is Outcome.ABORTED
    assert "no tick by the policy for 10 s after step 1" in bench.results[0].reason
    assert "POLICY" in bench.results[0].reason
    assert bench.begin_trial().start == STARTS[1]


@pytest.mark.parametrize("kind", list(RequestKind))
def test_an_unanswered_request_aborts_the_trial(kind: RequestKind) -> None:
    bench = Bench()
    if kind is not RequestKind.PAUSE:
        bench.reply(RequestKind.PAUSE)
    if kind is RequestKind.START:
        bench.reply(RequestKind.RESET, epoch=2)
    bench.wait(RESET_TIMEOUT_S + 1.0)
    assert bench.results[0].outcome is Outcome.ABORTED
    assert "did not answer" in bench.results[0].reason


def test_a_late_reply_is_not_taken_for_a_later_request() -> None:
    bench = Bench()
    late = bench.request
    assert late is not None
    bench.wait(11.0)
    bench.take(bench.evaluation.on_reply(late.number, accepted=True, message=""))
    assert bench.evaluation.phase is Phase.PAUSING


def test_a_refused_reset_is_reported_with_the_message_of_the_world() -> None:
    bench = Bench()
    bench.refuse_reset("the T does not fit there")
    assert bench.results[0].outcome is Outcome.ABORTED
    assert "the T does not fit there" in bench.results[0].reason


def test_a_busy_world_gets_the_request_again() -> None:
    bench = Bench()
    bench.reply(RequestKind.PAUSE)
    bench.reply(RequestKind.RESET, accepted=False, message="a reset is under way")
    assert bench.request is None and not bench.results
    bench.wait(1.0)
    reset = bench.reply(RequestKind.RESET, epoch=2)
    assert reset.start == STARTS[0]
    assert bench.evaluation.phase is Phase.STARTING


@pytest.mark.parametrize("trials", [3, 5])
def test_three_aborted_trials_in_a_row_end_it_with_the_reason(trials: int) -> None:
    bench = Bench(trials=trials)
    for _ in range(3):
        bench.refuse_reset("no driver")
    bench.wait(5.0)
    assert len(bench.results) == 3
    assert bench.finish is not None and "no driver" in bench.finish.problem


def test_a_stopped_arbiter_ends_the_evaluation_and_stays_stopped() -> None:
    bench = Bench()
    bench.reply(RequestKind.PAUSE, accepted=False, message="STOPPED: possible: clear_stop")
    bench.wait(5.0)
    assert bench.finish is not None and "clear_stop" in bench.finish.problem
    assert not bench.results


def test_a_fault_of_the_policy_aborts_with_its_reason_and_an_old_pause_does_not() -> None:
    bench = Bench()
    bench.begin_trial()
    bench.control(Mode.PAUSED, "evaluation")
    assert not bench.results
    bench.control(Mode.POLICY)
    bench.control(Mode.PAUSED, "plan refused: not finite")
    assert bench.results[0].outcome is Outcome.ABORTED
    assert "not finite" in bench.results[0].reason


def test_a_takeover_aborts_the_trial() -> None:
    bench = Bench()
    bench.begin_trial()
    bench.tick(1)
    bench.tick(2, source=Source.HUMAN, device="keys", success=1.0)
    assert bench.results[0].outcome is Outcome.ABORTED
    assert "keys took over at step 2" in bench.results[0].reason


def test_someone_else_s_reset_aborts_the_trial() -> None:
    bench = Bench()
    bench.begin_trial()
    bench.tick(0, epoch=9, success=1.0)
    assert bench.results[0].outcome is Outcome.ABORTED and "epoch 9" in bench.results[0].reason


def test_a_lost_tick_aborts_the_trial() -> None:
    bench = Bench()
    bench.begin_trial()
    bench.tick(1)
    bench.tick(3)
    assert bench.results[0].outcome is Outcome.ABORTED and "lost" in bench.results[0].reason


def test_two_policies_are_not_mixed() -> None:
    bench = Bench(policy="other 87654321")
    bench.begin_trial()
    bench.tick(1, success=1.0)
    bench.wait(5.0)
    assert not bench.results
    assert bench.finish is not None and POLICY in bench.finish.problem


def test_a_head_without_values_is_not_a_failure() -> None:
    bench = Bench()
    bench.reply(RequestKind.PAUSE)
    bench.epoch = 2
    bench.reply(RequestKind.RESET, epoch=2)
    bench.reply(RequestKind.START)
    bench.tick(0, source=Source.NONE, success=math.nan)
    for step in range(1, 6):
        bench.tick(step, success=math.nan)
    result = bench.results[0]
    assert result.outcome is Outcome.ABORTED and "success head" in result.reason


def test_progress_names_trial_step_and_best() -> None:
    bench = Bench()
    bench.begin_trial()
    bench.tick(1, success=0.25)
    assert bench.evaluation.progress == "trial 1/2: running, step 1/5, best success head 0.25"
