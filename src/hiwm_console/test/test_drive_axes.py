"""The axes of a page as displacements of entries and of tips."""

import numpy as np
import pytest

from hiwm_console.drive_axes import ANGULAR_RAD_S, LINEAR_M_S, DriveAxes
from hiwm_core.embodiment import load_embodiment
from hiwm_core.tips import Tips


def test_an_arm_of_joints_has_an_axis_for_each_joint_and_six_for_its_tip() -> None:
    robot = load_embodiment("yam_pair")
    axes = DriveAxes(robot)
    assert axes.size == 14 + 12
    assert axes.planes == [(14, 15), (20, 21)]
    described = axes.described()
    assert (described["axes"], described["frames"]) == (26, ["camera top", "base", "tool"])
    tips = {group["name"]: (group["tip"], len(group["tip_axes"])) for group in described["groups"]}
    assert tips == {"left_arm": (14, 6), "left_gripper": (None, 0), "right_arm": (20, 6),
                    "right_gripper": (None, 0)}
    held = np.zeros(26)
    held[[0, 6, 20, 25]] = 1.0, -1.0, 0.5, -1.0  # a joint, a gripper, the right tip's x and yaw
    delta, moved = axes.motion(held, "tool", 0.5, 0.1)
    assert delta[0] == pytest.approx(0.5 * 0.1 * 1.5) and delta[6] == pytest.approx(-0.5 * 0.1 * 3)
    assert not np.delete(delta, [0, 6]).any()
    assert set(moved) == {"right"} and moved["right"].frame == "tool"
    np.testing.assert_allclose(
        moved["right"].displacement,
        [0.025 * LINEAR_M_S, 0, 0, 0, 0, -0.05 * ANGULAR_RAD_S],
    )


def test_an_end_effector_moves_at_the_speed_of_its_entries() -> None:
    axes = DriveAxes(load_embodiment("yam_pair_cartesian"))
    held = np.zeros(axes.size)
    held[10:16] = 1.0
    delta, moved = axes.motion(held, "base", 1.0, 0.1)
    assert not delta.any()
    np.testing.assert_allclose(
        moved["left"].displacement, [0.025, 0.025, 0.025, 0.15, 0.15, 0.15]
    )


def test_planar_arms_have_their_entries_only() -> None:
    axes = DriveAxes(load_embodiment("planar_bimanual"))
    assert (axes.size, axes.planes, axes.described()["frames"]) == (4, [(0, 1), (2, 3)], [])


def test_where_tips_are_is_told_with_the_yaw_of_those_that_only_turn_so() -> None:
    robot = load_embodiment("yam_pair_cartesian")
    measured = np.array(robot.home)
    measured[[2, 3]] = 0.05, -0.4
    assert DriveAxes(robot).places(Tips(robot), measured) == {
        "left": [0.18, 0.21, 0.05, -0.4], "right": [0.18, -0.21, 0.18, 1.5708],
    }
    joints = load_embodiment("yam_pair")
    places = DriveAxes(joints).places(Tips(joints), np.array(joints.home))
    assert [len(place) for place in places.values()] == [3, 3]
    planar = load_embodiment("planar_bimanual")
    assert DriveAxes(planar).places(Tips(planar), np.array(planar.home)) == {}
