"""What the bridge sends, and what it must never send."""

import sys
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.robots.safety import Activation, Jump
from hiwm_robot.bridge_state import Phase
from hiwm_robot.streams import PAIR_WAIT_S

sys.path.insert(0, str(Path(__file__).parent))
from bridge_robot import EMBODIMENT, HOME, PERIOD_NS, POLICY, Robot  # noqa: E402


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
    assert plan.period_s == 0.0
    assert robot.observe(0.12).period_s == pytest.approx(0.12)


def test_an_image_without_its_joint_states_is_expected_but_not_due() -> None:
    robot = Robot().started()
    names = list(EMBODIMENT.joint_names)
    robot.now += 0.1
    robot.stamp += PERIOD_NS
    robot.streams.joint_state(
        "arms", names, list(HOME), robot.stamp - PERIOD_NS // 10, robot.now - 0.09
    )
    robot.streams.image("top", robot.stamp, robot.now)
    assert robot.core.expected(robot.now) and not robot.core.due(robot.now)
    robot.streams.joint_state("arms", names, list(HOME), robot.stamp, robot.now)
    assert robot.core.due(robot.now)
    robot.core.tick(robot.now)
    assert not robot.core.expected(robot.now)


def test_a_command_is_limited_sent_and_reported() -> None:
    robot = Robot().started()
    answer = robot.command(HOME + 0.1)
    for arm in (slice(0, 2), slice(2, 4)):
        assert np.linalg.norm((answer.send - HOME)[arm]) == pytest.approx(0.012)
    plan = robot.observe()
    np.testing.assert_array_equal(plan.applied.action, answer.send)
    assert plan.applied.source == POLICY
    assert plan.applied.note.startswith("limited by velocity")
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


def test_lockstep_starts_on_an_observation_of_any_age() -> None:
    # The driver waits for the first command, so that its only observation does not get newer.
    robot = Robot(lockstep=True)
    robot.observe()
    robot.core.start(robot.now)
    robot.now += 1000.0
    assert not robot.core.poll(robot.now).fault
    robot.stamp -= round(0.1e9)
    assert robot.observe() is not None  # the same observation again


@pytest.mark.parametrize("lost", ["joint state", "image"])
def test_lockstep_takes_a_restarted_drivers_observation_however_slowly_it_comes(lost: str) -> None:
    """Discovery loses one message of the first try, and a busy driver repeats after a while."""
    robot = Robot(lockstep=True).started()
    names = list(EMBODIMENT.joint_names)
    robot.command(HOME)
    robot.now += 2.0
    assert robot.core.poll(robot.now).fault
    robot.stamp += PERIOD_NS
    for attempt in range(3):
        robot.now += 0.7  # a stream is stale after 0.5 s
        if attempt or lost != "joint state":
            robot.streams.joint_state("arms", names, list(HOME), robot.stamp, robot.now)
        if attempt or lost != "image":
            robot.streams.image("top", robot.stamp, robot.now)
        # Joint states are read before the image, which says that an observation waits.
        assert robot.core.due(robot.now) == (attempt >= (2 if lost == "image" else 1))
    assert robot.core.tick(robot.now).step == 1
    # Its command is lost too: the hold of the next silence lets the driver go on.
    robot.command(HOME)
    for _ in range(2):
        robot.now += 0.4
        robot.streams.image("top", robot.stamp, robot.now)
        answer = robot.core.poll(robot.now)
    assert answer.holds


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


def test_a_late_first_tick_costs_no_later_one() -> None:
    """A busy machine delivers the first image late; the camera itself is regular."""
    robot = Robot()
    robot.core.start(robot.now)
    names, arrived = list(EMBODIMENT.joint_names), robot.now
    used = []
    for number in range(40):
        arrived += 0.05  # twice the rate
        robot.now = arrived + (0.04 if number == 0 else 0.0)
        robot.stamp += PERIOD_NS // 2
        robot.streams.joint_state("arms", names, list(HOME), robot.stamp, robot.now)
        robot.streams.image("top", robot.stamp, robot.now)
        if robot.core.due(robot.now):
            robot.core.tick(robot.now)
            used.append(number)
    assert used == list(range(0, 40, 2))


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


