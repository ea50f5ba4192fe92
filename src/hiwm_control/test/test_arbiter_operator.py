"""How a person takes control of the arbiter, and how a tick waits for a synchronous operator."""

import math

import numpy as np
import pytest

from hiwm_core.control import Mode, Source
from hiwm_test_support.arbiter_bench import PAUSE, START, Bench, answers

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
