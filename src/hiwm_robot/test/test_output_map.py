"""What outputs send for an action: units, order, poses and twists."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.embodiment import load_embodiment, parse_embodiment
from hiwm_core.robot_config import load_robot
from hiwm_core.robots.outputs import FullScale, Output
from hiwm_core.robots.sources import GripperMap
from hiwm_core.rotations import matrix_from_quaternion, matrix_from_vector, sixd_from_matrix
from hiwm_robot.output_map import OutputMap, holds_last
from hiwm_test_support.robots import mixed_robot

MIXED = mixed_robot()
NAMES = [entry.name for entry in MIXED.actions]
HOME = np.array(MIXED.home)


def made(**changes: Any) -> OutputMap:
    given: dict[str, Any] = {"topic": "t", "silence": "hold_last", **changes}
    if given["adapter"].startswith("twist"):
        given |= {"silence": "zero", "rate_hz": 100.0}
    if given["adapter"] in ("twist_stamped", "pose_stamped"):
        given |= {"frame": "base"}
    return OutputMap(MIXED, Output(**given))


def sent(one: OutputMap, action: np.ndarray, measured: np.ndarray | None = None) -> np.ndarray:
    start = HOME if measured is None else measured
    return one.message_values(action[one.entries], start[one.entries], zero=False)


def turned(vector: list[float]) -> np.ndarray:
    action = HOME.copy()
    action[3:9] = sixd_from_matrix(matrix_from_vector(vector))
    return action


def test_joints_are_sent_in_the_outputs_order_and_grippers_in_the_drivers_unit() -> None:
    action = np.arange(len(NAMES), dtype=float)
    one = made(adapter="float64_multi_array", joints={
        "wrist": "w", "left_finger": GripperMap(joint="f", shut=1.0, open=3.0), "column": "c",
    })
    expected = [action[NAMES.index("wrist")], 1.0 + 2.0 * action[NAMES.index("left_gripper")],
                action[NAMES.index("column")]]
    np.testing.assert_array_equal(sent(one, action), expected)


def test_a_6d_rotation_becomes_a_quaternion_and_need_not_be_orthonormal() -> None:
    one = made(adapter="pose_stamped", group="left")
    action = turned([0.0, 0.0, 1.0])
    action[3:6] *= 1.3
    values = sent(one, action)
    np.testing.assert_array_equal(values[:3], HOME[:3])
    np.testing.assert_allclose(
        matrix_from_quaternion(values[3:]), matrix_from_vector([0.0, 0.0, 1.0]), atol=1e-12
    )


def test_yaw_turns_the_tools_orientation() -> None:
    down = (1.0, 0.0, 0.0, 0.0)
    one = made(adapter="pose_stamped", group="right", orientation=down)
    action = HOME.copy()
    action[NAMES.index("right_yaw")] = 0.5
    expected = matrix_from_vector([0.0, 0.0, 0.5]) @ matrix_from_quaternion(down)
    np.testing.assert_allclose(matrix_from_quaternion(sent(one, action)[3:]), expected, atol=1e-12)


def test_a_6d_rotation_turns_at_a_constant_speed_between_two_targets() -> None:
    one = made(adapter="pose_stamped", group="left", rate_hz=100.0)
    axis = np.array([1.0, 2.0, -2.0]) / 3.0
    start, goal = turned(list(0.3 * axis)), turned(list(2.7 * axis))
    goal[:3] += 0.1
    for share in (0.0, 0.25, 0.5, 0.9, 1.0):
        values = one.between(start[one.entries], goal[one.entries], share)
        np.testing.assert_allclose(values[:3], start[:3] + 0.1 * share, atol=1e-12)
        np.testing.assert_allclose(
            values[3:], turned(list((0.3 + 2.4 * share) * axis))[3:9], atol=1e-9
        )


@pytest.mark.parametrize(("limit", "halfway"), [(3.1416, np.pi), (3.11, 0.0)])
def test_a_yaw_takes_the_short_way_round_unless_its_limits_are_in_the_way(
    limit: float, halfway: float
) -> None:
    text = MIXED.text.replace("lower: -3.1416, upper: 3.1416", f"lower: -{limit}, upper: {limit}")
    output = Output(
        adapter="pose_stamped", topic="t", group="right", frame="base", silence="hold_last",
        rate_hz=100.0,
    )
    one = OutputMap(parse_embodiment(text, "test"), output)
    start, goal = HOME[one.entries].copy(), HOME[one.entries].copy()
    start[3], goal[3] = 3.1, -3.1
    assert abs(one.between(start, goal, 0.5)[3]) == pytest.approx(halfway, abs=1e-9)


def test_a_twist_follows_its_target_within_the_speed_limits() -> None:
    one = made(adapter="twist", group="left", gain_per_s=2.0)
    action = turned([0.1, 0.0, 0.0])
    action[0] += 0.05
    np.testing.assert_allclose(sent(one, action), [0.1, 0, 0, 0.2, 0, 0], atol=1e-9)
    action = turned([0.0, 2.0, 0.0])
    action[:3] += [0.0, 3.0, 4.0]
    fast = sent(one, action)
    assert np.linalg.norm(fast[:3]) == pytest.approx(0.3)
    assert np.linalg.norm(fast[3:]) == pytest.approx(1.5)
    np.testing.assert_array_equal(one.message_values(action[:9], HOME[:9], zero=True), np.zeros(6))


def test_a_twist_along_the_tools_axes_is_turned_into_them() -> None:
    base = made(adapter="twist", group="left", gain_per_s=1.0)
    tool = made(adapter="twist", group="left", gain_per_s=1.0, tool_axes=True)
    measured = turned([0.0, 0.0, np.pi / 2])  # the tool's x axis is the frame's y axis
    action = turned([0.0, 0.1, np.pi / 2])
    action[:2] += [0.01, 0.02]
    along_frame, along_tool = sent(base, action, measured), sent(tool, action, measured)
    quarter = matrix_from_vector([0.0, 0.0, np.pi / 2])
    np.testing.assert_allclose(quarter @ along_tool[:3], along_frame[:3], atol=1e-12)
    np.testing.assert_allclose(quarter @ along_tool[3:], along_frame[3:], atol=1e-12)
    np.testing.assert_allclose(along_tool[:2], [along_frame[1], -along_frame[0]], atol=1e-12)


def test_a_unitless_twist_is_a_share_of_full_scale() -> None:
    scale = FullScale(linear_m_per_s=0.4, rotational_rad_per_s=0.8)
    one = made(adapter="twist_stamped", group="right", gain_per_s=2.0, full_scale=scale)
    action = HOME.copy()
    action[NAMES.index("right_x")] += 0.05
    action[NAMES.index("right_yaw")] += 3.0
    np.testing.assert_allclose(sent(one, action), [0.25, 0, 0, 0, 0, 1.0], atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    step=st.tuples(*[st.floats(-0.3, 0.3)] * 3), turn=st.tuples(*[st.floats(-1.0, 1.0)] * 3)
)
def test_a_followed_twist_arrives(
    step: tuple[float, float, float], turn: tuple[float, float, float]
) -> None:
    one = made(adapter="twist", group="left", gain_per_s=3.0)
    goal, arm = turned(list(turn))[:9], HOME[:9].copy()
    goal[:3] += step
    for _ in range(600):
        twist = one.message_values(goal, arm, zero=False)
        rotation = matrix_from_vector(0.01 * twist[3:]) @ np.stack(
            [arm[3:6], arm[6:9], np.cross(arm[3:6], arm[6:9])], axis=1
        )
        arm = np.concatenate([arm[:3] + 0.01 * twist[:3], sixd_from_matrix(rotation)])
    np.testing.assert_allclose(arm, goal, atol=1e-3)


def test_entries_hold_as_their_output_says() -> None:
    planar = load_embodiment("planar_bimanual")
    assert not holds_last(load_robot("standin"), planar).any()
    common: dict[str, Any] = {"adapter": "float64_multi_array"}
    outputs = {
        silence: Output(**common, topic=silence, joints=(joint,), silence=silence)
        for silence, joint in zip(
            ("hold_last", "stop_sending", "hold_measured"), planar.joint_names, strict=False
        )
    }
    held = holds_last(replace(load_robot("standin"), outputs=outputs), planar)
    assert held.tolist() == [True, False, False, False]
