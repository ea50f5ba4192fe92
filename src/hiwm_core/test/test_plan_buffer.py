"""Which plans are accepted, and which of their actions answers a tick."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_core.plan_buffer import Plan, PlanBuffer, Refusal

ACTION_DIM = 2


def plan(**changes: Any) -> Plan:
    """Return a plan of 4 actions, 3 to run, whose values are 10 * step + row."""
    values: dict[str, Any] = {
        "epoch": 1, "step": 5, "horizon": 4, "execute_horizon": 3, "action_dim": ACTION_DIM,
        "policy": "push 12345678",
    } | changes
    rows = 10.0 * values["step"] + np.arange(values["horizon"], dtype=np.float64)
    values.setdefault("actions", np.repeat(rows, ACTION_DIM))
    return Plan(**values)


def buffer_at(epoch: int) -> PlanBuffer:
    buffer = PlanBuffer(ACTION_DIM)
    buffer.begin_epoch(epoch)
    return buffer


def test_each_tick_gets_its_own_row() -> None:
    buffer = buffer_at(1)
    assert buffer.accept(plan()).refusal is None
    for step, first in ((5, 50.0), (6, 51.0), (7, 52.0)):
        action = buffer.action_for(1, step, lockstep=True)
        np.testing.assert_array_equal(action, [first, first])
    assert buffer.policy == "push 12345678"


def test_lock_step_waits_where_real_time_runs_the_rest_of_the_chunk() -> None:
    buffer = buffer_at(1)
    buffer.accept(plan())
    assert buffer.action_for(1, 8, lockstep=True) is None
    np.testing.assert_array_equal(buffer.action_for(1, 8, lockstep=False), [53.0, 53.0])
    assert buffer.action_for(1, 9, lockstep=False) is None
    assert buffer.action_for(1, 4, lockstep=False) is None


def test_a_plan_of_an_older_epoch_is_stale() -> None:
    buffer = buffer_at(2)
    answer = buffer.accept(plan(epoch=1))
    assert answer.refusal is Refusal.STALE and "epoch 1" in answer.reason
    assert buffer.action_for(1, 5, lockstep=True) is None


def test_a_new_epoch_ends_the_plan_in_the_middle_of_its_chunk() -> None:
    buffer = buffer_at(1)
    buffer.accept(plan())
    buffer.begin_epoch(2)
    assert buffer.action_for(2, 6, lockstep=True) is None
    assert buffer.action_for(1, 6, lockstep=True) is None


def test_a_plan_that_overtook_its_tick_is_kept_for_it() -> None:
    buffer = buffer_at(1)
    assert buffer.accept(plan(epoch=2, step=0)).refusal is None
    assert buffer.action_for(1, 0, lockstep=True) is None
    buffer.begin_epoch(2)
    assert buffer.action_for(2, 0, lockstep=True) is not None


def test_a_restarted_world_with_a_lower_epoch_is_followed() -> None:
    buffer = buffer_at(7)
    buffer.accept(plan(epoch=7))
    buffer.begin_epoch(1)
    assert buffer.accept(plan(epoch=1)).refusal is None


def test_after_a_flush_only_a_plan_from_a_current_tick_counts() -> None:
    buffer = buffer_at(1)
    buffer.accept(plan(step=5))
    buffer.flush(6)
    assert buffer.action_for(1, 6, lockstep=True) is None
    assert buffer.accept(plan(step=5)).refusal is Refusal.STALE
    assert buffer.accept(plan(step=6)).refusal is None


def test_a_late_older_plan_does_not_replace_a_newer_one() -> None:
    buffer = buffer_at(1)
    buffer.accept(plan(step=6))
    assert buffer.accept(plan(step=5)).refusal is Refusal.STALE
    np.testing.assert_array_equal(buffer.action_for(1, 6, lockstep=True), [60.0, 60.0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"action_dim": 3}, "3 entries"),
        ({"actions": np.zeros(7)}, "7 numbers"),
        ({"actions": np.zeros(0)}, "0 numbers"),
        ({"execute_horizon": 5}, "execute_horizon 5"),
        ({"execute_horizon": 0}, "execute_horizon 0"),
        ({"horizon": 0, "execute_horizon": 0}, "execute_horizon 0"),
    ],
)
def test_a_plan_of_another_shape_is_refused_by_name(changes: dict[str, Any], said: str) -> None:
    buffer = buffer_at(1)
    answer = buffer.accept(plan(**changes))
    assert answer.refusal is Refusal.UNUSABLE
    assert said in answer.reason and "push 12345678" in answer.reason
    assert buffer.action_for(1, 5, lockstep=False) is None


@given(
    index=st.integers(0, 4 * ACTION_DIM - 1),
    bad=st.sampled_from([math.nan, math.inf, -math.inf]),
)
def test_one_number_that_is_not_finite_spoils_a_plan(index: int, bad: float) -> None:
    buffer = buffer_at(1)
    actions = np.zeros(4 * ACTION_DIM)
    actions[index] = bad
    answer = buffer.accept(plan(actions=actions))
    assert answer.refusal is Refusal.UNUSABLE and "not finite" in answer.reason
    for step in range(5, 9):
        assert buffer.action_for(1, step, lockstep=False) is None


def test_a_returned_action_is_a_copy() -> None:
    buffer = buffer_at(1)
    buffer.accept(plan())
    action = buffer.action_for(1, 5, lockstep=True)
    assert action is not None
    action[:] = math.nan
    np.testing.assert_array_equal(buffer.action_for(1, 5, lockstep=True), [50.0, 50.0])
