"""The control table and the detection of a lost operator."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_core.control import REQUESTS, TABLE, ControlMachine, Event, Mode, Source

TIMEOUT = 0.5


class Clock:
    """A clock that advances only on request."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def machine(clock: Clock, start_mode: Mode = Mode.PAUSED) -> ControlMachine:
    return ControlMachine(operator_timeout_s=TIMEOUT, clock=clock, start_mode=start_mode)


def hold(control: ControlMachine, device: str = "keys", **levels: bool) -> bool:
    """Process one command with the deadman held, policy present, no demonstration."""
    given_levels = {"deadman": True, "demonstration": False, "policy_present": True} | levels
    return control.hear_operator(device, **given_levels)


def machine_in(mode: Mode, clock: Clock) -> ControlMachine:
    control = machine(clock)
    if mode is Mode.POLICY:
        control.fire(Event.START, "test")
    elif mode is Mode.STOPPED:
        control.fire(Event.STOP, "test")
    elif mode in (Mode.HUMAN, Mode.HANDBACK):
        hold(control)
        if mode is Mode.HANDBACK:
            hold(control, deadman=False)
    assert control.mode is mode
    return control


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("event", Event)
def test_every_pair_follows_the_table_or_is_refused(mode: Mode, event: Event) -> None:
    control = machine_in(mode, Clock())
    before = control.state
    transition = control.fire(event, "because")
    if (mode, event) in TABLE:
        assert transition.accepted and control.mode is TABLE[mode, event] is transition.mode
        assert control.state.reason == "because"
    else:
        assert not transition.accepted and transition.mode is mode
        # As text, since a latency not yet measured is NaN and equal to nothing.
        assert repr(control.state) == repr(before)
        assert event.value in transition.message and mode.name in transition.message


def test_only_a_request_or_a_finished_handback_leads_to_the_policy() -> None:
    ways = {event for (_, event), to in TABLE.items() if to is Mode.POLICY}
    assert ways == {Event.START, Event.HANDBACK_DONE}
    from_handback = {mode for (mode, event), to in TABLE.items() if to is Mode.HANDBACK}
    assert from_handback == {Mode.HUMAN}


def test_only_clear_stop_leaves_stopped() -> None:
    ways = {(event, to) for (mode, event), to in TABLE.items() if mode is Mode.STOPPED}
    assert ways == {(Event.CLEAR_STOP, Mode.PAUSED), (Event.STOP, Mode.STOPPED)}


devices = st.sampled_from(["keys", "spacemouse"])
actions = st.one_of(
    st.tuples(st.just("wait"), st.floats(0.0, 1.5)),
    st.tuples(st.just("hear"), devices, st.booleans(), st.booleans(), st.booleans()),
    st.tuples(st.just("request"), st.sampled_from(REQUESTS)),
    st.tuples(st.just("done")),
    st.tuples(st.just("fault")),
)


def play(control: ControlMachine, clock: Clock, script: list[tuple[object, ...]]) -> None:
    for kind, *values in script:
        if kind == "wait":
            clock.now += float(values[0])  # type: ignore[arg-type]
        elif kind == "hear":
            device, deadman, demonstration, present = values
            control.hear_operator(
                str(device), deadman=bool(deadman), demonstration=bool(demonstration),
                policy_present=bool(present),
            )
        elif kind == "request":
            control.fire(values[0], "")  # type: ignore[arg-type]
        else:
            control.fire(Event.HANDBACK_DONE if kind == "done" else Event.POLICY_FAULT, "")


@given(start=st.sampled_from([Mode.PAUSED, Mode.POLICY]), script=st.lists(actions, max_size=60))
def test_whatever_happens_a_lost_operator_never_gives_control_to_the_policy(
    start: Mode, script: list[tuple[object, ...]]
) -> None:
    clock = Clock()
    control = machine(clock, start)
    mode = control.mode
    heard: dict[str, tuple[float, bool]] = {}
    for kind, *values in script:
        if kind == "hear":
            heard[str(values[0])] = (clock.now, bool(values[1]))
        play(control, clock, [(kind, *values)])
        state = control.state
        if state.mode is Mode.POLICY and mode is not Mode.POLICY:
            assert kind in ("request", "done")
            assert kind == "done" or values[0] is Event.START
        if state.mode is Mode.HUMAN:
            at, deadman = heard[state.device]
            assert deadman and state.deadman and clock.now - at <= TIMEOUT
        else:
            assert state.device == ""
        if mode is Mode.STOPPED and state.mode is not Mode.STOPPED:
            assert kind == "request" and values[0] is Event.CLEAR_STOP
        mode = state.mode


@given(start=st.sampled_from([Mode.PAUSED, Mode.POLICY]), script=st.lists(actions, max_size=60))
def test_whoever_presses_a_deadman_has_control_unless_stopped_or_another_has_it(
    start: Mode, script: list[tuple[object, ...]]
) -> None:
    clock = Clock()
    control = machine(clock, start)
    play(control, clock, script)
    before = control.state
    # Release and press, as a person who wants control does.
    hold(control, "leader", deadman=False)
    if control.mode is not Mode.HUMAN:
        assert hold(control, "leader") is (before.mode is not Mode.STOPPED)
    elif before.device != "leader":
        assert not hold(control, "leader")
    if before.mode is Mode.STOPPED:
        assert control.mode is Mode.STOPPED
    else:
        assert control.mode is Mode.HUMAN
        assert control.state.device == (before.device or "leader")


