"""Joint states with other names, other units, and only some of the joints."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.robots.sources import GripperMap, JointSource
from hiwm_robot.joint_source import JointSourceState

S = 10**9
SOURCE = JointSource(topic="t", joints={
    "waist": "left_waist", "arm_1/elbow": "left_elbow",
    "left_finger": GripperMap(joint="left_gripper", shut=0.044, open=0.058),
})


def test_names_are_translated_and_grippers_become_ratios() -> None:
    state = JointSourceState(SOURCE)
    problem = state.message(
        ["left_finger", "wheel", "waist", "arm_1/elbow"], [0.051, 9.0, 0.1, 0.2],
        [0.014, 0.0, 1.0, 2.0], [3.0, 0.0, 4.0, 5.0], S, 0.0,
    )
    assert problem == ""
    assert state.names == ("left_waist", "left_elbow", "left_gripper")
    np.testing.assert_allclose(state.position, [0.1, 0.2, 0.5])
    np.testing.assert_allclose(state.velocity, [1.0, 2.0, 1.0])  # per second of ratio
    np.testing.assert_allclose(state.effort, [4.0, 5.0, 3.0])


def test_missing_velocities_are_not_numbers() -> None:
    state = JointSourceState(SOURCE)
    state.message(["waist"], [0.1], [], [], S, 0.0)
    assert np.isnan(state.velocity[0]) and np.isnan(state.effort[0])


def test_partial_messages_complete_each_other_and_the_oldest_part_counts() -> None:
    state = JointSourceState(SOURCE)
    state.message(["waist"], [0.1], [], [], 3 * S, 1.0)
    assert not state.complete and state.age(1.0) == np.inf
    assert state.missing == ["arm_1/elbow", "left_finger"]
    state.message(["left_finger", "arm_1/elbow"], [0.044, 0.2], [], [], 3 * S, 2.0)
    assert state.complete
    state.message(["waist"], [0.3], [], [], 4 * S, 3.0)
    np.testing.assert_allclose(state.position, [0.3, 0.2, 0.0])
    assert state.stamp_ns == 3 * S and state.age(4.0) == 2.0


def test_a_joint_that_stops_coming_ages_although_the_others_come() -> None:
    state = JointSourceState(SOURCE)
    state.message(["waist", "arm_1/elbow", "left_finger"], [0.0] * 3, [], [], S, 0.0)
    for i in range(1, 10):
        state.message(["waist", "arm_1/elbow"], [0.0] * 2, [], [], S + i, 0.1 * i)
    assert state.age(0.9) == pytest.approx(0.9)


def test_a_restarted_driver_starts_from_nothing() -> None:
    state = JointSourceState(SOURCE)
    state.message(["waist", "arm_1/elbow", "left_finger"], [0.0] * 3, [], [], 100 * S, 0.0)
    state.message(["waist"], [0.1], [], [], S, 0.1)
    assert not state.complete and state.missing == ["arm_1/elbow", "left_finger"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_interleaving_keeps_the_newest_value_of_each_joint(data: st.DataObject) -> None:
    drivers = ["waist", "arm_1/elbow"]
    state = JointSourceState(JointSource(topic="t", joints=tuple(drivers)))
    newest: dict[str, float] = {}
    for i in range(data.draw(st.integers(1, 20))):
        names = data.draw(st.permutations([*drivers, "other"]))
        names = names[: data.draw(st.integers(1, 3))]
        values = [float(i) + len(name) for name in names]
        assert state.message(names, values, [], [], S + i, 0.01 * i) == ""
        newest |= {n: v for n, v in zip(names, values, strict=True) if n in drivers}
    assert state.complete == (len(newest) == 2)
    for name, value in newest.items():
        assert state.position[drivers.index(name)] == value
