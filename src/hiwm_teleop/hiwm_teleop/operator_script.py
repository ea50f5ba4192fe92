"""The scripted operator's mind: when a rollout goes wrong, and what is done about it.

A state machine over what is seen. It watches the policy; when the rollout goes wrong it pauses,
rolls back to the failure state, takes over and corrects; it labels the branch, forks the same
failure state for further continuations, and hands the last one back to the policy. Where the world
cannot go back it corrects from where things are, and begins a new episode. What a service answers,
refusals above all, the teleop node shows; the script says what it makes of it.

Pure: no ROS, no clock of its own, no image; test_operator_script.py plays worlds to it.
"""

import enum
from collections.abc import Callable

import numpy as np

from hiwm_core.branch_records import Label
from hiwm_core.control import Mode, Source
from hiwm_core.table_vision import TableSight
from hiwm_core.task import Task
from hiwm_teleop.devices.base import (
    Answer,
    EventKind,
    OperatorEvent,
    OperatorInput,
    OperatorView,
    TickView,
)
from hiwm_teleop.rollout_watch import RolloutWatch
from hiwm_teleop.script_options import Planner, ScriptOptions

# A service that has not answered by then never will: the slowest one loads a state in 0.2 s.
_ANSWER_TIMEOUT_S = 15.0
# How long a mode other than the one asked for is borne before it is asked for again, or given up.
_MODE_PATIENCE_S = 2.0
_MODE_GIVE_UP_S = 20.0
# Share of the time, from the first tick on, after which an operator who has seen no failure
# corrects all the same.
_LATEST_FIRST_CORRECTION = 0.45
# A handback takes about five ticks; a goal reached earlier is not yet the policy's.
_LONGEST_HANDBACK_TICKS = 20
# Ticks without a T in sight before a correction is given up.
_BLIND_TICKS = 10
# The last of several continuations is handed back once the error is below this share of the
# failure's: the policy is to finish a state it can manage.
_RECOVERED_SHARE = 0.5


class Phase(enum.Enum):
    """What the operator is doing."""

    WATCH = "watching the policy"
    PAUSE = "pausing"
    ROLLBACK = "rolling back"
    CORRECT = "correcting"
    FORK = "forking"
    FOLLOW = "following the policy after the handback"
    RESET = "beginning the next episode"
    END = "ending"


