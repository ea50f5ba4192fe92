"""What the bridge sends, and what it must never send."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hiwm_core.embodiment import load_embodiment
from hiwm_robot.bridge_core import BridgeCore, Phase
from hiwm_robot.streams import Streams

EMBODIMENT = load_embodiment("planar_bimanual")
HOME = np.array(EMBODIMENT.home)
PERIOD_NS = 100_000_000
REACH_M = 0.012 + 1e-9
POLICY = 1


class Robot:
    """A core with streams, a clock and a robot that follows its commands."""

    def __init__(self, lockstep: bool = False) -> None:
        self.streams = Streams(EMBODIMENT)
        self.core = BridgeCore(
            embodiment=EMBODIMENT, streams=self.streams, lockstep=lockstep, stale_after_s=0.5,
        )
        self.now = 100.0
        self.stamp = 10 * PERIOD_NS
        self.position = HOME.copy()

    def observe(self, seconds: float = 0.1):
        """Advance the time, add a new image and joint state, and tick if one is due."""
        self.now += seconds
        self.stamp += round(seconds * 1e9)
        names = list(EMBODIMENT.joint_names)
        assert not self.streams.joint_state(names, list(self.position), self.stamp, self.now)
        self.streams.image("top", self.stamp, self.now)
        return self.core.tick(self.now) if self.core.due(self.now) else None

    def command(self, action, epoch=None, step=None, source=POLICY):
        state = self.core.state
        return self.core.command(
            epoch=state.epoch if epoch is None else epoch,
            step=state.step if step is None else step,
            action=action, source=source, device="test", now=self.now,
        )

    def started(self):
        self.core.start(self.now)
        plan = self.observe()
        assert plan is not None
        return self


def test_an_inactive_bridge_ticks_and_sends_nothing() -> None:
    robot = Robot()
    assert robot.observe() is None
    assert robot.command(HOME).send is None
    robot.now += 100
    assert robot.core.poll(robot.now).send is None
    assert robot.core.stop() is None


def test_an_episode_starts_with_step_0_and_no_action() -> None:
    robot = Robot()
    robot.core.start(robot.now)
    plan = robot.observe()
    assert (plan.epoch, plan.step, plan.applied, plan.hold) == (1, 0, None, None)


def test_a_command_is_limited_sent_and_reported() -> None:
    robot = Robot().started()
    answer = robot.command(HOME + 0.1)
    for arm in (slice(0, 2), slice(2, 4)):
        assert np.linalg.norm((answer.send - HOME)[arm]) == pytest.approx(0.012)
    plan = robot.observe()
    np.testing.assert_array_equal(plan.applied.action, answer.send)
    assert plan.applied.source == POLICY
    assert plan.applied.device == "test"
    assert plan.hold is None


def test_a_tick_takes_one_command() -> None:
    robot = Robot().started()
    assert robot.command(HOME).send is not None
    second = robot.command(HOME + 0.01)
    assert second.send is None
    assert "already has a command" in second.dropped


@pytest.mark.parametrize(("epoch", "step"), [(0, 0), (2, 0), (1, 1)])
def test_a_command_for_another_tick_is_dropped(epoch: int, step: int) -> None:
    robot = Robot().started()
    assert robot.command(HOME, epoch=epoch, step=step).send is None
    assert robot.core.state.counts["dropped"] == 1


@pytest.mark.parametrize(
    "action", [[np.nan, 0, 0, 0], [np.inf, 0, 0, 0], [0.0] * 3, [0.0] * 5, []]
)
def test_a_bad_action_holds_and_is_reported(action: list[float]) -> None:
    robot = Robot().started()
    answer = robot.command(action)
    np.testing.assert_array_equal(answer.send, HOME)
    assert answer.fault
    assert robot.core.state.counts["bad_actions"] == 1
    assert robot.observe().applied.source == 0


def test_an_explicit_hold_is_not_a_fault() -> None:
    robot = Robot().started()
    answer = robot.command([], source=0)
    np.testing.assert_array_equal(answer.send, HOME)
    assert not answer.fault


def test_a_missing_command_holds_where_the_arms_were_first_found() -> None:
    robot = Robot().started()
    robot.position = HOME + 0.005
    first = robot.observe()
    np.testing.assert_array_equal(first.hold, HOME + 0.005)
    assert first.applied.source == 0
    robot.position = HOME + 0.006  # sagging must not become the new target
    second = robot.observe()
    np.testing.assert_array_equal(second.hold, HOME + 0.005)
    np.testing.assert_array_equal(second.applied.action, HOME + 0.005)


def test_no_hold_is_left_over_after_a_command() -> None:
    robot = Robot().started()
    robot.observe()
    robot.command(HOME + 0.003)
    robot.position = HOME + 0.003
    assert robot.observe().hold is None
    np.testing.assert_array_equal(robot.observe().hold, HOME + 0.003)


def test_missing_the_command_of_a_tick_reports_the_target_still_in_force() -> None:
    robot = Robot().started()
    sent = robot.command(HOME + 0.003).send
    robot.observe()
    plan = robot.observe()
    np.testing.assert_array_equal(plan.applied.action, sent)
    assert plan.applied.source == 0


def test_silent_streams_hold_once_and_ticks_resume_in_the_same_epoch() -> None:
    robot = Robot().started()
    robot.command(HOME)
    robot.now += 0.6
    answer = robot.core.poll(robot.now)
    np.testing.assert_array_equal(answer.send, HOME)
    assert "camera top" in answer.fault
    assert "joint states" in answer.fault
    assert robot.core.poll(robot.now + 1).send is None
    assert robot.command(HOME).send is None
    plan = robot.observe(2.0)
    assert (plan.epoch, plan.step) == (1, 1)
    robot.core.poll(robot.now)
    assert not robot.core.state.stale
    assert robot.command(HOME).send is not None


def test_one_silent_stream_is_enough() -> None:
    robot = Robot().started()
    for _ in range(8):
        robot.now += 0.1
        robot.streams.image("top", robot.stamp + round(robot.now * 1e9), robot.now)
    assert "joint states" in robot.core.poll(robot.now).fault


def test_lockstep_waits_for_its_command_however_long_it_takes() -> None:
    robot = Robot(lockstep=True).started()
    assert robot.core.waits_for_command
    robot.now += 1000.0  # far beyond stale_after_s: no data is due
    answer = robot.core.poll(robot.now)
    assert answer.send is None
    assert not answer.fault
    assert robot.observe() is None  # an image that no command asked for makes no tick
    assert robot.core.waits_for_command
    assert robot.command(HOME).send is not None
    assert not robot.core.waits_for_command
    assert robot.observe().applied.source == 1


@pytest.mark.parametrize("lockstep", [True, False])
def test_the_first_tick_after_a_silence_can_be_answered_at_once(lockstep: bool) -> None:
    robot = Robot(lockstep=lockstep).started()
    robot.command(HOME)
    robot.now += 1.0
    assert robot.core.poll(robot.now).fault
    assert robot.observe() is not None
    assert not robot.command(HOME).dropped


def test_lockstep_silence_after_the_command_is_stale() -> None:
    robot = Robot(lockstep=True).started()
    robot.now += 0.9
    robot.command(HOME)
    assert not robot.core.poll(robot.now + 0.4).fault
    assert robot.core.poll(robot.now + 0.6).fault


def test_reset_raises_the_epoch_and_uses_only_later_observations() -> None:
    robot = Robot().started()
    assert robot.core.begin_reset() == ""
    assert "a reset is running" in robot.core.begin_reset()
    assert robot.observe() is None
    assert robot.command(HOME).send is None
    robot.core.start(robot.now, robot.stamp + 2 * PERIOD_NS)
    assert robot.observe() is None  # an image from before the scene was placed
    plan = robot.observe()
    assert (plan.epoch, plan.step, plan.episode) == (2, 0, 2)


def test_after_a_failed_reset_the_episode_continues() -> None:
    robot = Robot().started()
    robot.core.begin_reset()
    robot.core.abandon_reset(robot.now)
    assert robot.observe().step == 1
    assert robot.core.state.epoch == 1


def test_reset_of_an_inactive_bridge_is_refused() -> None:
    assert "activate" in Robot().core.begin_reset()


def test_deactivating_holds_and_activating_starts_an_episode() -> None:
    robot = Robot().started()
    np.testing.assert_array_equal(robot.core.stop(), HOME)
    assert robot.observe() is None
    robot.core.start(robot.now)
    plan = robot.observe()
    assert (plan.epoch, plan.step) == (2, 0)


def test_a_restarted_driver_does_not_set_stamps_back() -> None:
    robot = Robot().started()
    before = robot.observe().stamp_ns
    robot.stamp = 0
    plan = robot.observe()
    assert plan.shifted
    assert plan.stamp_ns == before + PERIOD_NS
    following = robot.observe()
    assert not following.shifted
    assert following.stamp_ns == before + 2 * PERIOD_NS


def test_a_faster_camera_gives_ticks_at_the_embodiments_rate() -> None:
    robot = Robot().started()
    ticks = [robot.observe(1 / 30) is not None for _ in range(30)]
    assert sum(ticks) == 10


def test_a_camera_at_the_rate_loses_no_tick_to_jitter() -> None:
    robot = Robot().started()
    for late in (0.0, 0.04, -0.04, 0.02, -0.02, 0.0):
        assert robot.observe(0.1 + late) is not None


def test_a_lower_rate_uses_fewer_images() -> None:
    robot = Robot().started()
    robot.core.rate = 5.0
    robot.observe()
    ticks = [robot.observe() is not None for _ in range(20)]
    assert sum(ticks) == 10


class AnyOrder(RuleBasedStateMachine):
    """In any order of events, sent targets are limited, finite and on time."""

    def __init__(self) -> None:
        super().__init__()
        self.robot = Robot()
        self.last_stamp = 0
        self.ticks: list[tuple[int, int]] = []

    def sent(self, action) -> None:
        if action is None:
            return
        assert np.isfinite(action).all()
        assert self.robot.core.state.phase is Phase.RUNNING
        for arm in (slice(0, 2), slice(2, 4)):
            reach = np.linalg.norm((action - self.robot.core.state.measured)[arm])
            assert reach <= REACH_M + self.drift
        self.robot.position = action.copy()

    @property
    def drift(self) -> float:
        # A hold keeps its first position, while something may push the arms.
        return 0.02 if self.robot.core.state.holding is not None else 0.0

    @rule(seconds=st.floats(0.05, 0.3), push=st.floats(-0.002, 0.002))
    def observe(self, seconds: float, push: float) -> None:
        self.robot.position = np.clip(self.robot.position + push, -0.18, 0.18)
        before = self.robot.core.state.holding
        plan = self.robot.observe(seconds)
        if plan is None:
            return
        assert plan.stamp_ns > self.last_stamp
        self.last_stamp = plan.stamp_ns
        assert (plan.epoch, plan.step) not in self.ticks
        self.ticks.append((plan.epoch, plan.step))
        if plan.hold is not None:
            assert before is None or (plan.hold == before).all()
            self.robot.position = plan.hold.copy()

    @rule(
        action=st.lists(st.floats(-1, 1) | st.just(float("nan")), min_size=3, max_size=5),
        wrong=st.sampled_from([0, 0, 0, 1]),
    )
    def command(self, action: list[float], wrong: int) -> None:
        waiting = self.robot.core.state.waiting
        answer = self.robot.command(action, step=self.robot.core.state.step + wrong)
        assert answer.send is None or (waiting and not wrong)
        self.sent(answer.send)

    @rule(seconds=st.floats(0, 1))
    def wait(self, seconds: float) -> None:
        self.robot.now += seconds
        self.robot.stamp += round(seconds * 1e9)
        answer = self.robot.core.poll(self.robot.now)
        assert answer.send is None or np.isfinite(answer.send).all()

    @precondition(lambda self: self.robot.core.state.phase is Phase.INACTIVE)
    @rule()
    def activate(self) -> None:
        self.robot.core.start(self.robot.now)

    @rule()
    def deactivate(self) -> None:
        self.robot.core.stop()

    @rule(good=st.booleans())
    def reset(self, good: bool) -> None:
        if self.robot.core.begin_reset() == "":
            if good:
                self.robot.core.start(self.robot.now, self.robot.stamp)
            else:
                self.robot.core.abandon_reset(self.robot.now)

    @invariant()
    def inactive_waits_for_nothing(self) -> None:
        state = self.robot.core.state
        assert not (state.phase is Phase.INACTIVE and state.waiting)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
