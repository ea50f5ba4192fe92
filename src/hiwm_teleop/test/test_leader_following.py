"""The follower never jumps to its leader, and moves only when the leader does."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_teleop.leader.following import CONVERGE, LONGEST_STEP_S, FollowedEntry, Following

DT = 0.01


def entry(**changes):
    return FollowedEntry(**{
        "arm": "a", "lower": -2.0, "upper": 2.0, "max_velocity": 1.0, "guard": math.inf,
        "noise": 0.005, **changes,
    })


def start(leader, measured, **changes):
    following = Following([entry(**changes)])
    target = following.follow(np.array([leader]), np.array([measured]), DT, clutch=False)
    return following, float(target[0])


def lead(following, leader, dt=DT, clutch=False):
    return float(following.follow(np.array([leader]), np.array([99.0]), dt, clutch=clutch)[0])


angle = st.floats(-4.0, 4.0)
moment = st.tuples(angle, angle, angle, st.floats(0.0, 0.5), st.booleans())


@settings(deadline=None, max_examples=60)
@given(
    measured=st.tuples(angle, angle, angle), moments=st.lists(moment, min_size=1, max_size=40),
    guard=st.sampled_from([0.3, 1.0, math.inf]),
)
def test_no_step_is_longer_than_the_follower_may_move(measured, moments, guard):
    """For any leader, clutch and time: jumps, pauses, wild turns."""
    following = Following([
        entry(guard=guard), entry(vector="xy", max_velocity=0.5, guard=guard),
        entry(vector="xy", arm="b", max_velocity=0.4, guard=guard),
    ])
    before = np.array(measured)
    for x, y, z, dt, clutch in moments:
        target = following.follow(
            np.array([x, y, z]), np.array(measured), dt, clutch=clutch
        )
        step, most = target - before, min(dt, LONGEST_STEP_S)
        assert abs(step[0]) <= 1.0 * most + 1e-12
        assert np.linalg.norm(step[1:]) <= 0.4 * most + 1e-12
        # Within the box, or on the way back into it.
        assert np.all(np.maximum(np.abs(target), 2.0) <= np.maximum(np.abs(before), 2.0) + 1e-12)
        if clutch:
            np.testing.assert_array_equal(target, before)
        before = target


@settings(deadline=None, max_examples=60)
@given(leader=angle, measured=st.floats(-2.0, 2.0), noise=st.lists(st.floats(-0.002, 0.002)))
def test_a_leader_at_rest_moves_nothing(leader, measured, noise):
    """Its servos tremble by a count; at rest nothing converges either."""
    following, target = start(leader, measured)
    assert target == pytest.approx(measured)
    for tremble in noise:
        assert abs(lead(following, leader + tremble) - measured) <= abs(tremble) + 1e-12


@settings(deadline=None, max_examples=60)
@given(
    leader=st.floats(-1.0, 1.0), measured=st.floats(-1.0, 1.0),
    steps=st.lists(st.floats(-0.005, 0.005), max_size=60),
)
def test_the_follower_goes_the_leaders_way_and_comes_nearer(leader, measured, steps):
    following, target = start(leader, measured)
    apart = abs(target - leader)
    began = leader
    for step in steps:
        leader += step
        now = lead(following, leader)
        assert abs(now - leader) <= apart + 1e-9
        apart = abs(now - leader)
    # In total, the difference shrank by at most a fraction of the leader's motion.
    way = sum(abs(step) for step in steps)
    assert abs(measured - began) - apart <= CONVERGE * way + 1e-9


def test_after_enough_movement_the_follower_is_where_the_leader_points():
    following, target = start(0.5, -0.3)
    leader = 0.5
    for i in range(1600):
        leader = 0.5 + 0.3 * math.sin(i * DT)
        target = lead(following, leader)
    assert target == pytest.approx(leader, abs=1e-9)


def test_a_quick_leader_is_caught_up_with_at_the_speed_allowed():
    following, _ = start(0.0, 0.0)
    targets = [lead(following, 1.0) for _ in range(120)]
    np.testing.assert_allclose(np.diff([0.0, *targets[:100]]), DT, atol=1e-12)
    assert targets[-1] == pytest.approx(1.0)


def test_a_node_held_up_does_not_catch_up_at_once():
    following, _ = start(0.0, 0.0)
    assert lead(following, 1.0, dt=30.0) == pytest.approx(LONGEST_STEP_S)


def test_the_clutch_frees_the_leader_and_the_difference_stays():
    following, _ = start(0.2, 0.2)
    for i in range(50):
        assert lead(following, 0.2 + 0.01 * i, clutch=True) == pytest.approx(0.2)
    offset = lead(following, 0.7) - 0.7
    assert offset == pytest.approx(-0.5)
    leader = 0.7
    for i in range(100):
        leader = 0.7 + 0.2 * math.sin(0.02 * i)
        target = lead(following, leader)
    assert target - leader == pytest.approx(offset)


def test_a_far_leader_is_waited_for_and_the_other_arm_is_not():
    following = Following([
        entry(arm="left", guard=0.3), entry(arm="left", guard=0.3), entry(arm="right", guard=0.3),
    ])
    measured = np.array([0.0, 1.0, -0.5])
    leader = np.array([0.1, 0.0, -0.4])
    for _ in range(20):
        leader += 0.005
        target = following.follow(leader, measured, DT, clutch=False)
    np.testing.assert_array_equal(target[:2], measured[:2])
    assert target[2] > -0.5 + 0.04
    assert following.gaps == [(1, pytest.approx(1.0 - 0.1))]
    for _ in range(200):
        leader[1] += 0.005
        before, target = target, following.follow(leader, measured, DT, clutch=False)
        assert np.abs(target - before).max() <= 0.005 * (1 + CONVERGE) + 1e-9
    assert following.gaps == []
    assert target[1] > 1.0


def test_a_follower_outside_its_limits_is_let_back_and_not_pushed():
    following, target = start(2.5, 2.5)
    assert target == 2.5
    assert lead(following, 2.5) == 2.5
    assert lead(following, 2.6) == pytest.approx(2.5)
    for i in range(200):
        target = lead(following, 2.5 - 0.005 * i)
    assert target == pytest.approx(2.5 - 0.005 * 199)


def test_after_a_release_it_starts_from_the_followers_position():
    following, _ = start(0.0, 0.0)
    lead(following, 0.5)
    following.release()
    target = following.follow(np.array([1.5]), np.array([-1.0]), DT, clutch=False)
    assert target[0] == -1.0
