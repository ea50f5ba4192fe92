"""The scripted operator goes through its whole routine against played worlds."""

from dataclasses import replace

import numpy as np
import pytest

from hiwm_core.branch_records import Label
from hiwm_core.control import Mode, Source
from hiwm_core.embodiment import load_embodiment
from hiwm_core.task_plugin import Sight
from hiwm_core.tasks import parse_task
from hiwm_teleop.devices.base import (
    Answer,
    EventKind,
    OperatorView,
    TickView,
    WorldView,
)
from hiwm_teleop.operator_script import OperatorScript, Phase
from hiwm_teleop.rollout_watch import WatchOptions
from hiwm_teleop.script_options import ScriptOptions

TASK = parse_task(
    "{name: toy_task, instruction: go home, embodiment: planar_bimanual, horizon_steps: 300,"
    " success_progress: 0.85}", "toy_task.yaml",
)
EMBODIMENT = load_embodiment("planar_bimanual")
START = np.array([0.06, 0.05, 0.8])


class StraightCorrection:
    """Stands for a task's control; its action is the pose it saw."""

    def targets(self, sight, measured):
        return np.array([*sight.found, measured[0]])

    def done(self, sight):
        return bool(np.abs(sight.found).max() < 0.005)


class PlayedWorld:
    """A lock-step world, its arbiter and branch manager in a few lines.

    The policy moves nothing, so it always stalls; a person's command moves the object home.
    """

    def __init__(self, can_restore=True, auto_reset=True, policy_step=0.0):
        self.can_restore, self.auto_reset = can_restore, auto_reset
        self.policy_step = policy_step
        self.pose, self.history = START.copy(), [START.copy()]
        self.epoch, self.step, self.branch, self.episode = 1, 0, 0, 1
        self.mode, self.now, self.source = Mode.PAUSED, 0.0, Source.POLICY
        self.answers, self.asked, self.labels, self.takeovers = [], [], [], []

    def view(self):
        answers, self.answers = tuple(self.answers), []
        return OperatorView(
            now_s=self.now,
            world=WorldView(
                kind="imagination" if self.can_restore else "hardware", robot="",
                can_restore=self.can_restore, can_fork=self.can_restore,
                auto_reset=self.auto_reset, embodiment=EMBODIMENT, task=TASK,
            ),
            tick=TickView(
                stamp_ns=0, epoch=self.epoch, step=self.step, episode_id=f"ep_{self.episode:04d}",
                branch_id=f"ep_{self.episode:04d}-b{self.branch:03d}",
                applied_source=self.source, trust=1.0,
                progress=float("nan"), success=float("nan"), images={}, measured=np.zeros(4),
            ),
            mode=self.mode, answers=answers,
        )

    def sight(self):
        x, y, yaw = self.pose
        error = float(np.hypot(x, y)) + 0.05 * abs(yaw)
        return Sight(
            error_m=error, progress=max(0.0, 1 - error / 0.05), clarity=0.97,
            found=self.pose.copy(),
        )

    def take(self, done):
        """Play arbiter, branch manager and world for one input; return whether it quits."""
        self.now += 0.05
        for event in done.events:
            self.asked.append(event)
            if event.kind is EventKind.QUIT:
                return True
            self.answer(event)
        if done.silent:
            return False
        if done.deadman and self.mode is not Mode.HUMAN:
            self.mode = Mode.HUMAN
            self.takeovers.append((self.epoch, self.step))
        elif not done.deadman and self.mode is Mode.HUMAN:
            self.mode = Mode.POLICY
        if self.mode is Mode.HUMAN and done.action is not None:
            self.pose = self.pose * 0.93
        elif self.mode is Mode.POLICY:
            self.pose = self.pose * (1 - self.policy_step)
        elif self.mode is not Mode.HUMAN:
            return False
        self.step += 1
        self.history = [*self.history[: self.step], self.pose.copy()]
        return False

    def answer(self, event):
        ok, message, node = True, "", ""
        if event.kind is EventKind.PAUSE:
            self.mode = Mode.PAUSED
        elif event.kind is EventKind.START:
            self.mode = Mode.POLICY
        elif event.kind is EventKind.LABEL:
            self.labels.append((event.branch_id, event.label))
        elif event.kind in (EventKind.ROLLBACK, EventKind.FORK):
            if not self.can_restore:
                ok, message = False, "hardware cannot go back: reset the scene by hand"
            else:
                node = event.node_id or f"x:{self.step - event.steps}"
                self.step = int(node.split(":")[1])
                self.pose = self.history[self.step].copy()
                self.branch += 1
                self.epoch += 1
        elif event.kind is EventKind.RESET:
            ok, message = self.auto_reset, "" if self.auto_reset else "a person must reset"
            if ok:
                self.pose, self.history = START.copy(), [START.copy()]
                self.step, self.branch = 0, 0
                self.episode += 1
                self.epoch += 1
        self.answers.append(
            Answer(kind=event.kind, ok=ok, message=message, node_id=node,
                   epoch=self.epoch if ok else -1)
        )


