"""The scripted operator's decisions: when a rollout fails, and how it is corrected.

A state machine over observations. It watches the policy. When the rollout fails, it pauses, rolls
back to the failure state, takes over and corrects. It labels the branch, forks the same failure
state for further continuations, and hands the last one back to the policy. If the world cannot roll
back, it corrects from the current state and then starts a new episode. The teleop node prints the
services' answers, refusals in particular; the script prints its own conclusions.

Pure: no ROS, no clock, no image. Tested by ``test_operator_script.py``, which simulates worlds.
"""

import enum
from collections.abc import Callable

from hiwm_core.branch_records import Label
from hiwm_core.control import Mode, Source
from hiwm_core.task_plugin import Correction, Sight
from hiwm_core.tasks import Task
from hiwm_teleop.devices.base import (
    Answer,
    EventKind,
    OperatorEvent,
    OperatorInput,
    OperatorView,
    TickView,
)
from hiwm_teleop.rollout_watch import RolloutWatch
from hiwm_teleop.script_options import NO_TARGET, ScriptOptions

# A service that takes longer than this will never answer: the slowest loads a state in 0.2 s.
_ANSWER_TIMEOUT_S = 15.0
# How long a mode other than the requested one is tolerated before the next request, or the end.
_MODE_PATIENCE_S = 2.0
_MODE_GIVE_UP_S = 20.0
# Fraction of the time since the first tick after which an operator that has seen no failure
# corrects anyway.
_LATEST_FIRST_CORRECTION = 0.45
# A handback takes about five ticks; a goal reached earlier is not the policy's.
_LONGEST_HANDBACK_TICKS = 20
# Ticks without the object in sight before a correction is abandoned.
_BLIND_TICKS = 10
# The last of several continuations is handed back once the error is below this fraction of the
# failure's and nothing is in the air: the policy should finish from a state it can handle.
_RECOVERED_SHARE = 0.5


class Phase(enum.Enum):
    """What the operator is doing."""

    WATCH = "watching the policy"
    PAUSE = "pausing"
    ROLLBACK = "rolling back"
    CORRECT = "correcting"
    FORK = "forking"
    FOLLOW = "following the policy after the handback"
    RESET = "starting the next episode"
    END = "ending"


