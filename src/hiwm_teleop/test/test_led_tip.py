"""A leader's tip leads the tip of a Cartesian robot, in position, yaw and rotation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.rotations import matrix_from_6d, matrix_from_vector, sixd_from_matrix
from hiwm_core.tips import Tips
from hiwm_teleop.leader.follower_map import FollowerMap
from hiwm_teleop.leader.following import Following
from hiwm_teleop.leader.joint_angles import JointAngle
from hiwm_teleop.leader.leader_file import JointFile, TipFile, load_leader
from hiwm_test_support.leader_rig import FIXTURES
from hiwm_test_support.robots import mixed_robot

JOINTS = tuple(f"left_joint{number}" for number in range(1, 7))
PAIR, TIPS = load_embodiment("yam_pair"), load_embodiment("yam_pair_cartesian")
HOME = list(PAIR.home[:6])


def leader(drives="left_tip", **tip):
    """A leader with the shape of the stand-in's left arm, which drives one end effector."""
    given = load_leader(FIXTURES / "leaders.yaml")
    joints = {
        name: JointFile(id=number, model="xl330-m288")
        for number, name in enumerate(JOINTS, 1)
    }
    end = TipFile(urdf="yam_pair.urdf", link="left_tip", drives=drives, **tip)
    arm = replace(given.arms["left"], joints=joints, gripper=None, tip=end)
    return replace(given, arms={"left": arm})


def pose(angles):
    return {"left": {
        name: JointAngle(rad=angle, share=0.5) for name, angle in zip(JOINTS, angles, strict=True)
    }}


def test_the_follower_s_position_and_yaw_are_the_leader_s():
    mapped = FollowerMap(leader(), TIPS, "leader")
    values = mapped.values(pose(HOME))
    np.testing.assert_allclose(values, TIPS.home[:4], atol=1e-3)
    action = np.array(TIPS.home)
    mapped.put(values + 0.01, action)
    np.testing.assert_allclose(action[:4], values + 0.01)
    np.testing.assert_allclose(action[4:], TIPS.home[4:])
    entries = mapped.entries(leader())
    assert [(entry.vector, entry.guard) for entry in entries] == [("left", 0.05)] * 3 + [("", 0.5)]


def test_a_leader_elsewhere_of_another_size_leads_with_its_base_and_scale():
    plain = FollowerMap(leader(), TIPS, "leader").values(pose(HOME))
    placed = FollowerMap(
        leader(base_m=(0.1, 0.2, 0.3), base_yaw_rad=math.pi / 2, scale=2.0), TIPS, "leader"
    ).values(pose(HOME))
    x, y, z, yaw = plain
    np.testing.assert_allclose(placed[:3], [0.1 - 2 * y, 0.2 + 2 * x, 0.3 + 2 * z], atol=1e-9)
    assert math.cos(placed[3] - yaw - math.pi / 2) == pytest.approx(1.0)


def test_a_yaw_is_the_one_nearest_to_the_follower_s():
    mapped = FollowerMap(leader(tool_turn_rad=(0.0, 0.0, 3.0)), TIPS, "leader")
    action = np.array(TIPS.home)
    mapped.begin(action)
    apart = mapped.values(pose(HOME))[3] - action[3]
    assert abs(apart) <= math.pi and abs(apart) == pytest.approx(3.0, abs=0.01)


@settings(max_examples=15, deadline=None)
@given(
    turns=st.lists(st.lists(st.floats(-0.2, 0.2), min_size=6, max_size=6), min_size=1,
                   max_size=15),
    start=st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3),
)
def test_a_rotation_of_six_numbers_follows_without_a_jump_and_ends_where_the_leader_is(
    turns, start
):
    robot = mixed_robot()
    mapped = FollowerMap(leader("left"), robot, "leader")
    action = np.array(robot.home)
    action[3:9] = sixd_from_matrix(matrix_from_vector(start))
    mapped.begin(action)
    np.testing.assert_allclose(mapped.following(action)[3:], 0.0, atol=1e-7)
    angles, before = np.array(HOME), None
    for turn in [np.zeros(6), *turns]:
        angles = angles + turn
        channels = mapped.values(pose(angles))
        if before is not None:  # each joint turns the tool by no more than itself
            way = np.linalg.norm(channels[3:] - before[3:])
            assert way <= 4.0 * np.abs(turn).sum() + 1e-6
        before = channels
        led = action.copy()
        mapped.put(channels, led)
        wanted = Tips(PAIR).pose("left", np.array([*angles, *PAIR.home[6:]])).rotation
        np.testing.assert_allclose(matrix_from_6d(led[3:9]), wanted, atol=1e-6)


def test_the_follower_begins_where_it_is_and_comes_to_the_leader_as_that_moves():
    mapped = FollowerMap(leader(), TIPS, "leader")
    following = Following(mapped.entries(leader()))
    action = np.array(TIPS.home)
    action[:3] += [0.02, -0.02, 0.01]
    mapped.begin(action)
    first = following.follow(mapped.values(pose(HOME)), mapped.following(action), 0.02,
                             clutch=False)
    np.testing.assert_allclose(first, action[:4], atol=1e-9)
    angles = np.array(HOME)
    for number in range(400):
        angles[:3] = np.array(HOME[:3]) + 0.2 * math.sin(0.02 * number)
        led = mapped.values(pose(angles))
        target = following.follow(led, first, 0.02, clutch=False)
    np.testing.assert_allclose(target, np.clip(led, TIPS.lower[:4], TIPS.upper[:4]), atol=0.005)


@pytest.mark.parametrize(("drives", "changes", "said"), [
    ("left_arm", {}, "no end effector 'left_arm'.*it has left_tip, right_tip"),
    ("left_tip", {"link": "left_hand"}, "no link 'left_hand'"),
    ("left_tip", {"link": "right_tip"}, "depends on right_joint1"),
    ("left_tip", {"urdf": "other.urdf"}, "no URDF"),
])
def test_a_tip_that_does_not_fit_is_refused_by_name(drives, changes, said):
    given = leader(drives)
    end = replace(given.arms["left"].tip, **changes)
    wrong = replace(given, arms={"left": replace(given.arms["left"], tip=end)})
    with pytest.raises(ConfigError, match=said) as refused:
        FollowerMap(wrong, TIPS, "leader")
    assert "leader: arms.left.tip" in str(refused.value)