def play(world, make_correction=lambda seed, variety: StraightCorrection(), limit=6000, **options):
    script = OperatorScript(
        TASK,
        ScriptOptions(**{
            "failures": 2, "branches": 3, "correction_ticks": 60, "follow_ticks": 10,
            "watch": WatchOptions(window_ticks=20, episode_ticks=200), **options,
        }),
        make_correction, started_s=0.0,
    )
    said = []
    for _ in range(limit):
        done = script.decide(world.view(), world.sight())
        if done.message:
            said.append(done.message)
        if world.take(done):
            return script, said
    raise AssertionError(f"never left, {script.phase}: {said[-5:]}")


def kinds(world):
    return [event.kind for event in world.asked]


def test_each_failure_is_rolled_back_once_and_continued_three_times():
    world = PlayedWorld()
    script, said = play(world)
    assert script.failures == 2
    assert script.phase is Phase.END
    assert kinds(world).count(EventKind.ROLLBACK) == 2
    assert kinds(world).count(EventKind.FORK) == 4
    assert kinds(world).count(EventKind.RESET) == 1
    assert world.asked[-1].kind is EventKind.QUIT
    assert world.asked[-1].exit_code == 0
    assert any("failing at" in line and "no progress" in line for line in said)


def test_continuations_start_at_the_state_rolled_back_to():
    world = PlayedWorld()
    play(world, failures=1, rollback_steps=7)
    rollback = next(event for event in world.asked if event.kind is EventKind.ROLLBACK)
    assert rollback.steps == 7
    nodes = {event.node_id for event in world.asked if event.kind is EventKind.FORK}
    began = {step for _, step in world.takeovers}
    assert len(nodes) == 1
    assert nodes == {f"x:{step}" for step in began}


def test_corrections_that_reach_the_goal_are_labelled_success_and_the_last_handed_back():
    world = PlayedWorld()
    play(world, failures=1)
    assert [label for _, label in world.labels] == [
        Label.SUCCESS, Label.SUCCESS, Label.NONE,
    ]
    assert len({branch for branch, _ in world.labels}) == 3
    assert world.mode is Mode.PAUSED  # the last thing asked for before leaving


def test_continuations_of_a_failure_differ_in_seed_and_variety():
    made = []
    world = PlayedWorld()

    def make(seed, variety):
        made.append((seed, variety))
        return StraightCorrection()

    play(world, make, failures=1, branches=4, seed=7)
    assert [variety for _, variety in made[1:]] == [0.0, 0.5, 1.0, 1.0]
    assert len({seed for seed, _ in made[1:]}) == 4


def test_no_failure_is_begun_once_the_operators_ticks_are_spent():
    """A failure state that was begun gets all its continuations."""
    world = PlayedWorld()
    script, said = play(world, failures=50, operator_ticks=1)
    assert script.failures == 1
    assert kinds(world).count(EventKind.FORK) == 2
    assert "1 failure states corrected in" in said[-1]


@pytest.mark.parametrize(("ticks", "label"), [(4, Label.FAILURE), (15, Label.NONE)])
def test_a_correction_too_long_is_cut_and_has_failed_unless_half_the_error_is_gone(ticks, label):
    world = PlayedWorld()
    play(world, failures=1, branches=2, correction_ticks=ticks)
    assert [label for _, label in world.labels] == [label] * 2


def test_failed_corrections_do_not_count_towards_the_operators_ticks():
    world = PlayedWorld()
    script, said = play(world, failures=4, correction_ticks=4, operator_ticks=1)
    assert script.failures == 4
    assert "0 of them in corrections that did not fail" in said[-1]


def test_nothing_is_handed_back_in_the_air():
    world = PlayedWorld()
    on_table = world.sight
    world.sight = lambda: replace(on_table(), settled=False)
    play(world, failures=1)
    assert [label for _, label in world.labels] == [Label.SUCCESS] * 3


@pytest.mark.parametrize(("ticks", "fails"), [(2, False), (3, True)])
def test_moving_away_from_the_goal_must_last(ticks, fails):
    world = PlayedWorld(policy_step=0.02)
    world.mode = Mode.POLICY
    script = OperatorScript(
        TASK, ScriptOptions(), lambda seed, variety: StraightCorrection(), started_s=0.0
    )
    for tick in range(12):
        sight = world.sight()
        if 5 <= tick < 5 + ticks:
            sight = replace(sight, error_m=sight.error_m + 0.06)
        done = script.decide(world.view(), sight)
        world.take(done)
        if script.phase is Phase.PAUSE:
            break
    assert (script.phase is Phase.PAUSE) == fails
    assert not fails or "moving away" in done.message


def test_without_rollback_it_corrects_from_where_things_are_in_every_episode():
    world = PlayedWorld(can_restore=False)
    script, said = play(world, failures=3)
    assert script.failures == 3
    assert len(world.takeovers) == 3
    assert kinds(world).count(EventKind.FORK) == 0
    assert kinds(world).count(EventKind.RESET) == 2
    assert sum("no rollback here" in line for line in said) == 3
    assert [label for _, label in world.labels] == [Label.SUCCESS] * 3