class OperatorScript:
    """Decides, for each look, what the operator does.

    Args:
        task: goal and success.
        options: see `ScriptOptions`.
        make_planner: returns a planner for a seed and a variety: 0 takes the best way, 1 a rather
            different one.
        started_s: steady clock when the session began.
    """

    def __init__(
        self, task: Task, options: ScriptOptions, make_planner: Callable[[int, float], Planner],
        started_s: float,
    ) -> None:
        self._task = task
        self._options = options
        self._make_planner = make_planner
        self._started = started_s
        self._watch = RolloutWatch(task, options.watch)
        self._planner = make_planner(options.seed, 0.0)
        self._phase = Phase.WATCH
        self._asked_s: float | None = None  # when the present request was sent; None = none is
        self._shown: tuple[int, int] | None = None  # (epoch, step) last acted on
        self._held: OperatorInput | None = None  # what was decided for that tick
        self._ticks = 0
        self._first_tick_s = started_s
        self._epoch = -1  # lowest epoch acted on: after a rollback the old tick is dead
        self._failures = 0
        self._branch = 0  # continuation of the present failure state, from 1
        self._failure_node = ""  # empty where the world could not go back
        self._failure_error = 0.0
        self._corrected = 0  # ticks of all corrections
        self._at_goal = False  # the present continuation reached the goal by correction alone
        self._phase_ticks = 0
        self._blind = 0
        self._planners = 0
        self._off_mode_s: float | None = None  # since when the mode is not the phase's
        self._start_s: float | None = None  # when START was last asked for
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
        """Failure states met so far."""
        return self._failures

    def decide(self, view: OperatorView, sight: TableSight | None) -> OperatorInput:
        """Return what to do now.

        Args:
            view: what is seen; the same tick may be shown again.
            sight: what `TableVision` found in its image; None without a tick.
        """
        for answer in view.answers:
            after = self._take(answer, view)
            if after is not None:
                return after
        if self._phase is Phase.END:
            return OperatorInput(silent=True)
        if view.now_s - self._started > self._options.max_seconds:
            return self._end(
                view, f"time is up after {self._options.max_seconds:.0f} s",
                code=0 if self._ticks else 1,
            )
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
        # Shown again, the tick gets the same command, but nothing is asked for or said twice.
        self._held = OperatorInput(
            action=decided.action, deadman=decided.deadman, silent=decided.silent
        )
        return decided

    # What is done in each phase, once a tick.

    def _on_watch(self, view: OperatorView, tick: TickView, sight: TableSight) -> OperatorInput:
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
            reason = "no failure so far, correcting from here"
        if not reason:
            return OperatorInput()
        self._failures += 1
        self._branch = 0
        self._failure_node = ""
        self._failure_error = self._watch.error_m
        return self._ask(
            view, Phase.PAUSE, f"goes wrong at step {tick.step}: {reason}",
            OperatorEvent(kind=EventKind.PAUSE, note=reason),
        )

    def _on_correct(self, view: OperatorView, tick: TickView, sight: TableSight) -> OperatorInput:
        self._corrected += 1
        pose = sight.object_pose
        self._blind = self._blind + 1 if pose is None else 0
        if self._blind > _BLIND_TICKS:
            return self._finish_branch(view, tick, Label.FAILURE, "the T is out of sight")
        if pose is None:
            return OperatorInput(deadman=True)  # no action = hold
        error = self._watch.error_of(pose)
        if self._phase_ticks == 1:
            self._failure_error = max(self._failure_error, error)
        covered = self._watch.coverage_of(pose)
        if self._planner.done(pose):
            return self._finish_branch(
                view, tick, Label.SUCCESS, f"goal covered to {covered:.2f}"
            )
        recovered = error < _RECOVERED_SHARE * self._failure_error
        last_of_several = self._last_branch() and self._branch > 1
        if last_of_several and recovered and self._phase_ticks > 5:
            return self._finish_branch(
                view, tick, Label.NONE, f"recovered: {error * 1e3:.0f} mm from the goal"
            )
        if self._phase_ticks > self._options.correction_ticks:
            good = covered >= self._task.success_coverage
            return self._finish_branch(
                view, tick, Label.SUCCESS if good else Label.NONE,
                f"{self._options.correction_ticks} ticks spent, {error * 1e3:.0f} mm from the "
                f"goal, covered to {covered:.2f}",
            )
        pushers = np.where(np.isnan(sight.pushers), tick.proprio[:4], sight.pushers)
        return OperatorInput(action=self._planner.targets(pose, pushers), deadman=True)

    def _on_follow(self, view: OperatorView, tick: TickView, sight: TableSight) -> OperatorInput:
        self._watch.see(tick, sight)
        # By the tick, not by the mode: that is heard at another time than the tick.
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
        """Whether an operator who has seen no failure should correct all the same.

        Counted from the first tick, since a slow start of the graph is nobody's rollout.
        """
        whole = self._started + self._options.max_seconds - self._first_tick_s
        enough_seen = tick.step > self._options.rollback_steps
        return enough_seen and (
            view.now_s - self._first_tick_s > _LATEST_FIRST_CORRECTION * whole
        )

    # From phase to phase.

    def _take(self, answer: Answer, view: OperatorView) -> OperatorInput | None:
        """Go on with the answer to the request of the present phase."""
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
            tick = view.tick
            steps = min(self._options.rollback_steps, tick.step if tick else 0)
            return self._ask(
                view, Phase.ROLLBACK, f"rolling back {steps} steps to the failure state",
                OperatorEvent(kind=EventKind.ROLLBACK, steps=max(1, steps)),
            )
        if self._phase is Phase.ROLLBACK:
            if answer.ok:
                self._failure_node = answer.node_id
                return self._begin_branch(f"at {answer.node_id} again")
            return self._begin_branch("no rollback here, correcting from where things are")
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
        # The first continuation goes the best way; the others are worth having where they differ.
        variety = min(1.0, 0.5 * (self._branch - 1))
        self._planner = self._make_planner(self._options.seed + self._planners, variety)
        self._planners += 1
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
        said = f"continuation {self._branch} ended after {self._phase_ticks - 1} ticks: {note}"
        if self._last_branch():
            self._watch = RolloutWatch(self._task, self._options.watch)
            return self._enter(
                Phase.FOLLOW,
                OperatorInput(
                    deadman=False, events=(mark,), message=f"{said}; handing back to the policy"
                ),
            )
        return self._ask(
            view, Phase.FORK, said, mark,
            OperatorEvent(kind=EventKind.FORK, node_id=self._failure_node),
        )

    def _after_failure(
        self, view: OperatorView, message: str, *events: OperatorEvent
    ) -> OperatorInput:
        spent = self._corrected >= self._options.operator_ticks
        if spent or self._failures >= self._options.failures:
            return self._end(
                view, f"{message}; {self._failures} failure states corrected in "
                f"{self._corrected} ticks", events,
            )
        return self._reset(view, message, *events)

    def _reset(self, view: OperatorView, message: str, *events: OperatorEvent) -> OperatorInput:
        return self._ask(
            view, Phase.RESET, message, *events, OperatorEvent(kind=EventKind.RESET)
        )

    def _end(
        self, view: OperatorView, message: str, events: tuple[OperatorEvent, ...] = (),
        code: int = 0,
    ) -> OperatorInput:
        if code:
            message += ": no tick ever came; see whether the world and the arbiter run"
        pause = OperatorEvent(kind=EventKind.PAUSE, note="the scripted operator is done")
        leave = OperatorEvent(kind=EventKind.QUIT, note=message, exit_code=code)
        return self._ask(view, Phase.END, message, *events, pause, leave)

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

    # While something is awaited.

    def _wait(self, view: OperatorView) -> OperatorInput:
        if view.now_s - (self._asked_s or 0.0) < _ANSWER_TIMEOUT_S:
            return OperatorInput(silent=True)
        return self._end(view, f"no answer in {_ANSWER_TIMEOUT_S:.0f} s while {self._phase.value}")

    def _mind_mode(self, view: OperatorView) -> OperatorInput | None:
        """Start a policy that stands paused, and leave where somebody stopped the session."""
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
            # Silent: nothing is said of this tick before it has been looked at.
            return OperatorInput(
                silent=True, events=(start,), message=f"starting the policy: {view.reason}"
            )
        return None

    def _continuations(self) -> int:
        """How many continuations the present failure state gets in this world."""
        return self._options.branches if self._failure_node else 1

    def _last_branch(self) -> bool:
        return self._branch >= self._continuations()
