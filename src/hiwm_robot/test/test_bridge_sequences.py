"""Any order of events at the bridge, and cameras of any rate."""

import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hiwm_robot.bridge_core import STEADY_SLACK
from hiwm_robot.bridge_state import Phase

sys.path.insert(0, str(Path(__file__).parent))
from bridge_robot import EMBODIMENT, REACH_M, Robot  # noqa: E402


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
        # A hold keeps its first position, while something may move the arms.
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


@settings(max_examples=60, deadline=None)
@given(gaps=st.lists(st.floats(0.004, 0.25), min_size=20, max_size=60), lie=st.floats(0.3, 3.0))
def test_ticks_never_come_faster_than_the_embodiments_rate(gaps: list[float], lie: float) -> None:
    """Whatever the camera's rate is, and whatever its stamps say.

    A late tick does not delay the next one, so two may be close, but they never add up.
    """
    robot = Robot().started()
    times = [robot.now]
    for gap in gaps:
        robot.now += gap
        robot.stamp += round(gap * lie * 1e9)
        robot.streams.joint_state(
            "arms", list(EMBODIMENT.joint_names), list(robot.position), robot.stamp, robot.now
        )
        robot.streams.image("top", robot.stamp, robot.now)
        if robot.core.due(robot.now):
            robot.core.tick(robot.now)
            times.append(robot.now)
    for i, start in enumerate(times):
        for j, end in enumerate(times[i:]):
            assert end - start >= (j - 1 - STEADY_SLACK) * 0.1 - 1e-6
