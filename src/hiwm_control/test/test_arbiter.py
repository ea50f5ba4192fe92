"""What the arbiter decides, without ROS: who answers a tick, with which action, and when."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_control.arbiter import Arbiter, CommandDecision, OperatorSample, TickSeen
from hiwm_core.control import Event, Mode, Source
from hiwm_core.plan_buffer import Plan
from hiwm_core.provenance import PRE_INTERVENTION_STEPS, Provenance, line_provenance
from hiwm_test_support.robots import joint_arm

EMBODIMENT = joint_arm("left_x", "left_y")
START, PAUSE, STOP, CLEAR_STOP = range(4)
POLICY_NAME = "push 12345678"


class Clock:
    """A clock that advances only on request."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """An arbiter; the test acts as world, policy and operator."""

    def __init__(
        self, *, lockstep: bool = True, start_mode: Mode = Mode.POLICY, handback_ticks: int = 3
    ) -> None:
        self.clock = Clock()
        self.arbiter = Arbiter(
            operator_timeout_s=0.5, handback_ticks=handback_ticks, start_mode=start_mode,
            clock=self.clock,
        )
        self.arbiter.on_policy_present(True)
        self.arbiter.on_world(lockstep=lockstep, embodiment=EMBODIMENT)

    @property
    def mode(self) -> Mode:
        return self.arbiter.state.mode

    def tick(
        self, step: int, epoch: int = 1, applied: tuple[float, ...] = (0.0, 0.0)
    ) -> CommandDecision | None:
        return self.arbiter.on_tick(
            TickSeen(epoch=epoch, step=step, stamp_ns=step * 100, applied_action=applied)
        )

    def plan(self, step: int, epoch: int = 1, value: float = 0.5, **changes: Any):
        """Send a plan of 8 actions, 4 to run, all of one value."""
        fields: dict[str, Any] = {
            "epoch": epoch, "step": step, "horizon": 8, "execute_horizon": 4, "action_dim": 2,
            "actions": np.full(16, value), "policy": POLICY_NAME,
        }
        return self.arbiter.on_plan(Plan(**(fields | changes)))

    def operator(self, step: int, epoch: int = 1, **changes: Any) -> CommandDecision | None:
        fields: dict[str, Any] = {
            "epoch": epoch, "step": step, "device": "keys", "deadman": True,
            "synchronous": False, "demonstration": False, "action": (0.1, 0.2),
        }
        return self.arbiter.on_operator(OperatorSample(**(fields | changes)))


def answers(decision: CommandDecision | None, step: int, source: Source, epoch: int = 1) -> bool:
    return decision is not None and (decision.epoch, decision.step, decision.source) == (
        epoch, step, source,
    )


# --- the policy ------------------------------------------------------------------------------

def test_a_plan_answers_the_waiting_tick_at_once_and_the_next_ones_on_arrival() -> None:
    bench = Bench()
    assert bench.tick(0) is None
    first = bench.plan(0)
    assert answers(first, 0, Source.POLICY) and first.device == POLICY_NAME
    assert first.stamp_ns == 0
    assert answers(bench.tick(1), 1, Source.POLICY)


def test_a_tick_is_answered_once() -> None:
    bench = Bench()
    bench.tick(0)
    assert bench.plan(0) is not None
    assert bench.plan(0, value=0.7) is None
    assert bench.arbiter.on_time() is None


def test_lock_step_waits_for_the_next_chunk_and_real_time_continues_with_the_old_one() -> None:
    for lockstep in (True, False):
        bench = Bench(lockstep=lockstep)
        bench.tick(0)
        bench.plan(0)
        for step in (1, 2, 3):
            assert bench.tick(step) is not None
        assert (bench.tick(4) is None) is lockstep
        late = bench.plan(4, value=0.9)
        assert (late is not None) is lockstep


def test_a_stale_epoch_plan_is_dropped_and_counted() -> None:
    bench = Bench()
    bench.tick(0)
    bench.plan(0)
    assert bench.tick(0, epoch=2) is None
    assert bench.plan(1, epoch=1) is None
    assert bench.arbiter.state.plans_dropped == 1
    assert answers(bench.plan(0, epoch=2), 0, Source.POLICY, epoch=2)


def test_a_rollback_in_the_middle_of_a_chunk_ends_the_chunk() -> None:
    bench = Bench()
    bench.tick(0)
    bench.plan(0)
    bench.tick(1)
    assert bench.tick(1, epoch=2) is None
    assert bench.mode is Mode.POLICY


@pytest.mark.parametrize(
    "fault", [{"actions": np.full(16, math.nan)}, {"action_dim": 3}, {"actions": np.zeros(15)}]
)
def test_an_unusable_plan_pauses_the_policy_with_the_reason(fault: dict[str, Any]) -> None:
    bench = Bench()
    bench.tick(0)
    assert bench.plan(0, **fault) is None
    state = bench.arbiter.state
    assert state.mode is Mode.PAUSED and state.plans_dropped == 1
    assert POLICY_NAME in state.explanation
    assert bench.tick(1) is None


def test_an_unusable_plan_does_not_disturb_a_person() -> None:
    bench = Bench()
    bench.tick(0)
    bench.operator(0)
    bench.plan(0, actions=np.full(16, math.nan))
    assert bench.mode is Mode.HUMAN
    assert "not finite" in bench.arbiter.state.explanation


def test_after_a_fault_the_policy_resumes_only_when_started_and_with_a_new_plan() -> None:
    bench = Bench()
    bench.tick(0)
    bench.plan(0, actions=np.full(16, math.inf))
    assert bench.plan(0) is None
    transition, decision = bench.arbiter.on_request(START, "fixed")
    assert transition.accepted
    assert answers(decision, 0, Source.POLICY)


def test_messages_may_come_in_any_order_at_the_start() -> None:
    bench = Bench()
    arbiter = Arbiter(
        operator_timeout_s=0.5, handback_ticks=3, start_mode=Mode.POLICY, clock=bench.clock
    )
    bench.arbiter = arbiter
    assert bench.plan(0) is None
    assert bench.tick(0) is None
    assert answers(arbiter.on_world(lockstep=True, embodiment=EMBODIMENT), 0, Source.POLICY)


@pytest.mark.parametrize(("action", "source"), [((0.1, 0.2), Source.HUMAN), ((0.1,), None)])
def test_an_operator_may_arrive_before_the_world(
    action: tuple[float, ...], source: Source | None
) -> None:
    bench = Bench()
    arbiter = Arbiter(
        operator_timeout_s=0.5, handback_ticks=3, start_mode=Mode.POLICY, clock=bench.clock
    )
    bench.arbiter = arbiter
    bench.operator(0, synchronous=True, action=action)
    bench.tick(0)
    decision = arbiter.on_world(lockstep=True, embodiment=EMBODIMENT)
    assert (decision.source if decision else None) is source
    assert arbiter.state.commands_dropped == (source is None)


# --- taking over -----------------------------------------------------------------------------

def test_a_takeover_answers_the_waiting_tick_itself() -> None:
    bench = Bench()
    bench.tick(0)
    decision = bench.operator(0)
    assert answers(decision, 0, Source.HUMAN) and decision.device == "keys"
    np.testing.assert_array_equal(decision.action, [0.1, 0.2])
    state = bench.arbiter.state
    assert (state.takeovers, state.takeover_latency_ticks) == (1, 0)
    assert state.takeover_latency_s == 0.0


def test_a_takeover_after_the_answer_takes_the_next_tick() -> None:
    bench = Bench()
    bench.tick(0)
    bench.plan(0)
    bench.clock.now += 0.01
    assert bench.operator(0) is None
    bench.clock.now += 0.02
    assert answers(bench.tick(1), 1, Source.HUMAN)
    state = bench.arbiter.state
    assert state.takeover_latency_ticks == 1
    assert state.takeover_latency_s == pytest.approx(0.02)


def test_a_plan_made_before_a_takeover_is_never_run_after_it() -> None:
    bench = Bench()
    bench.tick(0)
    bench.plan(0)
    bench.tick(1)
    bench.operator(1)
    bench.tick(2)
    bench.operator(2, deadman=False)
    assert bench.mode is Mode.HANDBACK
    assert bench.plan(1) is None
    assert bench.tick(3) is None


def test_real_time_sends_nothing_while_paused_and_takes_over_within_a_tick() -> None:
    bench = Bench(lockstep=False, start_mode=Mode.PAUSED)
    assert bench.tick(0) is None and bench.tick(1) is None
    assert answers(bench.operator(1), 1, Source.HUMAN)
    assert answers(bench.tick(2), 2, Source.HUMAN)


def test_a_silent_operator_pauses_and_the_policy_does_not_resume() -> None:
    bench = Bench()
    bench.tick(0)
    bench.operator(0)
    bench.clock.now += 0.51
    bench.arbiter.on_time()
    assert bench.mode is Mode.PAUSED and "silent" in bench.arbiter.state.reason
    assert bench.tick(1) is None
    assert bench.plan(1) is None
    assert answers(bench.operator(1), 1, Source.HUMAN)


def test_an_old_sample_is_not_used_after_the_operator_came_back_without_an_action() -> None:
    bench = Bench()
    bench.tick(0)
    bench.operator(0, action=(0.3, 0.3))
    bench.tick(1, applied=(0.01, 0.02))
    bench.clock.now += 1.0
    bench.arbiter.on_time()
    bench.tick(2, applied=(0.01, 0.02))
    held = bench.operator(2, action=())
    assert held is not None
    np.testing.assert_array_equal(held.action, [0.01, 0.02])


def test_an_empty_action_holds_the_first_position_of_an_epoch_once_known() -> None:
    bench = Bench()
    bench.tick(0, applied=())
    assert bench.operator(0, action=()) is None
    assert bench.arbiter.on_positions(77, [0.9, 0.9]) is None
    decision = bench.arbiter.on_positions(0, [0.3, 0.4])
    assert answers(decision, 0, Source.HUMAN)
    np.testing.assert_array_equal(decision.action, [0.3, 0.4])


@pytest.mark.parametrize("action", [(math.nan, 0.0), (0.0, math.inf), (0.1,), (0.1, 0.2, 0.3)])
def test_an_unusable_operator_action_is_refused_but_its_deadman_counts(
    action: tuple[float, ...]
) -> None:
    bench = Bench()
    bench.tick(0)
    assert bench.operator(0, action=action) is None
    state = bench.arbiter.state
    assert state.mode is Mode.HUMAN and state.commands_dropped == 1
    assert "keys" in state.explanation and "refused" in state.explanation
    assert answers(bench.operator(0), 0, Source.HUMAN)


def test_an_operator_who_saw_an_older_epoch_keeps_control_without_that_action() -> None:
    bench = Bench()
    bench.tick(5)
    bench.operator(5)
    assert bench.tick(2, epoch=2) is None
    assert bench.operator(5, epoch=1) is None
    state = bench.arbiter.state
    assert state.mode is Mode.HUMAN and state.commands_dropped == 1
    assert answers(bench.operator(2, epoch=2), 2, Source.HUMAN, epoch=2)


def test_demonstrations_carry_their_source_and_end_in_pause() -> None:
    bench = Bench(start_mode=Mode.PAUSED)
    bench.tick(0)
    assert answers(bench.operator(0, demonstration=True), 0, Source.DEMONSTRATION)
    bench.tick(1)
    bench.operator(1, deadman=False, demonstration=True)
    assert bench.mode is Mode.PAUSED


# --- synchronous operators -------------------------------------------------------------------

def test_lock_step_waits_for_the_action_made_for_this_very_tick() -> None:
    bench = Bench()
    bench.tick(0)
    bench.operator(0, synchronous=True)
    assert bench.tick(1) is None
    assert bench.operator(0, synchronous=True) is None
    assert bench.arbiter.state.commands_dropped == 1
    assert answers(bench.operator(1, synchronous=True), 1, Source.HUMAN)


def test_an_action_that_overtook_its_tick_answers_it() -> None:
    bench = Bench()
    bench.tick(0)
    bench.operator(0, synchronous=True)
    assert bench.operator(1, synchronous=True) is None
    assert answers(bench.tick(1), 1, Source.HUMAN)


def test_real_time_gives_a_quick_operator_the_moment_it_needs() -> None:
    bench = Bench(lockstep=False)
    bench.tick(0)
    bench.operator(0, synchronous=True)
    assert bench.tick(1) is None
    assert answers(bench.operator(1, synchronous=True), 1, Source.HUMAN)


def test_real_time_does_not_starve_with_an_operator_slower_than_the_rate() -> None:
    bench = Bench(lockstep=False)
    bench.tick(0)
    bench.operator(0, synchronous=True)
    answered = []
    for step in range(1, 9):
        # Each action is made for a tick that is one and a half ticks old when it comes.
        decision = bench.tick(step)
        if decision is None and step % 2 == 0:
            decision = bench.operator(step - 1, synchronous=True)
        answered.append(decision is not None)
    assert all(answered[2:])


def test_lock_step_waits_until_a_watching_operator_has_seen_the_tick() -> None:
    """Its decision at a tick must not arrive some ticks late on a slow machine."""
    bench = Bench()
    assert bench.tick(0) is None
    assert answers(bench.plan(0), 0, Source.POLICY)  # no operator so far
    bench.operator(0, synchronous=True, deadman=False)
    assert bench.tick(1) is None
    assert bench.arbiter.on_time() is None
    # It requests a pause, and sends no command for the tick meanwhile.
    bench.arbiter.on_request(PAUSE, "it goes wrong")
    assert bench.mode is Mode.PAUSED
    _, decision = bench.arbiter.on_request(START, "")
    assert decision is None
    assert answers(
        bench.operator(1, synchronous=True, deadman=False), 1, Source.POLICY
    )
    # The next epoch is answered again, and a command that overtook its tick counts.
    assert bench.operator(0, 2, synchronous=True, deadman=False) is None
    assert bench.plan(0, 2) is None
    assert answers(bench.tick(0, 2), 0, Source.POLICY, 2)


def test_a_handback_waits_for_the_watching_operator_too() -> None:
    bench = Bench()
    bench.tick(0)
    bench.operator(0, synchronous=True)
    bench.tick(1)
    bench.operator(1, synchronous=True, deadman=False)
    assert answers(bench.plan(1), 1, Source.HANDBACK)
    assert bench.tick(2) is None
    assert answers(bench.operator(2, synchronous=True, deadman=False), 2, Source.HANDBACK)


def test_an_operator_that_is_gone_is_not_waited_for() -> None:
    bench = Bench()
    bench.tick(0)
    bench.operator(0, synchronous=True, deadman=False)
    bench.plan(0)
    bench.clock.now += 60.0
    assert bench.tick(1) is None  # it gets its time from the tick on
    assert bench.arbiter.waits_for_operator
    bench.clock.now += 9.0
    assert bench.arbiter.on_time() is None
    bench.clock.now += 2.0
    assert answers(bench.arbiter.on_time(), 1, Source.POLICY)


def test_a_dead_operator_delays_one_tick_only_until_it_sends_again() -> None:
    bench = Bench()
    bench.tick(0)
    bench.operator(0, synchronous=True, deadman=False)
    bench.plan(0)
    assert bench.tick(1) is None
    bench.clock.now += 10.0
    assert answers(bench.arbiter.on_time(), 1, Source.POLICY)
    for step in (2, 3):
        assert answers(bench.tick(step), step, Source.POLICY)
    assert bench.tick(4) is None
    assert answers(bench.plan(4), 4, Source.POLICY)
    bench.operator(4, synchronous=True, deadman=False)
    assert bench.tick(5) is None and bench.arbiter.waits_for_operator
    assert answers(bench.operator(5, synchronous=True, deadman=False), 5, Source.POLICY)


def test_a_dead_operator_is_not_waited_for_after_another_device_took_over() -> None:
    bench = Bench()
    bench.tick(0)
    bench.operator(0, synchronous=True, deadman=False)
    bench.plan(0)
    assert bench.tick(1) is None
    assert answers(bench.operator(1, device="other"), 1, Source.HUMAN)
    bench.operator(1, device="other", deadman=False)
    assert bench.tick(2) is None
    assert answers(bench.plan(2), 2, Source.HANDBACK)
    assert answers(bench.tick(3), 3, Source.HANDBACK)


def test_real_time_waits_for_no_watching_operator() -> None:
    bench = Bench(lockstep=False)
    bench.tick(0)
    bench.operator(0, synchronous=True, deadman=False)
    bench.plan(0)
    assert answers(bench.tick(1), 1, Source.POLICY)


# --- handing back ----------------------------------------------------------------------------

def test_handback_waits_for_a_fresh_plan_and_ramps_without_a_jump() -> None:
    bench = Bench(handback_ticks=3)
    bench.tick(0)
    bench.operator(0, action=(0.0, 0.0))
    bench.operator(0, deadman=False)
    assert bench.mode is Mode.HANDBACK
    assert bench.tick(1, applied=(0.0, 0.0)) is None
    targets = []
    decision = bench.plan(1, value=0.4, execute_horizon=8)
    for step in (1, 2, 3):
        assert answers(decision, step, Source.HANDBACK)
        targets.append(decision.action[0])
        decision = bench.tick(step + 1, applied=tuple(decision.action))
    assert answers(decision, 4, Source.POLICY) and bench.mode is Mode.POLICY
    targets.append(decision.action[0])
    np.testing.assert_allclose(np.diff([0.0, *targets]), 0.1)


def test_without_a_ramp_the_policy_resumes_with_its_first_fresh_action() -> None:
    bench = Bench(handback_ticks=0)
    bench.tick(0)
    bench.operator(0)
    bench.operator(0, deadman=False)
    bench.tick(1)
    decision = bench.plan(1, value=0.4)
    np.testing.assert_array_equal(decision.action, [0.4, 0.4])
    assert bench.mode is Mode.POLICY


def test_taking_over_again_during_the_ramp_starts_a_new_one_later() -> None:
    bench = Bench(handback_ticks=3)
    bench.tick(0)
    bench.operator(0)
    bench.operator(0, deadman=False)
    bench.tick(1)
    assert answers(bench.plan(1, value=0.4), 1, Source.HANDBACK)
    assert bench.operator(1) is None
    assert answers(bench.tick(2, applied=(0.1, 0.1)), 2, Source.HUMAN)
    bench.operator(2, deadman=False)
    bench.tick(3, applied=(0.2, 0.2))
    decision = bench.plan(3, value=0.6)
    np.testing.assert_allclose(decision.action, [0.3, 0.3])


def test_without_a_policy_letting_go_pauses() -> None:
    bench = Bench()
    bench.arbiter.on_policy_present(False)
    bench.tick(0)
    bench.operator(0)
    bench.tick(1)
    bench.operator(1, deadman=False)
    assert bench.mode is Mode.PAUSED


def test_a_rollback_during_handback_needs_a_plan_of_the_new_epoch() -> None:
    bench = Bench()
    bench.tick(4)
    bench.operator(4)
    bench.operator(4, deadman=False)
    bench.tick(5)
    assert answers(bench.plan(5, value=0.4), 5, Source.HANDBACK)
    assert bench.tick(2, epoch=2, applied=()) is None
    assert bench.plan(2, epoch=2, value=0.8) is None
    decision = bench.arbiter.on_positions(200, [0.4, 0.4])
    assert answers(decision, 2, Source.HANDBACK, epoch=2)
    np.testing.assert_allclose(decision.action, [0.5, 0.5])


def test_positions_of_a_repeated_tick_do_not_replace_those_of_the_tick() -> None:
    # The operator is slow to look at the first tick of an epoch, so the world repeats it.
    bench = Bench()
    bench.tick(4)
    bench.operator(4, synchronous=True)
    bench.operator(4, synchronous=True, deadman=False)
    bench.tick(0, epoch=2, applied=())
    bench.arbiter.on_positions(0, [0.4, 0.4])
    bench.plan(0, epoch=2, value=0.8)
    bench.arbiter.on_positions(5, [0.4, 0.4])
    decision = bench.operator(0, epoch=2, synchronous=True, deadman=False)
    assert answers(decision, 0, Source.HANDBACK, epoch=2)


# --- requests and lost messages --------------------------------------------------------------

def test_requests_follow_the_table_and_say_why_not() -> None:
    bench = Bench()
    transition, _ = bench.arbiter.on_request(START, "")
    assert not transition.accepted and "POLICY" in transition.message
    transition, _ = bench.arbiter.on_request(STOP, "smoke")
    assert transition.accepted and transition.mode is Mode.STOPPED
    assert "smoke" in bench.arbiter.state.reason
    transition, _ = bench.arbiter.on_request(START, "")
    assert not transition.accepted and Event.CLEAR_STOP.value in transition.message
    assert bench.arbiter.on_request(CLEAR_STOP, "")[0].mode is Mode.PAUSED
    assert not bench.arbiter.on_request(9, "")[0].accepted


def test_stop_takes_effect_on_the_tick_that_waits() -> None:
    bench = Bench()
    bench.tick(0)
    bench.arbiter.on_request(STOP, "")
    assert bench.plan(0) is None
    assert bench.operator(0) is None
    assert bench.mode is Mode.STOPPED


def test_a_command_lost_in_lock_step_is_sent_again_unchanged() -> None:
    bench = Bench()
    bench.tick(0)
    sent = bench.plan(0)
    bench.clock.now += 1.5
    assert bench.arbiter.on_time() is sent
    assert bench.arbiter.on_time() is None
    assert bench.tick(0) is sent


def test_a_lost_command_is_not_repeated_once_the_world_was_stopped() -> None:
    bench = Bench()
    bench.tick(0)
    bench.plan(0)
    bench.arbiter.on_request(STOP, "")
    bench.clock.now += 1.5
    assert bench.arbiter.on_time() is None
    assert bench.tick(0) is None


def test_real_time_never_repeats_a_command() -> None:
    bench = Bench(lockstep=False)
    bench.tick(0)
    bench.plan(0)
    bench.clock.now += 1.5
    assert bench.arbiter.on_time() is None


def test_a_restarted_world_in_the_same_epoch_gets_no_old_plan() -> None:
    bench = Bench()
    bench.tick(40)
    bench.plan(40)
    assert bench.tick(0) is None
    assert answers(bench.plan(0), 0, Source.POLICY)


messages = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.integers(0, 1)),
        st.tuples(st.just("plan"), st.integers(-1, 1)),
        st.tuples(st.just("operator"), st.booleans(), st.sampled_from([0.1, math.nan])),
        st.tuples(st.just("request"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.floats(0, 1)),
    ),
    max_size=60,
)


@given(lockstep=st.booleans(), script=messages)
def test_every_command_answers_the_newest_tick_is_finite_and_fits_the_mode(
    lockstep: bool, script: list[tuple[Any, ...]]
) -> None:
    bench = Bench(lockstep=lockstep)
    epoch, step = 1, 0
    bench.tick(step, epoch)
    sources: dict[tuple[int, int], Source] = {}
    for kind, *values in script:
        before = bench.mode
        if kind == "tick":
            epoch, step = (epoch + 1, 0) if values[0] else (epoch, step + 1)
            decision = bench.tick(step, epoch)
        elif kind == "plan":
            decision = bench.plan(step, epoch + values[0])
        elif kind == "operator":
            decision = bench.operator(step, epoch, deadman=values[0], action=(values[1], 0.0))
        elif kind == "request":
            decision = bench.arbiter.on_request(values[0], "")[1]
        else:
            bench.clock.now += values[0]
            decision = bench.arbiter.on_time()
        if decision is None:
            continue
        assert (decision.epoch, decision.step) == (epoch, step)
        assert np.all(np.isfinite(decision.action)) and decision.action.shape == (2,)
        expected = {
            Source.POLICY: {Mode.POLICY}, Source.HUMAN: {Mode.HUMAN},
            Source.HANDBACK: {Mode.HANDBACK},
        }[decision.source]
        repeated = sources.get((epoch, step)) is decision.source
        assert repeated or expected & {before, bench.mode}
        assert bench.mode not in (Mode.PAUSED, Mode.STOPPED)
        sources[epoch, step] = decision.source


# One device sends more than the other, and events that continue a session are more frequent than
# events that interrupt it: otherwise no sequence would reach a handback.
_ALPHABET: list[tuple[Any, ...]] = [
    *[("tick", "next")] * 6, ("tick", "epoch"), ("tick", "again"),
    *[("plan", 0)] * 5, ("plan", -1), ("plan", 1),
    *[("operator", "keys", True, False, 0)] * 4, *[("operator", "keys", False, False, 0)] * 3,
    ("operator", "keys", True, True, 0), ("operator", "keys", True, False, -1),
    ("operator", "mouse", True, False, 0), ("operator", "mouse", False, False, 0),
    ("request", START), ("request", START), ("request", PAUSE), ("request", STOP),
    ("request", CLEAR_STOP), ("policy", True), ("policy", False), ("positions",),
    ("wait", 0.05), ("wait", 0.3), ("wait", 0.6),
]
everything = st.lists(st.sampled_from(_ALPHABET), min_size=10, max_size=60)


class Witness:
    """Plays any sequence to an arbiter and checks each command against the earlier inputs.

    Plans and operators give actions that say when they were made, so that an action can be traced.
    """

    def __init__(self, lockstep: bool) -> None:
        self.bench = Bench(lockstep=lockstep)
        self.lockstep = lockstep
        self.epoch, self.step, self.count = 1, 0, 0
        self.plans: dict[float, int] = {}  # value -> epoch it was made in
        self.samples: dict[float, tuple[int, str]] = {}  # value -> epoch seen, device
        self.heard: dict[str, tuple[float, bool]] = {}
        self.bench.tick(0)

    def value(self) -> float:
        self.count += 1
        return float(self.count)

    def play(self, kind: str, *values: Any) -> CommandDecision | None:
        bench = self.bench
        if kind == "tick":
            if values[0] != "again":
                new_epoch = values[0] == "epoch"
                self.epoch += new_epoch
                self.step = 0 if new_epoch else self.step + 1
            return bench.tick(self.step, self.epoch, applied=(0.0, 0.0))
        if kind == "plan":
            value = self.value()
            self.plans[value] = self.epoch + values[0]
            return bench.plan(self.step, self.epoch + values[0], value=value)
        if kind == "operator":
            device, deadman, synchronous, behind = values
            value = self.value()
            self.samples[value] = (self.epoch + behind, device)
            self.heard[device] = (bench.clock.now, deadman)
            return bench.operator(
                self.step, self.epoch + behind, device=device, deadman=deadman,
                synchronous=synchronous, action=(value, value),
            )
        if kind == "request":
            return bench.arbiter.on_request(values[0], "")[1]
        if kind == "policy":
            bench.arbiter.on_policy_present(values[0])
            return None
        if kind == "positions":
            return bench.arbiter.on_positions(self.step * 100, (0.0, 0.0))
        bench.clock.now += values[0]
        return bench.arbiter.on_time()

    def check(self, decision: CommandDecision) -> None:
        """Assert that a new command comes from a present sender, and from no other."""
        assert (decision.epoch, decision.step) == (self.epoch, self.step)
        state = self.bench.arbiter.state
        value = float(decision.action[0])
        if decision.source is Source.HUMAN:
            at, deadman = self.heard[decision.device]
            assert state.mode is Mode.HUMAN and state.device == decision.device
            assert deadman and self.bench.clock.now - at <= 0.5
            assert self.samples[value] == (self.epoch, decision.device)
        elif decision.source is Source.POLICY:
            assert self.plans[value] == self.epoch
        else:
            assert decision.source is Source.HANDBACK
            # Between the current target and a plan of this epoch.
            assert any(0.0 < value <= v for v, made in self.plans.items() if made == self.epoch)


@given(lockstep=st.booleans(), script=everything)
def test_nothing_moves_without_a_present_operator_or_policy(
    lockstep: bool, script: list[tuple[Any, ...]]
) -> None:
    witness = Witness(lockstep)
    sent: CommandDecision | None = None
    for action in script:
        before = witness.bench.mode
        decision = witness.play(*action)
        after = witness.bench.mode
        if decision is not None and decision is not sent:
            witness.check(decision)
            if before is Mode.HUMAN and after is Mode.HUMAN:
                assert decision.source is Source.HUMAN
            sent = decision
        if after in (Mode.PAUSED, Mode.STOPPED):
            assert decision is None
        if before is Mode.STOPPED and after is not Mode.STOPPED:
            assert action == ("request", CLEAR_STOP)


@given(lockstep=st.booleans(), script=everything)
def test_whatever_happened_a_person_who_presses_answers_the_next_tick(
    lockstep: bool, script: list[tuple[Any, ...]]
) -> None:
    witness = Witness(lockstep)
    for action in script:
        witness.play(*action)
    stopped = witness.bench.mode is Mode.STOPPED
    if witness.bench.mode is Mode.HUMAN:
        witness.bench.clock.now += 1.0  # whoever had control is gone
    witness.play("operator", "leader", False, False, 0)
    witness.play("tick", "next")
    witness.play("plan", 0)
    decision = witness.play("operator", "leader", True, False, 0)
    decision = decision or witness.play("tick", "next")
    if stopped:
        assert decision is None and witness.bench.mode is Mode.STOPPED
    else:
        assert decision is not None
        assert (decision.source, decision.device) == (Source.HUMAN, "leader")
        witness.check(decision)


@settings(max_examples=40)
@given(
    press_s=st.floats(2.0, 2.2), held_s=st.floats(0.1, 1.0), repeat_s=st.floats(0.005, 0.05)
)
def test_all_of_a_short_correction_counts_and_what_led_to_it_is_marked(
    press_s: float, held_s: float, repeat_s: float
) -> None:
    """A device that sends 20 to 200 times a second, in a world with 10 ticks a second."""
    bench = Bench(lockstep=False, handback_ticks=0)
    start = bench.clock.now
    sources: list[Source] = []
    happenings = [(0.1 * step, 1, step) for step in range(40)]
    happenings += [(repeat_s * i, 0, i) for i in range(int(4.0 / repeat_s))]
    spoken = [at for at, kind, _ in happenings if kind == 0]
    first = min(at for at in spoken if at >= press_s)
    last = min(at for at in spoken if at >= press_s + held_s)
    for at, kind, number in sorted(happenings):
        bench.clock.now = start + at
        step = len(sources)
        if kind == 0:
            decision = bench.operator(step, deadman=first <= at < last)
        else:
            bench.plan(number)
            decision = bench.tick(number) or bench.plan(number)
        if decision is not None:
            sources.append(decision.source)
    taken = [at for at, kind, _ in happenings if kind == 1 and first <= at < last]
    assert sources.count(Source.HUMAN) == len(taken)
    begun = sources.index(Source.HUMAN) if taken else 0
    assert all(source is Source.HUMAN for source in sources[begun:begun + len(taken)])
    marked = line_provenance(sources)
    if taken:
        assert marked[begun - PRE_INTERVENTION_STEPS:begun] == (
            [Provenance.PRE_INTERVENTION] * PRE_INTERVENTION_STEPS
        )
