"""The mapping from a leader's joints to an embodiment's entries, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_teleop.leader.follower_map import FollowerMap, planar_end
from hiwm_teleop.leader.joint_angles import JointAngle
from hiwm_teleop.leader.leader_file import GripperFile, PlanarFile, load_leader
from hiwm_test_support.leader_rig import EMBODIMENT, FIXTURES, JOINTS

LEADER = load_leader(FIXTURES / "leaders.yaml")
TWO_ARMS = load_embodiment(EMBODIMENT)
PLANAR = load_embodiment("planar_bimanual")
CHAIN = PlanarFile(
    joints=("waist", "elbow"), links_m=(0.1, 0.05), base_m=(0.02, -0.1),
    drives=("right_x_joint", "right_y_joint"),
)


def changed(arm="left", joint="waist", **changes):
    joints = LEADER.arms[arm].joints
    joints = {**joints, joint: replace(joints[joint], **changes)}
    return with_arm(replace(LEADER.arms[arm], joints=joints), arm)


def with_arm(arm, name="left"):
    return replace(LEADER, arms={**LEADER.arms, name: arm})


def planar_leader():
    arm = LEADER.arms["right"]
    free = {name: replace(joint, drives=None) for name, joint in arm.joints.items()}
    gripper = replace(arm.gripper, drives=None)
    return replace(
        LEADER, arms={"right": replace(arm, joints=free, gripper=gripper, planar=CHAIN)}
    )


def pose(angles, opening=1.0):
    found = {
        name: JointAngle(rad=angle, share=0.5) for name, angle in zip(JOINTS, angles, strict=True)
    }
    return {**found, "gripper": JointAngle(rad=0.0, share=opening)}


def test_every_joint_leads_its_own_entry():
    mapped = FollowerMap(LEADER, TWO_ARMS, "leaders")
    values = mapped.values({
        "left": pose([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.25),
        "right": pose([-0.1, -0.2, -0.3, -0.4, -0.5, -0.6], 0.75),
    })
    action = np.full(14, np.nan)
    mapped.put(values, action)
    np.testing.assert_allclose(
        action, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.25, -0.1, -0.2, -0.3, -0.4, -0.5, -0.6, 0.75]
    )


def test_scale_offset_and_a_gripper_that_closes_upwards():
    leader = changed(scale=-2.0, offset_rad=0.5)
    gripper = GripperFile(id=7, model="xl330-m077", drives="left_gripper_joint", closed="upper")
    leader = replace(leader, arms={
        **leader.arms, "left": replace(leader.arms["left"], gripper=gripper),
    })
    mapped = FollowerMap(leader, TWO_ARMS, "leaders")
    values = mapped.values({"left": pose([0.1] + [0.0] * 5, 0.2), "right": pose([0.0] * 6)})
    assert values[0] == pytest.approx(0.3)
    assert values[6] == pytest.approx(0.8)


def test_guards_and_limits_are_those_of_file_and_embodiment():
    entries = FollowerMap(LEADER, TWO_ARMS, "leaders").entries(LEADER)
    assert [entry.guard for entry in entries[:7]] == [0.5] * 6 + [math.inf]
    assert {(entry.lower, entry.upper, entry.max_velocity) for entry in entries[:6]} == {
        (-2.8, 2.8, 1.5)
    }
    leader = planar_leader()
    entries = FollowerMap(leader, PLANAR, "leaders").entries(leader)
    assert [(entry.guard, entry.vector) for entry in entries] == [(0.05, "right")] * 2


@pytest.mark.parametrize(
    ("leader", "parts"),
    [
        (LEADER, ["embodiment planar_bimanual has no joint 'left_waist_joint'",
                  "leaders: arms.left.waist", "left_x_joint"]),
        (changed(drives="left_wast_joint"), ["no joint 'left_wast_joint'", "did you mean"]),
        (changed(drives="left_elbow_joint"), ["'left_elbow_joint' is driven twice"]),
        (changed(drives="left_gripper_joint"), ["is in 1, but waist gives rad"]),
        (planar_leader(), ["no joint 'right_x_joint'", "arms.right.planar"]),
    ],
)
def test_what_a_leader_cannot_lead_is_refused_by_name(leader, parts):
    embodiment = PLANAR if leader is LEADER else TWO_ARMS
    with pytest.raises(ConfigError) as refused:
        FollowerMap(leader, embodiment, "leaders")
    for part in parts:
        assert part in str(refused.value)


def test_a_leader_that_drives_nothing_is_refused():
    leader = planar_leader()
    idle = replace(leader, arms={"right": replace(leader.arms["right"], planar=None)})
    with pytest.raises(ConfigError, match="no joint drives anything"):
        FollowerMap(idle, PLANAR, "leaders")


def test_a_chain_in_the_plane_leads_a_planar_robot():
    leader = planar_leader()
    mapped = FollowerMap(leader, PLANAR, "leaders")
    assert [led.index for led in mapped.led] == [2, 3]
    values = mapped.values({"right": pose([math.pi / 2, 0, -math.pi / 2, 0, 0, 0])})
    np.testing.assert_allclose(values, [0.02 + 0.05, -0.1 + 0.1], atol=1e-12)


@given(first=st.floats(-3, 3), second=st.floats(-3, 3))
def test_the_end_of_a_chain_is_as_far_as_its_links_reach(first, second):
    angles = pose([first, 0, second, 0, 0, 0])
    x, y = planar_end(CHAIN, angles)
    reach = math.hypot(x - 0.02, y + 0.1)
    expected = math.sqrt(0.1**2 + 0.05**2 + 2 * 0.1 * 0.05 * math.cos(second))
    assert reach == pytest.approx(expected, abs=1e-9)
