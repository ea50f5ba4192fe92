"""Targets follow the request, within the leash and the limits."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hiwm_core.embodiment import load_embodiment, parse_embodiment
from hiwm_core.rotations import matrix_from_6d, vector_from_matrix
from hiwm_core.tips import TipStep
from hiwm_teleop.leash import LeashedTargets
from hiwm_test_support.robots import mixed_robot

EMBODIMENT = load_embodiment("planar_bimanual")
HOME = np.array(EMBODIMENT.home)
LEASH_M = EMBODIMENT.actions[0].max_following_error


@given(st.lists(arrays(float, 4, elements=st.floats(-0.05, 0.05)), min_size=1, max_size=20))
def test_never_farther_than_the_leash_nor_outside_the_limits(deltas):
    leash = LeashedTargets(EMBODIMENT)
    for delta in deltas:
        target = leash.move(delta, HOME, HOME)
        lead = (target - HOME).reshape(2, 2)
        assert (np.linalg.norm(lead, axis=1) <= LEASH_M + 1e-12).all()
        assert (target >= EMBODIMENT.lower).all()
        assert (target <= EMBODIMENT.upper).all()


def test_small_moves_add_up_and_an_idle_arm_keeps_its_target():
    leash = LeashedTargets(EMBODIMENT)
    step = np.array([0.002, 0.0, 0.0, 0.0])
    leash.move(step, HOME, HOME)
    # The right arm is pushed off by 1 mm: its target stays.
    target = leash.move(step, HOME + np.array([0, 0, 0.001, 0]), HOME)
    np.testing.assert_allclose(target, HOME + [0.004, 0, 0, 0], atol=1e-12)


def test_forgetting_starts_from_the_robots_position():
    leash = LeashedTargets(EMBODIMENT)
    leash.move(np.full(4, 0.005), HOME, HOME)
    leash.forget()
    np.testing.assert_allclose(leash.move(np.zeros(4), HOME, HOME + 0.01), HOME)


def test_a_gripper_starts_from_its_target_not_from_its_position():
    text = EMBODIMENT.text.replace(
        "proprioception:  ",
        "  - name: gripper\n    arm: left\n    kind: gripper\n"
        "    measured: {source: joint_states}\n    entries:\n"
        "      - {name: left_gripper, joint: left_gripper_joint, unit: \"1\", "
        "lower: 0.0, upper: 1.0, home: 1.0, max_velocity: 2.0, max_acceleration: 20.0, "
        "max_following_error: 1.0}\nproprioception:  ",
    )
    leash = LeashedTargets(parse_embodiment(text, "test"))
    measured, told = np.append(HOME, 0.4), np.append(HOME + 0.01, 0.0)
    np.testing.assert_allclose(leash.move(np.zeros(5), measured, told), np.append(HOME, 0.0))
    leash.forget()
    np.testing.assert_allclose(leash.move(np.zeros(5), measured, np.zeros(0)), measured)


def test_rotations_and_joints_are_on_a_leash_too():
    robot = mixed_robot()
    home, turn = np.array(robot.home), np.zeros(16)
    turn[4], turn[13], turn[15] = 1.0, 1.0, 1.0  # tilt, yaw, joint
    leash = LeashedTargets(robot)
    for _ in range(3):
        target = leash.move(turn, home, home)
    tilted = vector_from_matrix(matrix_from_6d(target[3:9]))
    np.testing.assert_allclose(tilted, [0.0, 0.4, 0.0], atol=1e-9)
    np.testing.assert_allclose(target[[13, 15]], [0.4, 0.2])


def test_tips_are_on_the_leash_of_their_joints_and_what_stops_them_is_said():
    robot = load_embodiment("yam_pair")
    home, still = np.array(robot.home), np.zeros(robot.action_dim)
    leash = LeashedTargets(robot)
    up = {"left": TipStep(displacement=np.array([0, 0, 0.02, 0, 0, 0]))}
    for _ in range(20):  # the arm does not follow
        target = leash.move(still, home, home, tips=up, seconds=0.1)
        assert (np.abs(target - home) <= robot.max_following_error + 1e-12).all()
    assert np.abs(target - home)[:6].max() > 0.25
    leash.forget()
    for _ in range(60):  # it does, to the edge of its reach
        home = leash.move(still, home, home, tips=up, seconds=0.1)
    assert "left at the" in leash.note
    leash.forget()
    assert leash.note == ""
    cartesian = load_embodiment("yam_pair_cartesian")
    home, leash = np.array(cartesian.home), LeashedTargets(cartesian)
    for _ in range(20):
        home = leash.move(np.zeros(10), home, home, tips=up, seconds=0.1)
    assert leash.note == "at the limit of left_z"


def test_entries_that_are_given_are_taken_as_they_are():
    robot = load_embodiment("yam_pair_cartesian")
    home, fixed = np.array(robot.home), np.full(10, np.nan)
    fixed[4], fixed[5] = 0.25, 9.0
    leash = LeashedTargets(robot)
    target = leash.move(np.full(10, 0.01), home, home, fixed=fixed)
    np.testing.assert_allclose(target[:6], [*(home[:4] + 0.01), 0.25, robot.upper[5]])


def test_an_arm_that_something_holds_back_is_named_and_one_that_lags_or_is_at_its_limit_is_not():
    step = np.array([0.008, 0.0, 0.0, 0.0])
    leash, notes = LeashedTargets(EMBODIMENT), []
    for _ in range(8):
        leash.move(step, HOME, HOME)
        notes.append(leash.note)
    assert not any(notes[:4]) and notes[-1] == "left held back by something"
    leash.forget()
    assert leash.note == ""

    measured = HOME.copy()
    for _ in range(8):  # full speed, at the end of the leash all the time
        target = leash.move(step, measured, HOME)
        assert leash.note == ""
        measured = measured + np.clip(target - measured, -0.004, 0.004)

    leash.forget()
    edge = np.where(np.arange(4) == 0, EMBODIMENT.upper, HOME)
    for _ in range(20):
        leash.move(4 * step, edge, HOME)
    assert leash.note == ""


def test_arms_that_press_against_each_other_are_named():
    robot = load_embodiment("yam_pair_cartesian")
    leash, place = LeashedTargets(robot), np.array(robot.home)
    inwards = {
        arm: TipStep(displacement=np.array([0, way, 0, 0, 0, 0]), frame="base")
        for arm, way in (("left", -0.0168), ("right", 0.0168))
    }
    for _ in range(12):
        leash.move(np.zeros(10), place, place, tips=inwards)
    for arm in ("left", "right"):
        assert f"{arm} held back by something" in leash.note
