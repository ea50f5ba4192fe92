"""From a page's messages to operator commands: deadman by level and age, for any input."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hiwm_console.page_commands import (
    FRESH_S,
    LEAD_S,
    REPEAT_S,
    Command,
    DriveSettings,
    PageCommands,
    Pause,
    Released,
)
from hiwm_core.control import Mode


class Page:
    """PageCommands with its own clock."""

    def __init__(self, step=0, lockstep=True, period=0.1):
        self.now = 100.0
        self.commands = PageCommands()
        self.lockstep, self.period = lockstep, period
        self.out = []
        self.tick(step)

    def tick(self, step, epoch=1):
        self.commands.on_tick(
            epoch, step, period_s=self.period, lockstep=self.lockstep, now=self.now
        )
        return self.take()

    def take(self):
        said = self.commands.take(self.now)
        self.out += said
        return said

    def send(self, axes=(0.0, 0.0), deadman=True, late=0.0, **more):
        assert not self.commands.receive(axes, deadman, 1e3 * (self.now - late), self.now, **more)
        return self.take()

    def wait(self, seconds):
        self.now += seconds
        return self.take()

    def control(self, mode, device="", reason="because"):
        said = self.commands.on_control(mode, device, reason)
        self.out += said
        return said + self.take()

    def take_over(self):
        said = self.send()
        self.control(Mode.HUMAN, "console")
        return said


def commands(said):
    return [output for output in said if isinstance(output, Command)]


def test_a_takeover_is_sent_at_once_and_a_handback_once():
    page = Page()
    (command,) = page.take_over()
    assert command.deadman and (command.epoch, command.step) == (1, 0)
    (release,) = page.send(deadman=False)
    assert isinstance(release, Command) and not release.deadman
    assert page.wait(0.02) == [] and not page.commands.holding


def test_a_command_of_lockstep_waits_for_the_hand_and_comes_before_the_frame_is_due():
    page = Page()
    page.take_over()
    page.wait(0.05)
    assert page.tick(1) == []  # its answer is not due yet
    page.send((1.0, 0.0))
    assert page.commands.due(page.now) == pytest.approx(page.now + 0.1 - LEAD_S)
    (command,) = page.wait(0.1 - LEAD_S)
    assert command.axes == (1.0, 0.0) and command.step == 1


def test_a_world_that_runs_flat_out_or_in_real_time_is_answered_at_once():
    flat = Page(period=0.0)
    flat.take_over()
    assert len(flat.tick(1)) == 1
    real = Page(lockstep=False)
    real.take_over()
    assert len(real.tick(1)) == 1
    assert len(real.send((0.5, 0.0))) == 1, "a change need not wait for the next tick"


def test_a_key_pressed_and_released_between_two_commands_still_moves_once():
    page = Page()
    page.take_over()
    page.tick(1)
    page.send((0.0, 1.0))
    page.send((0.0, 0.0))
    (command,) = page.wait(0.1)
    assert command.axes == (0.0, 1.0)
    page.send((0.0, 0.0))
    page.tick(2)
    page.send((0.0, 0.0))
    (command,) = page.wait(0.1)
    assert command.axes == (0.0, 0.0)


def test_what_is_held_now_wins_over_what_was_tapped():
    page = Page()
    page.take_over()
    page.tick(1)
    page.send((1.0, 0.0))
    page.send((-0.5, 0.0))
    assert page.wait(0.1)[0].axes == (-0.5, 0.0)


def test_a_command_s_frame_and_speed_are_those_of_its_axes():
    page = Page()
    page.take_over()
    page.tick(1)
    page.send((1.0, 0.0), settings=DriveSettings(frame="tool"))
    page.wait(0.1)
    page.send((1.0, 0.0), settings=DriveSettings(frame="base", speed=0.5))
    (repeated,) = page.wait(REPEAT_S)
    assert (repeated.axes, repeated.settings) == ((1.0, 0.0), DriveSettings(frame="tool"))
    page.tick(2)
    page.send((1.0, 0.0), settings=DriveSettings(frame="base", speed=0.5))
    assert page.wait(0.1)[0].settings == DriveSettings(frame="base", speed=0.5)


def test_silence_pauses_and_never_hands_back():
    page = Page()
    page.take_over()
    said = page.wait(FRESH_S + 0.01)
    assert [type(output) for output in said] == [Pause, Released]
    assert "silent" in said[0].reason
    page.send()  # it returns, still holding: control needs a release first
    assert not page.commands.holding
    said = page.control(Mode.PAUSED)
    assert [command.deadman for command in commands(said)] == [False], "the arbiter's bar is lifted"
    page.send()
    assert not page.commands.holding
    page.send(deadman=False)
    page.send()
    assert page.commands.holding


def test_no_release_is_sent_while_the_arbiter_still_has_us_in_control():
    page = Page()
    page.take_over()
    page.commands.drop()
    page.send(deadman=False)
    page.wait(0.02)
    assert [command.deadman for command in commands(page.out)] == [True]
    page.control(Mode.PAUSED)
    assert [command.deadman for command in commands(page.out)] == [True, False]


def test_a_late_page_loses_control_and_a_slow_line_does_not():
    slow = Page()
    for _ in range(30):
        slow.send(late=0.4)
        slow.wait(0.03)
    assert slow.commands.holding, "a constant delay is the line's own"
    late = Page()
    late.take_over()
    for number in range(1, 12):  # messages still arrive, each later than the previous one
        late.wait(0.05)
        late.send(late=0.03 * number)
    (pause,) = [output for output in late.out if isinstance(output, Pause)]
    assert "late by 0.2" in pause.reason and not late.commands.holding


def test_time_that_runs_backwards_is_refused():
    page = Page()
    page.send()
    assert "backwards" in page.commands.receive((0.0, 0.0), True, 1.0, page.now)


def test_another_persons_pause_is_accepted_and_shown():
    page = Page()
    page.take_over()
    said = page.control(Mode.PAUSED, reason="pause asked for")
    assert Released("pause asked for") in said and not page.commands.holding
    assert not any(isinstance(output, Pause) for output in said)


def test_a_takeover_the_arbiter_refuses_ends_with_its_reason():
    page = Page()
    page.control(Mode.STOPPED, reason="stop asked for")
    page.send()
    for _ in range(40):
        page.wait(0.03)
        page.send()
    assert Released("stop asked for") in page.out and not page.commands.holding


def test_the_arbiter_hears_of_us_while_the_world_is_slow():
    page = Page()
    page.take_over()
    for _ in range(20):
        page.wait(0.05)
        page.send()
    held = commands(page.out)
    assert len(held) >= 5 and all(command.deadman for command in held)
    assert {command.step for command in held} == {0}


class AnyOrder(RuleBasedStateMachine):
    """For any sequence of events: held only while the page reports it, and recently."""

    @initialize()
    def begin(self):
        self.page = Page()
        self.step, self.epoch = 0, 1
        self.said_held_at = float("-inf")
        self.last_said = False
        self.lost = False

    def check(self, outputs):
        for output in outputs:
            if isinstance(output, Command) and output.deadman:
                assert self.last_said, "held though the page had let go"
                age = self.page.now - self.said_held_at
                assert age <= FRESH_S, "held though the page is silent"
                assert not self.lost, "held again without letting go first"
                assert (output.epoch, output.step) == (self.epoch, self.step)
            if isinstance(output, Pause):
                self.lost = True

    @rule(deadman=st.booleans(), x=st.sampled_from([-1.0, 0.0, 1.0]),
          late=st.sampled_from([0.0, 0.0, 0.1, 0.5]))
    def receive(self, deadman, x, late):
        t = max(1e3 * (self.page.now - late), getattr(self, "t", 0.0))
        self.t = t
        self.last_said = deadman
        if deadman:
            self.said_held_at = self.page.now
        else:
            self.lost = False
        assert not self.page.commands.receive((x, 0.0), deadman, t, self.page.now)
        self.check(self.page.take())

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.05, 0.1, 0.3, 2.0]))
    def wait(self, seconds):
        self.page.now += seconds
        self.check(self.page.take())

    @rule(restart=st.booleans())
    def tick(self, restart):
        self.epoch, self.step = (self.epoch + 1, 0) if restart else (self.epoch, self.step + 1)
        self.check(self.page.tick(self.step, self.epoch))

    @rule(mode=st.sampled_from(list(Mode)), device=st.sampled_from(["", "console", "keyboard"]))
    def control(self, mode, device):
        self.check(self.page.control(mode, device))

    @rule()
    def lose(self):
        holding = self.page.commands.holding
        said = self.page.commands.lose("hidden")
        assert bool(said) is holding
        self.lost = self.lost or holding
        self.check(said + self.page.take())

    @invariant()
    def awake_when_holding(self):
        if hasattr(self, "page") and self.page.commands.holding:
            assert self.page.commands.due(self.page.now) is not None


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
