"""Hands of a headset: clutched and relative, in the person's view; jumps and losses are found."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_console.hand_clutch import HandClutch, HandWatch
from hiwm_console.protocol import HandPose
from hiwm_core.embodiment import load_embodiment
from hiwm_core.rotations import vector_from_matrix
from hiwm_core.tips import Tips

JOINTS, CARTESIAN = load_embodiment("yam_pair"), load_embodiment("yam_pair_cartesian")
PAIRS = pytest.mark.parametrize("robot", [JOINTS, CARTESIAN], ids=["joints", "end effectors"])
ARMS = ("left", "right")
HAND = HandPose(arm=0, held=True, tracked=True, position=(0.1, 1.2, -0.3),
                rotation=(0.0, 0.0, 0.0, 1.0), trigger=0.0)


def moved(hand, x=0.0, y=0.0, z=0.0, about_y=0.0):
    """A hand farther right, up and towards the viewer, turned about the vertical."""
    half = 0.5 * about_y
    return replace(
        hand, position=tuple(np.add(hand.position, (x, y, z))),
        rotation=(0.0, math.sin(half), 0.0, math.cos(half)),
    )


@PAIRS
def test_an_arm_makes_its_hand_s_motion_since_the_grip_was_closed(robot):
    clutch, home = HandClutch(robot), np.array(robot.home)
    here = Tips(robot).pose("left", home)
    goals, _ = clutch.motion([HAND], home, "camera top", 1.0)
    np.testing.assert_allclose(goals["left"].position, here.position)
    assert set(goals) == {"left"}
    # The top camera sees x upwards, y to the left: right is -y, and away is x.
    goals, _ = clutch.motion([moved(HAND, 0.02, 0.03, -0.04, 0.2)], home, "camera top", 1.0)
    np.testing.assert_allclose(goals["left"].position - here.position, [0.04, -0.02, 0.03])
    turned = vector_from_matrix(goals["left"].rotation @ here.rotation.T)
    np.testing.assert_allclose(turned, [0, 0, 0.2], atol=1e-9)
    # The grip opens, the hand goes elsewhere, the grip closes: the arm stays.
    away = replace(moved(HAND, 0.5), held=False)
    assert clutch.motion([away], home, "camera top", 1.0)[0] == {}
    goals, _ = clutch.motion([moved(HAND, 0.5)], home, "camera top", 1.0)
    np.testing.assert_allclose(goals["left"].position, here.position)


def test_a_slower_arm_makes_a_share_of_the_motion_and_a_change_of_it_moves_nothing():
    clutch, home = HandClutch(JOINTS), np.array(JOINTS.home)
    here = Tips(JOINTS).pose("left", home)
    clutch.motion([HAND], home, "base", 0.25)
    goals, _ = clutch.motion([moved(HAND, 0.0, 0.08, 0.0, 0.4)], home, "base", 0.25)
    np.testing.assert_allclose(goals["left"].position - here.position, [0, 0, 0.02], atol=1e-12)
    turned = vector_from_matrix(goals["left"].rotation @ here.rotation.T)
    np.testing.assert_allclose(turned, [0, 0, 0.1], atol=1e-9)
    goals, _ = clutch.motion([moved(HAND, 0.0, 0.08, 0.0, 0.4)], home, "base", 1.0)
    np.testing.assert_allclose(goals["left"].position, here.position)


def test_a_trigger_is_the_gripper_once_it_has_come_to_it():
    clutch, target = HandClutch(JOINTS), np.array(JOINTS.home)
    target[6] = 0.0  # it holds something
    _, grippers = clutch.motion([HAND], target, "base", 1.0)
    assert np.isnan(grippers).all()
    _, grippers = clutch.motion([replace(HAND, trigger=1.0)], target, "base", 1.0)
    assert grippers[6] == 0.0
    _, grippers = clutch.motion([replace(HAND, trigger=0.4, held=False)], target, "base", 1.0)
    assert grippers[6] == pytest.approx(0.6) and np.isnan(np.delete(grippers, 6)).all()
    clutch.forget()
    assert np.isnan(clutch.motion([HAND], target, "base", 1.0)[1]).all()


def test_a_hand_for_an_arm_that_is_not_there_moves_nothing():
    clutch = HandClutch(load_embodiment("planar_bimanual"))
    goals, grippers = clutch.motion([HAND, replace(HAND, arm=7)], np.zeros(4), "base", 1.0)
    assert goals == {} and np.isnan(grippers).all()


@settings(max_examples=50, deadline=None)
@given(steps=st.lists(st.tuples(*[st.floats(-0.02, 0.02)] * 3, st.floats(-0.1, 0.1)),
                      max_size=20))
def test_a_hand_that_moves_as_people_do_is_trusted(steps):
    watch, hand, turn = HandWatch(), HAND, 0.0
    for number, (x, y, z, about_y) in enumerate(steps):
        turn += about_y
        hand = moved(hand, x, y, z, turn)
        assert watch.problem([hand], 14.0 * number, ARMS) == ""


def test_a_hand_that_jumps_or_is_not_seen_counts_as_lost_while_it_moves_an_arm():
    watch = HandWatch()
    assert watch.problem([HAND], 0.0, ARMS) == ""
    assert "left controller jumped by 0.40 m" in watch.problem([moved(HAND, 0.4)], 14.0, ARMS)
    turned = moved(HAND, 0.4, about_y=1.5)
    assert "jumped by 86 degrees" in watch.problem([turned], 28.0, ARMS)
    assert watch.problem([replace(HAND, held=False)], 42.0, ARMS) == ""
    assert watch.problem([HAND], 56.0, ARMS) == ""  # a closing grip may be anywhere
    unseen = replace(HAND, arm=1, tracked=False)
    assert watch.problem([unseen], 70.0, ARMS) == "the right controller has lost its tracking"
    assert watch.problem([replace(unseen, held=False)], 84.0, ARMS) == ""
    assert watch.problem([replace(HAND, arm=1)], 98.0, ARMS) == ""
    assert watch.problem([moved(replace(HAND, arm=1), 1.0)], 498.0, ARMS) == ""  # 0.4 s later
    assert watch.problem([], 512.0, ARMS) == "the right controller has disappeared"
    assert watch.problem([], 526.0, ARMS) == ""
    assert watch.problem([HAND], 540.0, ARMS) == ""
    watch.forget()  # another person's headset
    assert watch.problem([moved(HAND, 1.0)], 554.0, ARMS) == ""
