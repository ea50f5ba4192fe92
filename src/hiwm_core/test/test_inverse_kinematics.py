"""Inverse kinematics: limits always hold, reachable poses are reached, edges are smooth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.errors import ConfigError
from hiwm_core.inverse_kinematics import TipSolver
from hiwm_core.kinematics import Pose, load_model
from hiwm_core.rotations import matrix_from_vector, vector_from_matrix

WHERE = "yam_pair.yaml: groups[0].kinematics"
MODEL = load_model("yam_pair.urdf", WHERE)
LOWER, UPPER = MODEL.model.lowerPositionLimit[:6], MODEL.model.upperPositionLimit[:6]
HOME = np.array([0.1107, -0.3019, 0.1910, 1.6816, 0.0, 0.1107])


def arm_joints(side):
    return [f"{side}_joint{number}" for number in range(1, 7)]


@pytest.fixture(scope="module")
def solver():
    return make_solver()


def make_solver(**changes):
    given = {"tip": "left_tip", "joints": arm_joints("left"), "frame": "table", "where": WHERE}
    return TipSolver(MODEL, **{**given, **changes})


def joints_in_limits(margin=0.15):
    return st.tuples(*(
        st.floats(0.0, 1.0).map(
            lambda share, low=low + margin, high=high - margin: low + share * (high - low)
        )
        for low, high in zip(LOWER, UPPER, strict=True)
    )).map(np.array)


def numbers(size, largest):
    return st.lists(
        st.floats(-largest, largest), min_size=size, max_size=size
    ).map(np.array)


def error(one: Pose, other: Pose) -> float:
    return float(np.linalg.norm(one.position - other.position))


@settings(max_examples=30, deadline=None)
@given(joints=joints_in_limits(), away=numbers(6, 0.12))
def test_a_reachable_pose_nearby_is_reached(solver, joints, away):
    goal = solver.pose(np.clip(joints + away, LOWER, UPPER))
    found = solver.solve(goal, joints, steps=80)
    here = solver.pose(found)
    assert error(here, goal) < 2e-3
    assert np.linalg.norm(vector_from_matrix(goal.rotation @ here.rotation.T)) < 0.02


@settings(max_examples=100, deadline=None)
@given(
    joints=numbers(6, 4.0), position=numbers(3, 3.0), turn=numbers(3, 3.0),
    largest=st.floats(0.001, 1.0),
)
def test_a_step_is_finite_and_inside_the_limits_and_the_largest_way(
    solver, joints, position, turn, largest
):
    goal = Pose(position=position, rotation=matrix_from_vector(turn))
    found = solver.step(goal, joints, np.full(6, largest))
    assert np.isfinite(found).all()
    # A joint outside its limits may come back, and goes no farther.
    assert (found >= np.minimum(LOWER, joints) - 1e-12).all()
    assert (found <= np.maximum(UPPER, joints) + 1e-12).all()
    assert (np.abs(found - joints) <= largest + 1e-12).all()


@settings(max_examples=20, deadline=None)
@given(joints=joints_in_limits(), way=numbers(3, 1.0).filter(lambda way: np.abs(way).max() > 0.1))
def test_a_tip_that_is_pulled_never_turns_back(solver, joints, way):
    """Also at the edge of its reach, where it slides along: towards the pull, or not at all."""
    pull = 0.01 * way / np.linalg.norm(way)
    rotation = solver.pose(joints).rotation
    before = solver.pose(joints).position
    for _ in range(60):
        joints = solver.step(
            Pose(position=before + pull, rotation=rotation), joints, np.full(6, 0.03)
        )
        here = solver.pose(joints).position
        assert (here - before) @ pull >= -1e-3 * 0.01
        before = here


def test_limits_of_the_embodiment_narrow_those_of_the_urdf():
    solver = make_solver(upper=[0.2] * 6, lower=[-3.0] * 6)
    goal = Pose(position=np.array([0.1, 0.6, 0.2]), rotation=solver.pose(np.zeros(6)).rotation)
    found = solver.solve(goal, np.zeros(6))
    assert found.max() <= 0.2
    assert (found >= LOWER).all()
    assert "left_joint1" in solver.at_limits(found)


def test_a_joint_at_its_limit_is_named(solver):
    joints = HOME.copy()
    joints[2] = UPPER[2]
    assert solver.at_limits(joints) == ("left_joint3",)


def test_an_arm_of_five_joints_reaches_positions():
    solver = make_solver(tip="left_link6", joints=arm_joints("left")[:5])
    goal = Pose(
        position=solver.pose(HOME[:5]).position + [0.02, 0.05, -0.03],
        rotation=solver.pose(HOME[:5]).rotation,
    )
    assert error(solver.pose(solver.solve(goal, HOME[:5], steps=100)), goal) < 3e-3


@pytest.mark.parametrize(("changes", "what", "remedy"), [
    ({"tip": "hand"}, "no link 'hand'", "use one of"),
    ({"joints": ("left_joint9",)}, "left_joint9", "the tip is moved by left_joint1"),
    ({"joints": arm_joints("right")}, "do not move left_tip", "name the link at the end"),
    ({"frame": "left_link3"}, "moved by left_joint1, left_joint2", "do not move"),
])
def test_what_does_not_fit_is_named(changes, what, remedy):
    with pytest.raises(ConfigError) as caught:
        make_solver(**changes)
    assert what in str(caught.value)
    assert WHERE in str(caught.value)
    assert remedy in str(caught.value)


def test_a_missing_library_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pink", None)
    with pytest.raises(ConfigError, match="pip install pin-pink daqp"):
        make_solver()
