"""Motion of tips as targets of end effectors and of joints, in every frame, at every edge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.embodiment import load_embodiment, parse_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.kinematics import Pose
from hiwm_core.rotations import matrix_from_vector, vector_from_matrix
from hiwm_core.tips import BASE, TOOL, Tips, TipStep, tip_axes, tip_frames
from hiwm_test_support.robots import mixed_robot, spatial_arm

JOINTS, CARTESIAN = load_embodiment("yam_pair"), load_embodiment("yam_pair_cartesian")
HOME = np.array(JOINTS.home)
PAIRS = pytest.mark.parametrize("robot", [JOINTS, CARTESIAN], ids=["joints", "end effectors"])


def step(frame=BASE, **axes):
    names = ("x", "y", "z", "roll", "pitch", "yaw")
    return TipStep(displacement=np.array([axes.get(name, 0.0) for name in names]), frame=frame)


def drive(tips, target, motion, times, arm="left", seconds=0.02):
    """Return the targets [T, A] of a motion that is repeated."""
    found = []
    for _ in range(times):
        target = tips.move(target, {arm: motion}, seconds)
        found.append(target)
    return np.array(found)


def test_arms_with_a_pose_or_with_kinematics_have_a_tip():
    assert tip_axes(JOINTS, "left") == ("x", "y", "z", "roll", "pitch", "yaw")
    assert tip_axes(CARTESIAN, "right") == ("x", "y", "z", "yaw")
    assert tip_axes(mixed_robot(), "left") == ("x", "y", "z", "roll", "pitch", "yaw")
    assert tip_axes(spatial_arm(), "arm") == () == tip_frames(spatial_arm())
    assert tip_frames(JOINTS) == ("camera top", "base", "tool")
    assert Tips(JOINTS).arms == ("left", "right")


@PAIRS
def test_a_tip_goes_where_it_is_moved_and_the_other_arm_stays(robot):
    tips, home = Tips(robot), np.array(robot.home)
    before = tips.pose("left", home)
    target = drive(tips, home, step(x=0.002, y=-0.001, z=-0.001, yaw=-0.01), 20)[-1]
    after = tips.pose("left", target)
    np.testing.assert_allclose(after.position - before.position, [0.04, -0.02, -0.02], atol=5e-4)
    turned = vector_from_matrix(after.rotation @ before.rotation.T)
    np.testing.assert_allclose(turned, [0, 0, -0.2], atol=5e-3)
    half = robot.action_dim // 2
    np.testing.assert_array_equal(target[half:], home[half:])
    assert target[half - 1] == home[half - 1]  # the gripper
    assert tips.note == ""


@PAIRS
def test_the_camera_s_right_and_away_are_those_of_its_picture(robot):
    # The top camera sees x upwards and y to the left.
    tips, home = Tips(robot), np.array(robot.home)
    before = tips.pose("left", home).position
    target = drive(tips, home, step("camera top", x=0.002, y=0.001), 10)[-1]
    moved = tips.pose("left", target).position - before
    np.testing.assert_allclose(moved, [0.01, -0.02, 0.0], atol=5e-4)


def test_the_tool_s_axes_turn_with_it():
    tips = Tips(JOINTS)
    before = tips.pose("left", HOME)
    target = drive(tips, HOME, step(TOOL, z=-0.002), 10)[-1]
    moved = tips.pose("left", target).position - before.position
    np.testing.assert_allclose(moved, -0.02 * before.rotation[:, 2], atol=5e-4)
    assert moved[2] > 0.019  # the tool points down
    yawed = np.array(CARTESIAN.home)
    yawed[3] = 0.5
    moved = Tips(CARTESIAN).move(yawed, {"left": step(TOOL, x=0.01)}, 0.1) - yawed
    np.testing.assert_allclose(moved[:3], [0.01 * np.cos(0.5), 0.01 * np.sin(0.5), 0], atol=1e-9)


def test_an_arm_at_the_edge_of_its_reach_slides_along_and_says_so():
    tips = Tips(JOINTS)
    outward = drive(tips, HOME, step(x=0.004), 150)
    assert "left at the" in tips.note
    held = tips.pose("left", outward[-1])
    # Along the edge it still moves, with the tool's direction as it was.
    along = drive(tips, outward[-1], step(x=0.002, y=-0.003), 60)
    slid = tips.pose("left", along[-1])
    assert slid.position[1] < held.position[1] - 0.1
    before = tips.pose("left", HOME)
    for pose in (held, slid):
        turned = vector_from_matrix(pose.rotation @ before.rotation.T)
        assert np.linalg.norm(turned) < 0.08
    # The way back begins at once.
    back = drive(tips, along[-1], step(x=-0.004), 4)
    assert tips.pose("left", back[-1]).position[0] < slid.position[0] - 0.004
    drive(tips, back[-1], step(x=-0.004), 4)
    assert tips.note == ""
    # No joint swings at the edge: it turns back twice at most.
    ways = np.diff(outward[:, :6], axis=0)
    assert (ways[1:] * ways[:-1] < -1e-8).sum(axis=0).max() <= 2


motions = st.lists(
    st.tuples(
        st.sampled_from([BASE, TOOL, "camera top"]),
        st.lists(st.floats(-0.02, 0.02), min_size=3, max_size=3),
        st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=3),
        st.integers(1, 12),
    ), min_size=1, max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(motions=motions)
def test_joints_stay_finite_in_their_limits_and_below_their_speed(motions):
    tips, target = Tips(JOINTS), HOME
    for frame, ways, turns, times in motions:
        found = drive(tips, target, TipStep(displacement=np.array([*ways, *turns]), frame=frame),
                      times)
        assert np.isfinite(found).all()
        assert (found >= JOINTS.lower).all() and (found <= JOINTS.upper).all()
        way = np.abs(np.diff(np.vstack([target, found]), axis=0))
        assert (way <= JOINTS.max_velocity * 0.02 + 1e-9).all()
        target = found[-1]


def test_a_joint_at_its_limit_is_named():
    tips = Tips(JOINTS)
    drive(tips, HOME, step(TOOL, yaw=0.03), 200)
    assert tips.note.startswith("left at the limit of ") and "left_joint6" in tips.note
    tips.forget()
    assert tips.note == ""


def test_a_tip_that_is_no_longer_moved_stops_at_once_and_keeps_its_direction():
    tips = Tips(JOINTS)
    target = drive(tips, HOME, step(x=0.004), 150)[-1]
    np.testing.assert_array_equal(tips.move(target, {"left": step()}, 0.02), target)


@PAIRS
def test_a_goal_draws_the_tip_to_it(robot):
    tips, home = Tips(robot), np.array(robot.home)
    here = tips.pose("right", home)
    goal = Pose(
        position=here.position + [0.06, 0.05, -0.05],
        rotation=matrix_from_vector([0, 0, -0.3]) @ here.rotation,
    )
    targets = drive(tips, home, goal, 40, arm="right", seconds=0.05)
    there = tips.pose("right", targets[-1])
    np.testing.assert_allclose(there.position, goal.position, atol=1e-3)
    turned = vector_from_matrix(goal.rotation @ there.rotation.T)
    np.testing.assert_allclose(turned, np.zeros(3), atol=0.01)
    first = tips.pose("right", targets[0]).position - here.position
    assert np.linalg.norm(first) < 0.05  # not at once


def test_an_arm_without_a_tip_is_left_alone():
    robot = spatial_arm()
    home = np.array(robot.home)
    np.testing.assert_array_equal(Tips(robot).move(home, {"arm": step(x=1.0)}, 0.1), home)


@pytest.mark.parametrize(("before", "after", "where", "said"), [
    ("tip: left_tip", "tip: left_hand", "group left_arm: kinematics", "no link 'left_hand'"),
    ("urdf: yam_pair.urdf", "urdf: other.urdf", "group left_arm: kinematics", "no URDF"),
])
def test_wrong_kinematics_are_named(before, after, where, said):
    robot = parse_embodiment(JOINTS.text.replace(before, after), "mine.yaml")
    with pytest.raises(ConfigError, match=said) as caught:
        Tips(robot)
    assert where in caught.value.where


def test_only_joints_have_kinematics_and_they_leave_the_hash():
    text = CARTESIAN.text.replace(
        "    tip: left_tip\n", "    tip: left_tip\n    kinematics: {urdf: a.urdf, tip: b}\n"
    )
    with pytest.raises(ConfigError, match="kind ee_position does not use kinematics"):
        parse_embodiment(text, "mine.yaml")
    plain = "\n".join(line for line in JOINTS.text.splitlines() if "kinematics:" not in line)
    plain = plain.replace(", away_rad: 0", "")
    assert "away_rad" not in plain and parse_embodiment(plain, "a").hash == JOINTS.hash
