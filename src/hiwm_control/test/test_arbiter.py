"""What the arbiter decides: plans of the policy, requests, and lost messages."""

import math
from typing import Any

import numpy as np
import pytest

from hiwm_control.arbiter import Arbiter
from hiwm_core.control import Event, Mode, Source
from hiwm_test_support.arbiter_bench import (
    CLEAR_STOP,
    EMBODIMENT,
    POLICY_NAME,
    START,
    STOP,
    Bench,
    answers,
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
    "fault", [
        {"actions": np.full(16, math.nan)}, {"action_dim": 3}, {"actions": np.zeros(15)},
        {"horizon": 0, "actions": np.zeros(0), "failure": "the server is lost"},
    ],
)
def test_an_unusable_plan_pauses_the_policy_with_the_reason(fault: dict[str, Any]) -> None:
    bench = Bench()
    bench.tick(0)
    assert bench.plan(0, **fault) is None
    state = bench.arbiter.state
    assert state.mode is Mode.PAUSED and state.plans_dropped == 1
    assert POLICY_NAME in state.explanation
    assert fault.get("failure", "") in state.explanation
    assert state.explanation.count(POLICY_NAME) == 1  # the reason is not repeated
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
