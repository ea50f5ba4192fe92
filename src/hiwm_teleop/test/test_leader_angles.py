"""Counts as angles: signs, zeros, turns, fractions of the range."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_core.errors import DeviceError
from hiwm_teleop.leader.joint_angles import RAD_PER_COUNT, JointAngles
from hiwm_teleop.leader.leader_file import load_leader
from hiwm_test_support.leader_rig import FIXTURES, OPEN_COUNTS, SIGN, ZERO, calibration

SETTINGS = load_leader(FIXTURES / "leaders.yaml")
ARM = SETTINGS.arms["left"]
CALIBRATION = calibration(SETTINGS, "left")
REST = [ZERO[servo] for servo in range(1, 8)]


def test_in_the_calibration_pose_the_angles_are_the_poses():
    joints = {**ARM.joints, "elbow": replace(ARM.joints["elbow"], pose_rad=1.2)}
    angles = JointAngles(replace(ARM, joints=joints), CALIBRATION).angles(REST)
    assert angles["waist"].rad == 0.0
    assert angles["elbow"].rad == pytest.approx(1.2)
    assert angles["gripper"].share == 0.0
    assert angles["waist"].share == pytest.approx(0.5)


@given(
    angles=st.lists(st.floats(-2.9, 2.9), min_size=6, max_size=6), opening=st.floats(0, 1),
    turns=st.lists(st.integers(-3, 3), min_size=7, max_size=7),
)
def test_any_pose_is_read_back_whatever_whole_turns_servos_add(angles, opening, turns):
    counts = [
        ZERO[servo] + round(SIGN[servo] * angle / RAD_PER_COUNT)
        for servo, angle in enumerate(angles, 1)
    ]
    counts.append(ZERO[7] + round(opening * OPEN_COUNTS))
    counts = [raw + 4096 * turn for raw, turn in zip(counts, turns, strict=True)]
    found = JointAngles(ARM, CALIBRATION).angles(counts)
    for joint, angle in zip(ARM.joints, angles, strict=True):
        assert found[joint].rad == pytest.approx(angle, abs=RAD_PER_COUNT)
        assert 0.0 <= found[joint].share <= 1.0
    assert found["gripper"].share == pytest.approx(opening, abs=1 / abs(OPEN_COUNTS))


@given(steps=st.lists(st.integers(-900, 900), max_size=60))
def test_an_angle_continues_where_the_servos_counts_wrap(steps):
    joints = JointAngles(ARM, CALIBRATION)
    joints.angles(REST)
    turned = 0
    for step in steps:
        turned += step
        counts = [(ZERO[1] + turned) % 4096, *REST[1:]]
        assert joints.angles(counts)["waist"].rad == pytest.approx(turned * RAD_PER_COUNT)


def test_after_a_loss_the_turn_is_found_again():
    joints = JointAngles(ARM, CALIBRATION)
    for turned in range(0, 4096, 512):
        joints.angles([(ZERO[1] + turned) % 4096, *REST[1:]])
    around = joints.angles(REST)["waist"].rad
    assert around == pytest.approx(2 * math.pi)
    joints.forget()
    assert joints.angles(REST)["waist"].rad == pytest.approx(0.0)


def test_a_joint_far_outside_its_range_is_another_arms():
    joints = JointAngles(ARM, CALIBRATION)
    joints.check_range(REST, "port")
    beyond = [*REST[:6], REST[6] + round(math.radians(30) / RAD_PER_COUNT)]
    with pytest.raises(DeviceError, match="gripper is 30 degrees outside .*port.*calibrate"):
        joints.check_range(beyond, "port")
