"""What an output sends between targets and in silence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.robots.outputs import Output
from hiwm_robot.output_runner import Mode, OutputRunner, Sample

PERIOD = 0.1
A, B = np.array([0.0, 1.0]), np.array([0.2, 0.0])


def straight(start: np.ndarray, goal: np.ndarray, share: float) -> np.ndarray:
    return start + share * (goal - start)


def runner(silence: str = "hold_last", **changes: object) -> OutputRunner:
    given: dict[str, object] = {
        "adapter": "float64_multi_array", "topic": "c", "joints": ("a", "b"), "rate_hz": 100.0,
        "silence": silence, **changes,
    }
    if silence == "zero":
        given |= {"adapter": "twist", "joints": (), "group": "tool"}
    return OutputRunner(Output(**given), PERIOD, straight)  # type: ignore[arg-type]


def gripper() -> OutputRunner:
    output = Output(adapter="gripper_command", action="g", joints=("g",), silence="hold_last")
    return OutputRunner(output, PERIOD, straight)


def values(sample: Sample | None) -> np.ndarray:
    assert sample is not None
    return sample.values


def test_nothing_is_sent_before_the_first_target() -> None:
    one = runner()
    assert one.sample(0.0, A) is None
    assert one.sample(99.0, A) is None


def test_the_first_target_is_approached_from_the_measured_position() -> None:
    one = runner()
    assert one.target(B, A, 0.0) is None
    np.testing.assert_array_equal(values(one.sample(0.0, A)), A)
    np.testing.assert_allclose(values(one.sample(0.05, A)), (A + B) / 2)
    np.testing.assert_array_equal(values(one.sample(PERIOD, A)), B)
    np.testing.assert_array_equal(values(one.sample(0.3, A)), B)


@settings(deadline=None)
@given(
    gaps=st.lists(st.floats(0.001, 0.3), min_size=1, max_size=8),
    targets=st.lists(st.floats(-1.0, 1.0), min_size=8, max_size=8),
)
def test_samples_are_continuous_and_never_pass_a_target(
    gaps: list[float], targets: list[float]
) -> None:
    output = Output(
        adapter="joint_state", topic="c", joints=("a",), rate_hz=100.0, silence="hold_last"
    )
    one = OutputRunner(output, PERIOD, straight)
    now, last = 0.0, 0.0
    for gap, target in zip(gaps, targets, strict=False):
        one.target(np.array([target]), np.array([0.0]), now)
        start, end = last, now + gap
        while now < end:
            now += 0.01
            value = float(values(one.sample(now, np.array([0.0])))[0])
            # No faster than the way to the target in one period.
            assert abs(value - last) <= abs(target - start) * 0.01 / PERIOD + 1e-9
            assert min(start, target) - 1e-9 <= value <= max(start, target) + 1e-9
            last = value


def test_an_output_without_rate_sends_each_target_once() -> None:
    one = runner(rate_hz=None)
    np.testing.assert_array_equal(values(one.target(B, A, 0.0)), B)
    one.hold(B, 0.1)
    assert one.mode is Mode.HOLDING


def test_hold_last_ends_at_the_last_target() -> None:
    one = runner("hold_last")
    one.target(B, A, 0.0)
    one.hold(B, 0.05)
    np.testing.assert_allclose(values(one.sample(0.05, A)), (A + B) / 2)
    for now in (0.2, 5.0, 500.0):
        np.testing.assert_array_equal(values(one.sample(now, A)), B)


def test_hold_measured_stops_at_once() -> None:
    one = runner("hold_measured")
    one.target(B, A, 0.0)
    measured = np.array([0.05, 0.7])
    one.hold(measured, 0.05)
    for now in (0.05, 0.2, 500.0):
        np.testing.assert_array_equal(values(one.sample(now, A)), measured)


def test_stop_sending_sends_nothing_until_the_next_target_from_the_measured_position() -> None:
    one = runner("stop_sending")
    one.target(B, A, 0.0)
    one.hold(B, 0.05)
    assert one.sample(0.06, A) is None
    moved = np.array([5.0, 5.0])
    one.target(B, moved, 1.0)
    np.testing.assert_array_equal(values(one.sample(1.0, moved)), moved)


def test_a_twist_is_zero_in_silence_and_starts_from_the_measured_pose() -> None:
    one = runner("zero")
    one.target(B, A, 0.0)
    sample = one.sample(0.05, A)
    assert sample is not None and not sample.zero
    one.hold(A, 0.1)
    for now in (0.1, 0.2, 500.0):
        sample = one.sample(now, A)
        assert sample is not None and sample.zero
    moved = np.array([5.0, 5.0])
    one.target(B, moved, 501.0)
    np.testing.assert_array_equal(values(one.sample(501.0, moved)), moved)


@pytest.mark.parametrize(
    ("silence", "mode"),
    [("hold_last", Mode.HOLDING), ("hold_measured", Mode.HOLDING),
     ("stop_sending", Mode.STOPPED), ("zero", Mode.ZERO)],
)
def test_an_output_that_hears_nothing_applies_its_rule_itself(silence: str, mode: Mode) -> None:
    one = runner(silence, silence_after_s=0.3)
    one.target(B, A, 0.0)
    one.sample(0.29, A)
    assert one.mode is Mode.MOVING
    sample = one.sample(0.31, A)
    assert one.mode is mode
    if silence == "hold_measured":
        np.testing.assert_array_equal(values(sample), A)
    elif silence == "hold_last":
        np.testing.assert_array_equal(values(sample), B)


def test_a_stopped_output_sends_nothing_and_starts_from_the_measured_position() -> None:
    one = runner()
    one.target(B, A, 0.0)
    one.stop()
    assert one.sample(0.05, A) is None
    moved = np.array([5.0, 5.0])
    one.target(B, moved, 1.0)
    np.testing.assert_array_equal(values(one.sample(1.0, moved)), moved)


@settings(deadline=None)
@given(times=st.lists(st.floats(0.0, 0.5), min_size=2, max_size=30), rest=st.booleans())
def test_with_a_largest_step_no_message_exceeds_it_however_late_and_the_target_is_reached(
    times: list[float], rest: bool
) -> None:
    one = runner("hold_measured", max_step=0.05)
    one.target(B, A, 0.0)
    last = A
    for now in sorted(times):
        if rest and now > 0.25 and one.mode is Mode.MOVING:
            one.hold(A, now)
        sent = values(one.sample(now, A))
        assert np.abs(sent - last).max() <= 0.05 + 1e-12
        last = sent
    one.target(B, A, 1.0)
    for i in range(30):
        sent = values(one.sample(1.2 + 0.001 * i, A))
    np.testing.assert_allclose(sent, B)


def test_a_gripper_goal_is_sent_on_change_only() -> None:
    one = gripper()
    half = np.array([0.5])
    np.testing.assert_array_equal(values(one.target(half, A[:1], 0.0)), half)
    assert one.target(half + 1e-4, A[:1], 0.5) is None
    assert one.sample(1.0, A[:1]) is None
    one.hold(half, 1.1)
    assert one.sample(2.0, A[:1]) is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 0.2), st.floats(0.0, 1.0)), min_size=1, max_size=40))
def test_gripper_goals_are_rare_and_the_last_one_arrives(steps: list[tuple[float, float]]) -> None:
    one = gripper()
    now, sent = 0.0, []
    for gap, ratio in steps:
        now += gap
        sample = one.target(np.array([ratio]), A[:1], now)
        if sample is not None:
            sent.append((now, float(sample.values[0])))
    sample = one.sample(now + 0.11, A[:1])
    if sample is not None:
        sent.append((now + 0.11, float(sample.values[0])))
    assert all(np.diff([time for time, _ in sent]) >= 0.1 - 1e-9)
    assert abs(sent[-1][1] - steps[-1][1]) < 1e-3


def test_in_lockstep_a_gripper_goal_goes_with_every_target() -> None:
    output = Output(adapter="gripper_command", action="g", joints=("g",), silence="hold_last")
    one = OutputRunner(output, PERIOD, straight, lockstep=True)
    for _ in range(3):  # at one and the same time: the simulated time is another
        np.testing.assert_array_equal(values(one.target(A[:1], A[:1], 0.0)), A[:1])
    np.testing.assert_array_equal(values(one.hold(A[:1], 0.0)), A[:1])


def test_a_goal_that_nobody_received_is_sent_again() -> None:
    one = gripper()
    one.target(np.array([0.5]), A[:1], 0.0)
    one.forget_goal()
    assert one.sample(0.05, A[:1]) is None  # but not at once
    np.testing.assert_array_equal(values(one.sample(0.2, A[:1])), [0.5])
