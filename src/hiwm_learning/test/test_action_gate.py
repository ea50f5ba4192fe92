"""What imagined worlds do with actions: limits, a robot's workspace, and rotations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.limits import Limiter
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_core.robots.safety import Box, Workspace
from hiwm_core.rotations import matrix_from_6d, matrix_from_vector, sixd_from_matrix
from hiwm_core.workspace_check import WorkspaceCheck
from hiwm_learning.action_gate import ActionGate
from hiwm_test_support.tool_pair import tool_pair

ROBOT = tool_pair()
HOME = np.array(ROBOT.home)
NAMES = [entry.name for entry in ROBOT.actions]
TURN = ROBOT.group("left").rotation_slice
WORKSPACE = WorkspaceCheck(
    Workspace(
        box=Box(lower=(0.3, -0.3, 0.0), upper=(0.7, 0.3, 0.6)), table_z_m=0.22, clearance_m=0.02
    ), ROBOT, "tool_pair.yaml",
)
HEIGHT = NAMES.index("left_z")


PLACES = MeasuredFromProprioception(ROBOT).columns  # proprioception has another order
SEEN_TURN = PLACES[TURN]


def seen_at(action: np.ndarray) -> np.ndarray:
    """Return the proprioception [P] of a robot that is where an action [A] sends it."""
    seen = np.empty_like(action)
    seen[PLACES] = action
    return seen


def moved(**entries: float) -> np.ndarray:
    action = HOME.copy()
    for name, value in entries.items():
        action[NAMES.index(name)] = value
    return action


def test_a_target_outside_the_workspace_is_held_in_the_words_of_the_robot() -> None:
    gate = ActionGate(ROBOT, WORKSPACE)
    seen, state, notes = HOME.copy(), gate.initial_state(), []
    for _ in range(3):
        (result,) = gate.limit_many([moved(left_z=0.0)], [seen_at(seen)], [state])
        seen, state = result.action, result.state
        notes.append(result.note)
    assert notes[0] == "limited by velocity"
    held = next(note for note in notes if "held" in note)
    assert held.startswith("held: the action would leave the workspace: left tool0 would be ")
    assert held.endswith("mm below the table's top (at least 20 mm)")
    assert seen[HEIGHT] >= 0.24 - 1e-9


@settings(deadline=None, max_examples=60)
@given(
    requested=st.lists(st.floats(-0.6, 0.9), min_size=6, max_size=6),
    measured=st.lists(st.floats(-0.1, 0.1), min_size=6, max_size=6),
)
def test_whatever_is_asked_no_target_goes_further_out(
    requested: list[float], measured: list[float]
) -> None:
    places = [NAMES.index(f"{arm}_{axis}") for arm in ("left", "right") for axis in "xyz"]
    action, seen = HOME.copy(), HOME.copy()
    action[places] = requested
    seen[places] += measured
    gate = ActionGate(ROBOT, WORKSPACE)
    (result,) = gate.limit_many([action], [seen_at(seen)], [gate.initial_state()])
    assert WORKSPACE.problem(result.action, seen) == ""
    plain = Limiter(ROBOT).limit(action, seen, gate.initial_state())
    assert result.held is (plain.held or WORKSPACE.problem(plain.action, seen) != "")


@pytest.mark.parametrize("scale", [0.4, 3.0])
def test_a_6d_rotation_of_a_policy_is_made_orthonormal(scale: float) -> None:
    rng = np.random.default_rng(3)
    action = HOME.copy()
    action[TURN] = scale * (sixd_from_matrix(matrix_from_vector([0.1, 0.05, 0.0]))
                            + rng.normal(0.0, 0.02, 6))
    gate = ActionGate(ROBOT)
    (result,) = gate.limit_many([action], [seen_at(HOME)], [gate.initial_state()])
    assert not result.held
    first, second = result.action[TURN].reshape(2, 3)
    np.testing.assert_allclose([first @ first, second @ second, first @ second], [1, 1, 0],
                               atol=1e-12)
    np.testing.assert_allclose(matrix_from_6d(action[TURN]), matrix_from_6d(result.action[TURN]),
                               atol=1e-9)


def test_a_rotation_without_direction_holds() -> None:
    action = HOME.copy()
    action[TURN] = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    gate = ActionGate(ROBOT)
    (result,) = gate.limit_many([action], [seen_at(HOME)], [gate.initial_state()])
    assert result.held and "degenerate" in result.reason


def test_predicted_rotations_are_ones() -> None:
    """Six numbers predicted one by one are no rotation, and may have no direction at all."""
    gate = ActionGate(ROBOT)
    skewed, nothing = seen_at(HOME), seen_at(HOME)
    skewed[SEEN_TURN] = [0.9, 0.1, 0.0, 0.1, 0.8, 0.0]
    nothing[SEEN_TURN] = 0.0
    settled = gate.settled(skewed, seen_at(HOME))
    np.testing.assert_allclose(
        matrix_from_6d(settled[SEEN_TURN]), matrix_from_6d(skewed[SEEN_TURN])
    )
    np.testing.assert_allclose(np.linalg.norm(settled[SEEN_TURN]), np.sqrt(2.0))
    kept = gate.settled(nothing, settled)
    np.testing.assert_array_equal(kept, settled)
    gate.limit_many([HOME], [kept], [gate.initial_state()])


def test_an_embodiment_without_workspace_has_only_limits() -> None:
    gate = ActionGate(ROBOT)
    (result,) = gate.limit_many([moved(left_z=0.21)], [seen_at(HOME)], [gate.initial_state()])
    assert result.note == "limited by velocity"
