"""The planner that carries the T between both pushers, tested on poses.

That its targets stay in reach is in test_planner.py, for both planners.
"""

import numpy as np

from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import load_task
from hiwm_push_t import shape
from hiwm_push_t.carrier import CarryPlanner
from hiwm_push_t.goal import goal_of
from hiwm_push_t.planner import PUSHER_RADIUS_M

TASK = load_task("push_t")
GOAL = goal_of(TASK)
EMBODIMENT = load_embodiment("planar_bimanual")
HOME = np.array(EMBODIMENT.home)

def _ends(pose: np.ndarray, gap: float) -> np.ndarray:
    """Return pushers [4] in front of the bar's ends."""
    x0, x1, y0, y1 = np.array(shape.BAR) * GOAL.unit_m
    reach, middle = PUSHER_RADIUS_M + gap, (y0 + y1) / 2
    return shape.to_table(
        np.array([(x0 - reach, middle), (x1 + reach, middle)]), pose
    ).reshape(4)


def test_what_it_asks_for_depends_on_the_scene_alone() -> None:
    """Nothing is remembered: after any number of other questions the answer is the same."""
    pose = np.array([0.02, 0.04, 0.5])
    at = _ends(pose, 0.03)
    first = CarryPlanner(GOAL, EMBODIMENT, 0).targets(pose, at)
    planner = CarryPlanner(GOAL, EMBODIMENT, 9)
    for yaw in (-1.0, 0.0, 1.3):
        planner.targets(np.array([0.01, 0.0, yaw]), HOME)
    assert np.array_equal(planner.targets(pose, at), first)


def test_held_by_both_it_goes_towards_the_goal() -> None:
    """With both pushers at the bar's ends, both squeeze, and carry it nearer."""
    pose = np.array([0.05, 0.06, 0.4])
    at = _ends(pose, 0.0)
    moved = CarryPlanner(GOAL, EMBODIMENT).targets(pose, at).reshape(2, 2)
    inward = shape.rotation(0.4) @ np.array([1.0, 0.0])
    spread = moved[1] - moved[0] - (at[2:] - at[:2])
    assert spread @ inward < -0.003
    middle = moved.mean(0) - at.reshape(2, 2).mean(0)
    assert middle @ (np.array(GOAL.pose[:2]) - pose[:2]) > 0


def test_the_first_to_arrive_waits_for_the_other() -> None:
    """One pusher at its end, the other far: the first stays off the T."""
    pose = np.array([0.0, 0.05, 0.0])
    at = _ends(pose, 0.014)
    at[2:] = (0.15, -0.15)
    target = CarryPlanner(GOAL, EMBODIMENT).targets(pose, at)
    assert np.linalg.norm(target[:2] - at[:2]) < 0.002
    assert np.linalg.norm(target[2:] - at[2:]) > 0.008


def test_done_at_the_goal_alone() -> None:
    """The planner is satisfied on the goal, where it holds still, and not beside it."""
    planner = CarryPlanner(GOAL, EMBODIMENT)
    goal = np.array(GOAL.pose)
    assert planner.done(goal)
    assert np.array_equal(planner.targets(goal, HOME), HOME)
    assert not planner.done(np.array([0.05, 0.0, 0.0]))