class OperatorScript:
    """Decides the operator's action at each observation.

    Args:
        task: gives what counts as success.
        options: see `ScriptOptions`.
        make_correction: returns the control for a seed and a variety: 0 takes the best path, 1 a
            clearly different one.
        started_s: steady clock at the session's start.
    """

    def __init__(
        self, task: Task, options: ScriptOptions,
        make_correction: Callable[[int, float], Correction], started_s: float,
    ) -> None:
        self._task = task
        self._options = options
        self._make_correction = make_correction
        self._started = started_s
        self._watch = RolloutWatch(task, options.watch)
        self._correction = make_correction(options.seed, 0.0)
        self._phase = Phase.WATCH
        self._asked_s: float | None = None  # when the pending request was sent; None = no request
        self._shown: tuple[int, int] | None = None  # (epoch, step) last acted on
        self._held: OperatorInput | None = None  # the decision for that tick
        self._ticks = 0
        self._first_tick_s = started_s
        self._epoch = -1  # lowest epoch acted on: after a rollback the old tick is void
        self._failures = 0
        self._branch = 0  # continuation of the current failure state, from 1
        self._failure_node = ""  # empty if the world could not roll back
        self._failure_error = 0.0
        self._corrected = 0  # ticks of all corrections
        self._kept = 0  # of those that did not fail
        self._at_goal = False  # the correction itself reached the goal
        self._phase_ticks = 0
        self._blind = 0
        self._corrections = 0
        self._off_mode_s: float | None = None  # since when the mode does not match the phase
        self._start_s: float | None = None  # when START was last requested
        self._steps = {
            Phase.WATCH: self._on_watch, Phase.CORRECT: self._on_correct,
            Phase.FOLLOW: self._on_follow,
        }

    @property
    def phase(self) -> Phase:
        """What the operator is doing."""
        return self._phase

    @property
    def failures(self) -> int:
        """Number of failure states so far."""
        return self._failures

    def decide(self, view: OperatorView, sight: Sight | None) -> OperatorInput:
        """Return what to do now.

        Args:
            view: the observation; the same tick may be shown again.
            sight: contents of its images; None without a tick.
        """
        for answer in view.answers:
            after = self._take(answer, view)
            if after is not None:
                return after
        if self._phase is Phase.END:
            return OperatorInput(silent=True)
        if view.now_s - self._started > self._options.max_seconds:
            return self._end(view, f"time is up after {self._options.max_seconds:.0f} s")
        if self._asked_s is not None:
            return self._wait(view)
        tick = view.tick
        if tick is None or sight is None or tick.epoch < self._epoch:
            return OperatorInput(silent=True)
        wrong_mode = self._mind_mode(view)
        if wrong_mode is not None:
            return wrong_mode
        if (tick.epoch, tick.step) == self._shown and self._held is not None:
            return self._held
        self._shown = (tick.epoch, tick.step)
        if self._ticks == 0:
            self._first_tick_s = view.now_s
        self._ticks += 1
        self._phase_ticks += 1
        if self._ticks > self._options.max_ticks:
            return self._end(view, f"{self._options.max_ticks} ticks are done")
        decided = self._steps[self._phase](view, tick, sight)
        # If shown again, the tick gets the same command, but no request or message is repeated.
        self._held = OperatorInput(
            action=decided.action, deadman=decided.deadman, silent=decided.silent
        )
        return decided

    # One function per phase, called once per tick.

    def _on_watch(self, view: OperatorView, tick: TickView, sight: Sight) -> OperatorInput:
        self._watch.see(tick, sight)
        if self._watch.succeeded:
            return self._reset(
                view, f"{tick.episode_id}: the policy reached the goal at step {tick.step}",
                OperatorEvent(
                    kind=EventKind.LABEL, branch_id=tick.branch_id, label=Label.SUCCESS,
                    note="goal reached by the policy",
                ),
            )
        reason = self._watch.wrong
        if not reason and self._failures == 0 and self._is_late(view, tick):
            reason = "no failure so far, correcting from the current state"
        if not reason:
            return OperatorInput()
        self._failures += 1
        self._branch = 0
        self._failure_node = ""
        self._failure_error = self._watch.error_m
        return self._ask(
            view, Phase.PAUSE, f"failing at step {tick.step}: {reason}",
            OperatorEvent(kind=EventKind.PAUSE, note=reason),
        )

    def _on_correct(self, view: OperatorView, tick: TickView, sight: Sight) -> OperatorInput:
        self._corrected += 1
        self._blind = 0 if sight.visible else self._blind + 1
        if self._blind > _BLIND_TICKS:
            return self._finish_branch(view, tick, Label.FAILURE, "the object is out of sight")
        if not sight.visible:
            return OperatorInput(deadman=True)  # no action = hold
        error = sight.error_m
        if self._phase_ticks == 1:
            self._failure_error = max(self._failure_error, error)
        if self._correction.done(sight):
            return self._finish_branch(
                view, tick, Label.SUCCESS, f"goal reached, progress {sight.progress:.2f}"
            )
        recovered = error < _RECOVERED_SHARE * self._failure_error
        last_of_several = self._last_branch() and self._branch > 1
        if last_of_several and recovered and sight.settled and self._phase_ticks > 5:
            return self._finish_branch(
                view, tick, Label.NONE, f"recovered: {error * 1e3:.0f} mm from the goal"
            )
        if self._phase_ticks > self._options.correction_ticks:
            good = sight.progress >= self._task.success_progress
            # A correction that leads nowhere teaches nothing.
            led = Label.NONE if recovered else Label.FAILURE
            return self._finish_branch(
                view, tick, Label.SUCCESS if good else led,
                f"{self._options.correction_ticks} ticks spent, {error * 1e3:.0f} mm from the "
                f"goal, progress {sight.progress:.2f}",
            )
        action = self._correction.targets(sight, tick.measured)
        return OperatorInput(action=action, deadman=True)

    def _on_follow(self, view: OperatorView, tick: TickView, sight: Sight) -> OperatorInput:
        self._watch.see(tick, sight)
        # From the tick, not from the mode, which arrives at another time than the tick.
        handed_back = (
            tick.applied_source is Source.POLICY or self._phase_ticks > _LONGEST_HANDBACK_TICKS
        )
        if self._watch.succeeded and handed_back and not self._at_goal:
            return self._after_failure(
                view, f"the policy reached the goal after the handback, at step {tick.step}",
                OperatorEvent(
                    kind=EventKind.LABEL, branch_id=tick.branch_id, label=Label.SUCCESS,
                    note="goal reached by the policy after a handback",
                ),
            )
        if self._phase_ticks > self._options.follow_ticks:
            return self._after_failure(view, "seen enough of the policy after the handback")
        return OperatorInput()

    def _is_late(self, view: OperatorView, tick: TickView) -> bool:
        """Return whether an operator that has seen no failure should correct anyway.

        Time counts from the first tick: a slow start of the graph is not part of the rollout.
        """
        whole = self._started + self._options.max_seconds - self._first_tick_s
        enough_seen = tick.step > self._options.rollback_steps
        return enough_seen and (
            view.now_s - self._first_tick_s > _LATEST_FIRST_CORRECTION * whole
        )

    # Transitions between phases.

    def _take(self, answer: Answer, view: OperatorView) -> OperatorInput | None:
        """Continue with the answer to the current phase's request."""
        asked = {
            Phase.PAUSE: EventKind.PAUSE, Phase.ROLLBACK: EventKind.ROLLBACK,
            Phase.FORK: EventKind.FORK, Phase.RESET: EventKind.RESET,
        }.get(self._phase)
        if answer.kind is not asked or self._asked_s is None:
            return None
        self._asked_s = None
        if answer.ok:
            self._epoch = max(self._epoch, answer.epoch)
        if self._phase is Phase.PAUSE:
            if self._options.rollback_steps == 0:
                return self._begin_branch("correcting from the current state")
            tick = view.tick
            steps = min(self._options.rollback_steps, tick.step if tick else 0)
            return self._ask(
                view, Phase.ROLLBACK, f"rolling back {steps} steps to the failure state",
                OperatorEvent(kind=EventKind.ROLLBACK, steps=max(1, steps)),
            )
        if self._phase is Phase.ROLLBACK:
            if answer.ok:
                self._failure_node = answer.node_id
                return self._begin_branch(f"back at {answer.node_id}")
            return self._begin_branch("no rollback here, correcting from the current state")
        if self._phase is Phase.FORK:
            if answer.ok:
                return self._begin_branch(f"forked {self._failure_node}")
            return self._after_failure(view, "no further continuation")
        if answer.ok:
            self._watch = RolloutWatch(self._task, self._options.watch)
            return self._enter(Phase.WATCH, OperatorInput(message="next episode", silent=True))
        return self._end(view, "no further episode")

    def _begin_branch(self, message: str) -> OperatorInput:
        self._branch += 1
        # The first continuation takes the best path; further ones are useful only if they differ.
        variety = min(1.0, 0.5 * (self._branch - 1))
        self._correction = self._make_correction(
            self._options.seed + self._corrections, variety
        )
        self._corrections += 1
        self._blind = 0
        of = f" of {self._continuations()}"
        return self._enter(
            Phase.CORRECT,
            OperatorInput(
                silent=True,
                message=f"{message}; taking over, continuation {self._branch}{of} of failure "
                f"{self._failures}",
            ),
        )

    def _finish_branch(
        self, view: OperatorView, tick: TickView, label: Label, note: str
    ) -> OperatorInput:
        mark = OperatorEvent(
            kind=EventKind.LABEL, branch_id=tick.branch_id, label=label, note=note
        )
        self._at_goal = label is Label.SUCCESS
        if label is not Label.FAILURE:
            self._kept += self._phase_ticks - 1
        report = f"continuation {self._branch} ended after {self._phase_ticks - 1} ticks: {note}"
        if self._last_branch():
            self._watch = RolloutWatch(self._task, self._options.watch)
            return self._enter(
                Phase.FOLLOW,
                OperatorInput(
                    deadman=False, events=(mark,), message=f"{report}; handing back to the policy"
                ),
            )
        return self._ask(
            view, Phase.FORK, report, mark,
            OperatorEvent(kind=EventKind.FORK, node_id=self._failure_node),
        )

    def _after_failure(
        self, view: OperatorView, message: str, *events: OperatorEvent
    ) -> OperatorInput:
        spent = self._kept >= self._options.operator_ticks
        if spent or self._failures >= self._options.failures:
            return self._end(
                view, f"{message}; {self._failures} failure states corrected in "
                f"{self._corrected} ticks, {self._kept} of them in corrections that did not fail",
                events,
            )
        return self._reset(view, message, *events)

    def _reset(self, view: OperatorView, message: str, *events: OperatorEvent) -> OperatorInput:
        return self._ask(
            view, Phase.RESET, message, *events, OperatorEvent(kind=EventKind.RESET)
        )

    def _end(
        self, view: OperatorView, message: str, events: tuple[OperatorEvent, ...] = ()
    ) -> OperatorInput:
        problem = self._problem()
        message += problem
        pause = OperatorEvent(kind=EventKind.PAUSE, note="the scripted operator is done")
        leave = OperatorEvent(kind=EventKind.QUIT, note=message, exit_code=1 if problem else 0)
        return self._ask(view, Phase.END, message, *events, pause, leave)

    def _problem(self) -> str:
        """Return why a session that ends now has failed; "" if it has not."""
        if not self._ticks:
            return ": no tick was received; check that the world and the arbiter run"
        target = self._options.operator_ticks
        done = self._kept >= target or self._failures >= self._options.failures
        if target == NO_TARGET or done:
            return ""
        return (
            f": only {self._kept} of {target} operator ticks are done; give max_seconds more, or "
            "operator_ticks less"
        )

    def _ask(
        self, view: OperatorView, phase: Phase, message: str, *events: OperatorEvent
    ) -> OperatorInput:
        self._asked_s = view.now_s
        return self._enter(phase, OperatorInput(silent=True, events=events, message=message))

    def _enter(self, phase: Phase, decided: OperatorInput) -> OperatorInput:
        self._phase = phase
        self._phase_ticks = 0
        self._off_mode_s = None
        self._shown = None
        return decided

    # While waiting.

    def _wait(self, view: OperatorView) -> OperatorInput:
        if view.now_s - (self._asked_s or 0.0) < _ANSWER_TIMEOUT_S:
            return OperatorInput(silent=True)
        return self._end(view, f"no answer in {_ANSWER_TIMEOUT_S:.0f} s while {self._phase.value}")

    def _mind_mode(self, view: OperatorView) -> OperatorInput | None:
        """Start a paused policy, and exit if the session was stopped."""
        if view.mode is Mode.STOPPED:
            return self._end(view, f"the session was stopped: {view.reason}")
        if self._phase is Phase.CORRECT:
            wanted = view.mode is Mode.HUMAN
        else:
            wanted = view.mode in (Mode.POLICY, Mode.HANDBACK)
        if wanted:
            self._off_mode_s = None
            return None
        if self._off_mode_s is None:
            self._off_mode_s = view.now_s
        off = view.now_s - self._off_mode_s
        if off > _MODE_GIVE_UP_S:
            return self._end(
                view, f"still {view.mode.name} after {off:.0f} s of {self._phase.value}: "
                f"{view.reason}",
            )
        unasked = self._start_s is None or view.now_s - self._start_s > _MODE_PATIENCE_S
        if self._phase is not Phase.CORRECT and view.mode is Mode.PAUSED and unasked:
            self._start_s = view.now_s
            start = OperatorEvent(kind=EventKind.START, note="scripted operator")
            # Silent: this tick has not been evaluated yet.
            return OperatorInput(
                silent=True, events=(start,), message=f"starting the policy: {view.reason}"
            )
        return None

    def _continuations(self) -> int:
        """Return the number of continuations of the current failure state in this world."""
        return self._options.branches if self._failure_node else 1

    def _last_branch(self) -> bool:
        return self._branch >= self._continuations()