def test_no_tick_while_a_stream_is_stale() -> None:
    robot = Robot().started()
    robot.now += 0.6
    robot.stamp += 600_000_000
    robot.streams.image("top", robot.stamp, robot.now)  # and no joint state
    robot.now += PAIR_WAIT_S
    assert not robot.core.due(robot.now)
    assert robot.observe() is not None


def test_entries_that_hold_their_last_target_do_so() -> None:
    robot = Robot(holds_last=(True, True, False, False)).started()
    target = robot.command(HOME + 0.01).send
    robot.position = HOME + 0.004
    robot.observe()
    plan = robot.observe()
    assert plan.hold is not None
    np.testing.assert_allclose(plan.hold[:2], target[:2])
    np.testing.assert_allclose(plan.hold[2:], (HOME + 0.004)[2:])


def test_a_missing_and_a_bad_command_are_marked_as_holds() -> None:
    robot = Robot().started()
    assert robot.command(np.full(4, np.nan)).holds
    robot.observe()
    assert not robot.command(HOME).holds
    robot.observe()
    assert robot.command([], source=0).holds
    robot.now += 1.0
    assert robot.core.poll(robot.now).holds


def test_a_jump_is_refused_until_a_first_action_is_near() -> None:
    robot = Robot(activation=Activation(jump=Jump(m=0.02))).started()
    far = robot.command(HOME + 0.05)
    assert far.holds and "over the bound" in far.fault
    np.testing.assert_array_equal(far.send, HOME)
    robot.observe()
    assert not robot.command(HOME + 0.01).fault
    robot.observe()
    assert not robot.command(HOME + 0.05).fault  # only the first step is bounded


def test_commands_blend_in_after_the_start() -> None:
    robot = Robot(activation=Activation(ramp_s=1.0)).started()
    sent = [robot.command(HOME + 0.005).send[0] - HOME[0]]
    for _ in range(10):
        robot.observe()
        sent.append(robot.command(HOME + 0.005).send[0] - HOME[0])
    np.testing.assert_allclose(sent, np.arange(11) * 0.0005, atol=1e-9)


def test_a_tripped_interlock_stops_until_a_person_rearms() -> None:
    robot = Robot().started()
    robot.command(HOME + 0.01)
    plan = robot.observe()
    hold = robot.core.trip("protective stop")
    np.testing.assert_array_equal(hold, robot.position)
    assert robot.core.trip("again") is None
    assert robot.command(HOME, epoch=plan.epoch, step=plan.step).dropped
    assert robot.observe() is None
    assert robot.core.poll(robot.now).send is None
    assert "world/rearm" in robot.core.begin_reset()
    assert robot.core.rearm(robot.now) == ""
    again = robot.observe()
    assert (again.epoch, again.step, again.applied) == (plan.epoch + 1, 0, None)
    assert robot.command(HOME, epoch=plan.epoch, step=plan.step).dropped
    assert robot.command(HOME).send is not None
    assert "not stopped" in robot.core.rearm(robot.now)


def test_an_inactive_bridge_cannot_trip() -> None:
    robot = Robot()
    assert robot.core.trip("stop") is None
    assert robot.core.state.phase is Phase.INACTIVE


class LeftOfTheMiddle:
    """A workspace that ends at x = 0."""

    def __init__(self) -> None:
        self.starts: list[np.ndarray] = []

    def problem(self, target: np.ndarray, start: np.ndarray) -> str:
        self.starts.append(start)
        return "left_x is right of the middle" if target[0] > 0.0 else ""


def test_a_target_outside_the_workspace_is_held_and_named() -> None:
    workspace = LeftOfTheMiddle()
    robot = Robot(workspace=workspace)
    robot.position[0] = -0.002
    robot.started()
    first = robot.command([-0.001, *HOME[1:]])
    assert not first.holds
    robot.observe()
    answer = robot.command([0.005, *HOME[1:]])
    assert answer.holds and "left_x is right of the middle" in answer.fault
    assert answer.send[0] <= 0.0
    assert "right of the middle" in robot.observe().applied.note  # the person reads why
    np.testing.assert_array_equal(workspace.starts[1], first.send)
