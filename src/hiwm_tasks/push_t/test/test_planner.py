"""The push planner, its ways round obstacles, and the behaviours made of it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.embodiment import load_embodiment
from hiwm_core.grid_path import GridPath
from hiwm_core.tasks import load_task
from hiwm_push_t.behaviours import KINDS, PushTBehaviour
from hiwm_push_t.carrier import CarryPlanner
from hiwm_push_t.goal import goal_of
from hiwm_push_t.planner import (
    PUSHER_RADIUS_M,
    STEP_M,
    PushPlanner,
    contact_candidates,
)
from hiwm_push_t.shape import signed_distance

TASK = load_task("push_t")
GOAL = goal_of(TASK)
EMBODIMENT = load_embodiment("planar_bimanual")
HOME = np.array(EMBODIMENT.home)


def test_contacts_can_be_touched() -> None:
    """A pusher at a contact touches the outline there and is in nothing else."""
    points, normals = contact_candidates(GOAL.unit_m, PUSHER_RADIUS_M)
    assert len(points) > 20
    assert np.allclose(np.linalg.norm(normals, axis=1), 1.0)
    centres = points - normals * PUSHER_RADIUS_M
    gaps = signed_distance(centres, GOAL.unit_m)
    assert np.all(gaps > 0.96 * PUSHER_RADIUS_M)
    assert np.all(gaps < 1.001 * PUSHER_RADIUS_M)


poses = st.tuples(
    st.floats(-0.12, 0.12), st.floats(-0.12, 0.12), st.floats(-np.pi, np.pi)
).map(np.array)
hands = st.lists(st.floats(-0.18, 0.18), min_size=4, max_size=4).map(np.array)


@pytest.mark.parametrize("make", [
    lambda seed, variety: PushPlanner(GOAL, EMBODIMENT, seed, noise=variety),
    lambda seed, variety: CarryPlanner(GOAL, EMBODIMENT, seed, variety=variety),
])
@settings(max_examples=60, deadline=None)
@given(pose=poses, at=hands, seed=st.integers(0, 1000), variety=st.floats(0, 1))
def test_targets_stay_in_reach(
    make: Callable[[int, float], PushPlanner | CarryPlanner], pose: np.ndarray, at: np.ndarray,
    seed: int, variety: float,
) -> None:
    """Whatever the scene, each arm's target is finite, in the box and one step away at most."""
    planner = make(seed, variety)
    for _ in range(3):
        target = planner.targets(pose, at)
        assert np.isfinite(target).all()
        assert np.all(target >= EMBODIMENT.lower - 1e-9)
        assert np.all(target <= EMBODIMENT.upper + 1e-9)
        steps = np.linalg.norm((target - at).reshape(2, 2), axis=1)
        assert np.all(steps <= STEP_M + 1e-9)
        at = target


def test_done_at_the_goal_alone() -> None:
    """The planner is satisfied on the goal and not beside it."""
    planner = PushPlanner(GOAL, EMBODIMENT)
    assert planner.done(np.array(GOAL.pose))
    assert not planner.done(np.array([0.05, 0.0, 0.0]))


def test_equal_seeds_give_equal_targets() -> None:
    """A planner is a function of its seed and what it is shown."""
    pose = np.array([0.05, 0.04, 0.8])
    lines = []
    for _ in range(2):
        planner, at, line = PushPlanner(GOAL, EMBODIMENT, 3), HOME, []
        for _ in range(20):
            at = planner.targets(pose, at)
            line.append(at)
        lines.append(np.array(line))
    assert np.array_equal(lines[0], lines[1])


def test_route_goes_round() -> None:
    """A way past a wall keeps out of it; with nothing between it is straight."""
    paths = GridPath(np.array([-0.18, -0.18]), np.array([0.18, 0.18]))
    start, goal = np.array([-0.1, 0.0]), np.array([0.1, 0.0])

    def wall(points: np.ndarray) -> np.ndarray:
        return (np.abs(points[:, 0]) < 0.02) & (points[:, 1] > -0.1)

    route = paths.route(start, goal, wall)
    assert np.allclose(route[-1], goal)
    assert not wall(route).any()
    assert len(paths.route(start, goal, lambda points: np.zeros(len(points), bool))) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_behaviours_are_seeded(kind: str) -> None:
    """Equal seeds give equal episodes, others do not."""

    def episode(seed: int) -> np.ndarray:
        behaviour = PushTBehaviour(kind, TASK, EMBODIMENT, seed)
        start, at, line = behaviour.start(), HOME, []
        for _ in range(30):
            at = np.clip(behaviour.targets(start, at), EMBODIMENT.lower, EMBODIMENT.upper)
            line.append(at)
        return np.concatenate([list(start.values()), np.ravel(line)])

    assert np.array_equal(episode(4), episode(4))
    assert not np.array_equal(episode(4), episode(5))


def test_unknown_behaviour_is_refused() -> None:
    """The kinds there are are named."""
    with pytest.raises(ValueError, match="demonstration"):
        PushTBehaviour("dance", TASK, EMBODIMENT, 0)
