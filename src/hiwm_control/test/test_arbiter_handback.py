"""How the arbiter hands control back to the policy."""

import numpy as np

from hiwm_core.control import Mode, Source
from hiwm_test_support.arbiter_bench import Bench, answers


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
