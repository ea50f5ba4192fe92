"""What the arbiter never does, whatever the order of messages, requests and time."""

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_control.arbiter import CommandDecision
from hiwm_core.control import Mode, Source
from hiwm_core.provenance import PRE_INTERVENTION_STEPS, Provenance, line_provenance
from hiwm_test_support.arbiter_bench import CLEAR_STOP, PAUSE, START, STOP, Bench

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
