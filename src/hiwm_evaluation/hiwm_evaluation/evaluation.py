"""The sequence of an evaluation, without ROS: pause, reset, start, judge, record, repeat.

``evaluator_node.py`` sends the requests and passes in replies and messages. Tested by
``test_evaluation.py``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from hiwm_core.control import Mode, Source
from hiwm_core.errors import ConfigError
from hiwm_evaluation.evaluation_messages import (
    Action,
    Finish,
    Phase,
    Record,
    Request,
    RequestKind,
    TrialTick,
)
from hiwm_evaluation.judges import Judge, PersonJudge
from hiwm_evaluation.trials import Outcome, StartValues, TrialResult

# A driver may move the arms away and place an object before it answers.
RESET_TIMEOUT_S = 60.0
# A busy world refuses a reset, for example during its own first reset. The request is then repeated
# at this interval, for at most this long.
_RESET_RETRY_S = 0.5
_RESET_PATIENCE_S = 10.0
# The ground truth of the last tick is already in transit.
_LAST_TRUTH_S = 2.0
# After this many aborted trials in a row the evaluation stops: the graph is assumed to be broken.
_ABORTS_IN_A_ROW = 3
# No deadline while waiting for a person; nothing moves meanwhile.
_FOREVER = float("inf")


class Evaluation:
    """Runs the unfinished trials one after the other.

    A trial is aborted, with the reason, if the policy takes no step or a request gets no answer for
    `tick_timeout_s`. No trial therefore takes longer than `horizon` times that.

    Args:
        starts: of every trial, values in the task's order.
        seed: trial i is reset with seed + i.
        horizon: ticks after which a trial without success has failed.
        finished: trials not to run again.
        policy: the only accepted policy; empty accepts the first one.
        make_judge: returns a judge for each trial.
        tick_timeout_s: silence after which the world or the policy is assumed to be dead.
        clock: returns monotonic seconds.
        by_hand: the world cannot reset itself; a person places the object before each trial.
    """

    def __init__(
        self, *, starts: Sequence[StartValues], seed: int, horizon: int, finished: set[int],
        policy: str, make_judge: Callable[[], Judge], tick_timeout_s: float,
        clock: Callable[[], float], by_hand: bool = False,
    ) -> None:
        self._starts = starts
        self._seed = seed
        self.horizon = horizon
        self._left = [number for number in range(len(starts)) if number not in finished]
        self._policy = policy
        self._make_judge = make_judge
        self._tick_timeout = tick_timeout_s
        self._clock = clock
        self._by_hand = by_hand
        self._requests = 0
        self._aborts = 0
        self._problem = ""
        self._control: tuple[Mode, str] = (Mode.PAUSED, "")
        self.phase = Phase.DONE
        self._begin_trial()

    def _begin_trial(self) -> None:
        self._judge = self._make_judge()
        self._started = self._deadline = self._first_asked = self._clock()
        self._ticks: list[TrialTick] = []  # of all epochs, until the reset returns the trial's
        self._truths: list[tuple[int, float]] = []
        self._epoch = -1
        self._first_step = 0
        self._acted = False  # whether the policy has acted in this trial
        self._last: TrialTick | None = None
        self._trusts: list[float] = []  # of the policy's ticks
        self._device = ""
        self._policy_seen = False

    @property
    def progress(self) -> str:
        """Current activity, as text for people."""
        if not self._left:
            return self.phase.value
        text = f"trial {self._left[0] + 1}/{len(self._starts)}: {self.phase.value}"
        if self.phase is Phase.RUNNING and self._last:
            text += f", step {self.step}/{self.horizon}"
            text += f", best {self._judge.name} {self._judge.best:.2f}"
        return text

    @property
    def trial(self) -> int | None:
        """Number of the current trial; None if there is none."""
        return self._left[0] if self._left else None

    @property
    def start(self) -> StartValues:
        """Start of the current trial."""
        return self._starts[self._left[0]] if self._left else ()

    @property
    def step(self) -> int:
        """Ticks since the policy's first action."""
        return self._last.step - self._first_step if self._last and self._acted else 0

    @property
    def left(self) -> tuple[int, float]:
        """Number of unfinished trials, and duration of the current one, s."""
        return len(self._left), self._clock() - self._started

    def begin(self) -> list[Action]:
        """Start the first unfinished trial."""
        return self._next_trial()

    def on_reply(
        self, number: int, *, accepted: bool, message: str, epoch: int = -1
    ) -> list[Action]:
        """Handle the reply to a request; the trial has the ``epoch`` of its reset."""
        if number != self._requests:
            return []
        if self.phase is Phase.PAUSING:
            if not accepted:
                # The arbiter refuses a pause only in STOPPED, which only a person may clear.
                return self._close(f"the arbiter refused to pause: {message}")
            if self._by_hand:
                self._enter(Phase.PLACING, _FOREVER)
                return []
            return self._ask_reset()
        if self.phase is Phase.RESETTING:
            if not accepted:
                if self._clock() - self._first_asked < _RESET_PATIENCE_S:
                    self._enter(Phase.RESET_REFUSED, _RESET_RETRY_S)
                    return []
                return self._end(Outcome.ABORTED, f"the world refused the reset: {message}")
            self._epoch = epoch
            return self._request(Phase.STARTING, RequestKind.START)
        if self.phase is Phase.STARTING:
            if not accepted:
                return self._end(Outcome.ABORTED, f"the arbiter refused to start: {message}")
            self._enter(Phase.RUNNING, self._tick_timeout)
            for truth in self._truths:
                self._judge.on_truth(*truth)
            actions: list[Action] = []
            for tick in self._ticks:
                actions += self.on_tick(tick)
            return actions
        if self.phase is Phase.HOLDING:
            if not accepted:
                return self._close(f"the arbiter refused to pause: {message}")
            self._enter(Phase.JUDGING, _FOREVER)
        if self.phase is Phase.CLOSING:
            return self._finish()
        return []

    def on_placed(self) -> list[Action]:
        """Handle a person's confirmation that the scene is arranged.

        Raises:
            ConfigError: no confirmation was requested.
        """
        if self.phase is not Phase.PLACING:
            raise ConfigError(
                f"no trial is waiting for the scene to be arranged ({self.progress})",
                where="evaluation/continue", remedy="call it when the prompt asks you to",
            )
        return self._ask_reset()

    def on_label(self, success: bool, judged_by: str, note: str) -> list[Action]:
        """End the current trial with a person's verdict.

        Raises:
            ConfigError: the policy has not acted in the trial.
        """
        if not self._acted or self.phase not in (
            Phase.RUNNING, Phase.LAST_TRUTH, Phase.HOLDING, Phase.JUDGING
        ):
            raise ConfigError(
                f"the trial has not started ({self.progress})", where="evaluation/label",
                remedy="label it after the policy's first action",
            )
        outcome = Outcome.SUCCESS if success else Outcome.FAILURE
        return self._end(outcome, note, judged_by=judged_by)

    def on_tick(self, tick: TrialTick) -> list[Action]:
        """Handle a tick of the world."""
        if self.phase in (Phase.RESETTING, Phase.STARTING):
            self._ticks.append(tick)
            return []
        if self.phase is not Phase.RUNNING or tick.epoch < self._epoch:
            return []
        if tick.epoch > self._epoch:
            return self._end(
                Outcome.ABORTED, f"the world started epoch {tick.epoch}: someone else's reset or "
                "rollback, or a restart",
            )
        return self._judge_tick(tick)

    def on_truth(self, stamp_ns: int, progress: float) -> list[Action]:
        """Handle a ground truth of the stand-in."""
        if self.phase in (Phase.RESETTING, Phase.STARTING):
            self._truths.append((stamp_ns, progress))
            return []
        if self.phase not in (Phase.RUNNING, Phase.LAST_TRUTH):
            return []
        self._judge.on_truth(stamp_ns, progress)
        return self._verdict()

    def on_control(self, mode: Mode, reason: str, epoch: int) -> list[Action]:
        """Handle a control state: the trial is aborted if the policy loses control."""
        self._control = (mode, reason)
        if self.phase is not Phase.RUNNING or epoch != self._epoch:
            return []
        if mode is Mode.POLICY:
            self._policy_seen = True
        elif self._policy_seen or mode is Mode.HUMAN:
            return self._end(Outcome.ABORTED, f"control went to {mode.name}: {reason}")
        return []

    def on_time(self) -> list[Action]:
        """Check deadlines; call this regularly."""
        if self.phase is Phase.DONE or self._clock() < self._deadline:
            return []
        if self.phase is Phase.CLOSING:
            return self._finish()
        if self.phase is Phase.RESET_REFUSED:
            return self._ask_reset()
        if self.phase is Phase.LAST_TRUTH:
            return self._verdict(final=True)
        if self.phase is Phase.RUNNING:
            mode, reason = self._control
            at = f"step {self._last.step}" if self._last else "the reset"
            return self._end(
                Outcome.ABORTED,
                f"no tick by the policy for {self._tick_timeout:g} s after {at} "
                f"(control {mode.name}: {reason})",
            )
        who = "the world" if self.phase is Phase.RESETTING else "the arbiter"
        return self._end(Outcome.ABORTED, f"{who} did not answer while {self.phase.value}")

    def abort(self, reason: str) -> list[Action]:
        """End the current trial without a verdict."""
        return self._end(Outcome.ABORTED, reason)

    def _judge_tick(self, tick: TrialTick) -> list[Action]:
        """Judge a tick. The trial starts with the observation before the policy's first action.

        In real time the world steps before that, while the arms hold still.
        """
        before, self._last = self._last, tick
        if before and tick.step == before.step:
            return []  # repeated for late subscribers: the world has not stepped
        if before and tick.step > before.step + 1:
            return self._end(
                Outcome.ABORTED, f"ticks after step {before.step} were lost, which may include a "
                "success: the machine is too busy",
            )
        if tick.source in (Source.HUMAN, Source.DEMONSTRATION):
            return self._end(Outcome.ABORTED, f"{tick.device} took over at step {tick.step}")
        if tick.source == Source.POLICY:
            if self._policy and tick.device != self._policy:
                return self._close(
                    f"the policy is {tick.device}, earlier trials used {self._policy}: "
                    "give another session_dir:="
                )
            self._policy = self._device = tick.device
            # A robot ticks without a policy, so only the policy's own ticks show that it runs.
            self._deadline = self._clock() + self._tick_timeout
            if not self._acted:
                self._acted = True
                self._first_step = before.step if before else tick.step - 1
                if before:
                    self._judge.on_tick(before.step, before.stamp_ns, before.success)
        if not self._acted:
            return []
        self._judge.on_tick(tick.step, tick.stamp_ns, tick.success)
        if not math.isnan(tick.trust):
            self._trusts.append(tick.trust)
        return self._verdict()

    def _verdict(self, *, final: bool = False) -> list[Action]:
        step = self._judge.success_step
        if step is not None:
            return self._end(Outcome.SUCCESS, "", step)
        if self.step < self.horizon or self.phase in (Phase.HOLDING, Phase.JUDGING):
            return []
        if isinstance(self._judge, PersonJudge):
            return self._request(Phase.HOLDING, RequestKind.PAUSE)
        if not self._judge.complete and not final:
            if self.phase is Phase.RUNNING:
                self._enter(Phase.LAST_TRUTH, _LAST_TRUTH_S)
            return []
        if not self._judge.informed:
            return self._end(
                Outcome.ABORTED, f"no data to judge the trial: no {self._judge.name}"
            )
        return self._end(Outcome.FAILURE, "horizon reached")

    def _end(
        self, outcome: Outcome, reason: str, step: int | None = None, judged_by: str = ""
    ) -> list[Action]:
        steps = self.step if step is None else step - self._first_step
        number = self._left.pop(0)
        result = TrialResult(
            trial=number, start=self._starts[number], seed=self._seed + number, outcome=outcome,
            reason=reason, steps=steps, best=round(self._judge.best, 6),
            judged_by=judged_by or self._judge.name, policy=self._device,
            episode_id=self._last.episode_id if self._last else "",
            seconds=round(self._clock() - self._started, 3),
            trust=round(fmean(self._trusts), 4) if self._trusts else None,
        )
        self._aborts = self._aborts + 1 if outcome is Outcome.ABORTED else 0
        actions: list[Action] = [Record(result=result)]
        if self._aborts >= _ABORTS_IN_A_ROW:
            return actions + self._close(
                f"{self._aborts} trials in a row were aborted; reason of the last one: {reason}"
            )
        return actions + self._next_trial()

    def _next_trial(self) -> list[Action]:
        if not self._left:
            return self._close("")
        self._begin_trial()
        return self._request(Phase.PAUSING, RequestKind.PAUSE)

    def _ask_reset(self) -> list[Action]:
        number = self._left[0]
        if self.phase is not Phase.RESET_REFUSED:
            self._first_asked = self._clock()
        self._ticks.clear()
        self._truths.clear()
        return self._request(
            Phase.RESETTING, RequestKind.RESET, self._starts[number], self._seed + number,
            self._by_hand,
        )

    def _close(self, problem: str) -> list[Action]:
        """Pause the world, then finish."""
        self._problem = problem
        return self._request(Phase.CLOSING, RequestKind.PAUSE)

    def _finish(self) -> list[Action]:
        self.phase = Phase.DONE
        return [Finish(problem=self._problem)]

    def _request(
        self, phase: Phase, kind: RequestKind, start: StartValues = (), seed: int = 0,
        by_hand: bool = False,
    ) -> list[Action]:
        timeouts: Mapping[Phase, float] = {
            Phase.RESETTING: RESET_TIMEOUT_S, Phase.CLOSING: _LAST_TRUTH_S
        }
        self._enter(phase, timeouts.get(phase, self._tick_timeout))
        self._requests += 1
        return [
            Request(number=self._requests, kind=kind, start=start, seed=seed, by_hand=by_hand)
        ]

    def _enter(self, phase: Phase, seconds: float) -> None:
        self.phase = phase
        self._deadline = self._clock() + seconds