def test_with_no_rollback_steps_it_corrects_once_in_place_although_the_world_could_go_back():
    world = PlayedWorld()
    script, said = play(world, rollback_steps=0)
    assert script.failures == 2 and world.asked[-1].exit_code == 0
    assert not {EventKind.ROLLBACK, EventKind.FORK} & set(kinds(world))
    assert len(world.takeovers) == 2
    assert sum("correcting from the current state" in line for line in said) == 2


def test_a_refused_reset_ends_the_session_in_good_order():
    world = PlayedWorld(auto_reset=False)
    _, said = play(world, failures=5)
    assert "no further episode" in said[-1]
    assert world.asked[-1].exit_code == 0


def test_a_policy_that_succeeds_is_left_alone():
    world = PlayedWorld(policy_step=0.05)
    play(world, max_ticks=300, max_seconds=1e6)
    assert not world.takeovers
    assert world.labels
    assert {label for _, label in world.labels} == {Label.SUCCESS}


def test_time_half_gone_without_a_failure_brings_a_correction():
    world = PlayedWorld(policy_step=0.008)
    _, said = play(world, failures=1, max_seconds=4.0)
    assert world.takeovers
    assert any("no failure so far" in line for line in said)


def test_a_slow_start_of_the_graph_is_not_held_against_the_policy():
    world = PlayedWorld()
    world.now = 90.0
    world.mode = Mode.POLICY
    _, said = play(world, failures=1, max_seconds=100.0)
    assert any("no progress" in line for line in said)
    assert EventKind.ROLLBACK in kinds(world)


def test_a_world_that_holds_because_the_policy_still_loads_is_no_failure():
    world = PlayedWorld()
    world.mode, world.source = Mode.POLICY, Source.NONE
    _, said = play(world, max_ticks=200, max_seconds=1e6)
    assert "200 ticks are done" in said[-1]
    assert EventKind.ROLLBACK not in kinds(world)


def test_time_runs_out_in_good_order():
    world = PlayedWorld()
    _, said = play(world, failures=1000, max_seconds=20.0)
    assert world.asked[-1].exit_code == 0
    assert "time is up" in said[-1]


@pytest.mark.parametrize(
    ("ended", "reason"), [({"max_seconds": 20.0}, "time is up"), ({"max_ticks": 30}, "30 ticks")]
)
def test_a_session_that_ends_short_of_its_operators_ticks_has_failed(ended, reason):
    world = PlayedWorld()
    _, said = play(world, failures=1000, operator_ticks=5000, **ended)
    assert world.asked[-1].exit_code == 1
    assert reason in said[-1] and "of 5000 operator ticks are done" in said[-1]


def test_a_session_that_spent_its_operators_ticks_has_not_failed():
    world = PlayedWorld()
    play(world, failures=50, operator_ticks=1)
    assert world.asked[-1].exit_code == 0


def test_no_tick_at_all_is_a_failure():
    world = PlayedWorld()
    script = OperatorScript(
        TASK, ScriptOptions(max_seconds=5.0), lambda seed, variety: StraightCorrection(),
        started_s=0.0,
    )
    blind = replace(world.view(), tick=None)
    assert script.decide(blind, None).silent
    done = script.decide(replace(blind, now_s=6.0), None)
    assert done.events[-1].kind is EventKind.QUIT
    assert done.events[-1].exit_code == 1


def test_the_same_tick_seen_twice_gets_the_same_command_and_asks_nothing_twice():
    world = PlayedWorld()
    script = OperatorScript(
        TASK, ScriptOptions(watch=WatchOptions(window_ticks=5)),
        lambda seed, variety: StraightCorrection(), started_s=0.0,
    )
    world.mode = Mode.POLICY
    asked = 0
    for _ in range(60):
        view, sight = world.view(), world.sight()
        done = script.decide(view, sight)
        again = script.decide(replace(view, answers=()), sight)
        assert not again.events
        if not done.silent and not again.silent:
            assert again.deadman == done.deadman
            np.testing.assert_array_equal(again.action, done.action)
        asked += len(done.events)
        world.take(done)
    assert asked >= 2


def test_a_lost_answer_does_not_hang_the_session():
    world = PlayedWorld()
    world.answer = lambda event: None
    world.mode = Mode.POLICY
    _, said = play(world, max_seconds=1e6)
    assert "no answer" in said[-1]


def test_a_stopped_session_is_left():
    world = PlayedWorld()
    world.mode = Mode.STOPPED
    _, said = play(world)
    assert "stopped" in said[-1]


@pytest.mark.parametrize(("trust", "clarity"), [(0.05, 0.97), (1.0, 0.2)])
def test_a_doubtful_picture_counts_as_going_wrong(trust, clarity):
    world = PlayedWorld(policy_step=0.05)
    world.mode = Mode.POLICY
    script = OperatorScript(
        TASK, ScriptOptions(), lambda seed, variety: StraightCorrection(), started_s=0.0
    )
    for _ in range(3):
        view = world.view()
        view = replace(view, tick=replace(view.tick, trust=trust))
        done = script.decide(view, replace(world.sight(), clarity=clarity))
        world.take(done)
    assert script.phase is Phase.PAUSE
    assert "doubtful" in done.message