@given(script=st.lists(actions.filter(lambda action: action != ("request", Event.CLEAR_STOP)),
                       max_size=60))
def test_whatever_happens_a_stop_lasts_until_it_is_cleared(
    script: list[tuple[object, ...]]
) -> None:
    clock = Clock()
    control = machine_in(Mode.STOPPED, clock)
    for action in script:
        play(control, clock, [action])
        assert control.mode is Mode.STOPPED and control.state.source is Source.NONE
    assert control.fire(Event.CLEAR_STOP, "cleared").mode is Mode.PAUSED


@pytest.mark.parametrize("mode", [Mode.POLICY, Mode.PAUSED, Mode.HANDBACK])
def test_a_held_deadman_takes_over_by_its_level(mode: Mode) -> None:
    control = machine_in(mode, Clock())
    takeovers = control.state.takeovers
    assert hold(control)
    assert control.mode is Mode.HUMAN and control.state.source is Source.HUMAN
    assert control.state.device == "keys" and control.state.takeovers == takeovers + 1


def test_a_held_deadman_does_not_leave_stopped() -> None:
    control = machine_in(Mode.STOPPED, Clock())
    assert not hold(control)
    assert control.mode is Mode.STOPPED


def test_silence_pauses_with_the_device_named_and_its_return_takes_over_again() -> None:
    clock = Clock()
    control = machine_in(Mode.HUMAN, clock)
    clock.now += TIMEOUT
    assert control.mode is Mode.HUMAN
    clock.now += 0.01
    assert control.mode is Mode.PAUSED
    assert "keys" in control.state.reason and "silent" in control.state.reason
    clock.now += 100.0
    assert control.mode is Mode.PAUSED
    hold(control)
    assert control.mode is Mode.HUMAN


def test_a_start_after_silence_counts_as_requested_and_silence_does_not() -> None:
    clock = Clock()
    control = machine_in(Mode.HUMAN, clock)
    clock.now += 1.0
    # The clock has not been checked since, but the request finds PAUSED, not HUMAN.
    assert control.fire(Event.START, "asked for").accepted
    assert control.mode is Mode.POLICY


def test_releasing_hands_back_only_if_a_policy_runs() -> None:
    control = machine_in(Mode.HUMAN, Clock())
    hold(control, deadman=False, policy_present=False)
    assert control.mode is Mode.PAUSED and "no policy" in control.state.reason


def test_a_demonstration_is_marked_and_ends_in_pause() -> None:
    control = machine(Clock())
    hold(control, demonstration=True)
    assert control.state.source is Source.DEMONSTRATION
    hold(control, deadman=False, demonstration=True)
    assert control.mode is Mode.PAUSED


def test_another_device_can_neither_take_nor_give_back_what_one_holds() -> None:
    control = machine_in(Mode.HUMAN, Clock())
    assert not hold(control, "spacemouse", deadman=False)
    assert not hold(control, "spacemouse")
    assert control.state.device == "keys" and control.mode is Mode.HUMAN
    assert control.state.commands_dropped == 1
    hold(control, deadman=False)
    hold(control, "spacemouse")
    assert control.state.device == "spacemouse"


def test_another_device_does_not_keep_a_lost_one_alive() -> None:
    clock = Clock()
    control = machine_in(Mode.HUMAN, clock)
    clock.now += 0.3
    hold(control, "spacemouse", deadman=False)
    clock.now += 0.3
    assert control.mode is Mode.PAUSED


@pytest.mark.parametrize("event", [Event.PAUSE, Event.STOP])
def test_a_pause_is_not_undone_by_a_deadman_that_was_held_all_along(event: Event) -> None:
    control = machine_in(Mode.HUMAN, Clock())
    control.fire(event, "asked for")
    hold(control)
    if event is Event.STOP:
        control.fire(Event.CLEAR_STOP, "asked for")
        hold(control)
    assert control.mode is Mode.PAUSED
    assert "must release" in control.state.explanation
    hold(control, deadman=False)
    hold(control)
    assert control.mode is Mode.HUMAN


def test_latency_runs_from_the_received_command_to_the_first_one_sent() -> None:
    clock = Clock()
    control = machine_in(Mode.POLICY, clock)
    assert math.isnan(control.state.takeover_latency_s)
    hold(control)
    clock.now += 0.02
    control.count_tick()
    control.count_human_command()
    clock.now += 0.1
    control.count_tick()
    control.count_human_command()
    assert control.state.takeover_latency_s == pytest.approx(0.02)
    assert control.state.takeover_latency_ticks == 1


def test_a_refusal_is_counted_and_explained_until_the_mode_changes() -> None:
    control = machine_in(Mode.HUMAN, Clock())
    control.drop_command("action refused: it has a left_x that is not finite")
    control.drop_plan()
    state = control.state
    assert (state.commands_dropped, state.plans_dropped) == (1, 1)
    assert "keys took over" in state.explanation and "left_x" in state.explanation
    control.fire(Event.PAUSE, "asked for")
    assert control.state.explanation == "asked for"


def test_the_returned_state_is_a_copy() -> None:
    control = machine_in(Mode.HUMAN, Clock())
    state = control.state
    state.mode = Mode.POLICY
    state.holding.clear()
    assert control.mode is Mode.HUMAN and control.state.holding == {"keys"}


@pytest.mark.parametrize("mode", [Mode.HUMAN, Mode.HANDBACK, Mode.STOPPED])
def test_a_machine_starts_paused_or_with_the_policy(mode: Mode) -> None:
    with pytest.raises(ValueError, match=mode.name):
        machine(Clock(), mode)
