"""The stand-in's contact physics: errors that an operator would notice."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.task_plugin import ROBOT_DATA
from hiwm_core.tasks import load_task
from hiwm_push_t.carrier import CarryPlanner
from hiwm_push_t.goal import goal_of, values_of
from hiwm_push_t.planner import PushPlanner
from hiwm_push_t.scene import PUSHER_RADIUS_M, StandinScene
from hiwm_push_t.shape import signed_distance, to_object

TASK = load_task("push_t")
GOAL = goal_of(TASK)
EMBODIMENT = load_embodiment("planar_bimanual")
TICK_S = 0.1


@pytest.fixture
def scene() -> StandinScene:
    """A table with the T near its centre."""
    scene = StandinScene(GOAL, EMBODIMENT)
    scene.place(values_of(np.array([0.0, 0.05, 0.0])))
    return scene


def drive(scene: StandinScene, arm: int, to: tuple[float, float], ticks: int) -> list[np.ndarray]:
    """Move an arm towards a point in steps of at most 12 mm; return the T's poses."""
    poses = []
    for _ in range(ticks):
        at = scene.joint_positions
        target = at.copy()
        step = np.array(to) - at[2 * arm : 2 * arm + 2]
        length = float(np.linalg.norm(step))
        target[2 * arm : 2 * arm + 2] += step * min(1.0, 0.012 / max(length, 1e-9))
        scene.set_target(target)
        scene.advance(TICK_S)
        poses.append(scene.object_pose)
    return poses


def test_untouched_it_rests(scene: StandinScene) -> None:
    """Untouched for ten seconds, the T stays within a millimetre."""
    before = scene.object_pose
    for _ in range(100):
        scene.advance(TICK_S)
    assert np.abs(scene.object_pose - before).max() < 1e-3
    assert np.abs(scene.joint_velocities).max() < 1e-4


def test_pushed_it_slides_turns_and_stops(scene: StandinScene) -> None:
    """A push at the bar's end moves and turns it; the motion stops with the push."""
    drive(scene, 0, (-0.055, -0.12), 12)
    poses = drive(scene, 0, (-0.055, 0.10), 18)
    moved = poses[-1] - np.array([0.0, 0.05, 0.0])
    assert moved[1] > 0.005  # along the push
    assert moved[2] < -0.05  # about the contact: left end up turns it clockwise
    scene.set_target(scene.joint_positions)
    scene.advance(TICK_S)
    resting = scene.object_pose
    for _ in range(20):
        scene.advance(TICK_S)
    assert np.linalg.norm(scene.object_pose[:2] - resting[:2]) < 1e-3


def test_pushers_do_not_tunnel(scene: StandinScene) -> None:
    """A pusher driven straight at the T and the rim behind it never penetrates the T."""
    deepest = 0.0
    for _ in range(60):
        drive(scene, 0, (0.0, 0.18), 1)
        at = scene.joint_positions[:2]
        local = to_object(at[None], scene.object_pose)
        gap = signed_distance(local, GOAL.unit_m)[0] - PUSHER_RADIUS_M
        deepest = min(deepest, gap)
    assert deepest > -0.002
    assert scene.object_pose[1] > 0.06  # it was pushed all the time


def test_a_pusher_held_against_the_t_does_not_jitter(scene: StandinScene) -> None:
    """A pusher that rests against the T does not move, and neither does the T."""
    drive(scene, 0, (0.0, 0.0), 25)
    scene.set_target(scene.joint_positions)
    scene.advance(0.5)
    line = []
    for _ in range(50):
        scene.advance(0.02)
        line.append(np.concatenate([scene.joint_positions, scene.object_pose]))
    assert np.ptp(np.array(line), axis=0).max() < 5e-4


def test_equal_targets_give_equal_scenes() -> None:
    """Two scenes with equal placement and targets agree to the last bit."""
    ends = []
    for _ in range(2):
        scene = StandinScene(GOAL, EMBODIMENT)
        scene.place(TASK.sample_start(np.random.default_rng(7)))
        drive(scene, 1, (0.0, 0.1), 20)
        ends.append(np.concatenate([scene.object_pose, scene.joint_positions]))
    assert np.array_equal(ends[0], ends[1])


@pytest.mark.parametrize("expert", [CarryPlanner, PushPlanner])
def test_expert_solves_it(expert: type[CarryPlanner] | type[PushPlanner]) -> None:
    """A planner that knows the pose solves nine of ten starts."""
    scene, solved = StandinScene(GOAL, EMBODIMENT), 0
    for seed in range(10):
        scene.place(TASK.sample_start(np.random.default_rng(seed)))
        planner = expert(GOAL, EMBODIMENT, seed)
        for _ in range(TASK.horizon_steps):
            if planner.done(scene.object_pose):
                break
            scene.set_target(planner.targets(scene.object_pose, scene.joint_positions))
            scene.advance(TICK_S)
        solved += scene.truth["coverage"] >= GOAL.success_coverage
    assert solved >= 9


def test_picture_shows_the_scene(scene: StandinScene) -> None:
    """The image shows the T in blue at its pose, the pushers in red and green, at any size."""
    for size in (96, 256):
        image = scene.render(size).astype(int)
        assert image.shape == (size, size, 3)
        row = int((0.5 - 0.05 / 0.4) * size)
        assert image[row, size // 2, 2] > image[row, size // 2, 0] + 60
        for arm, channel in ((0, 0), (1, 1)):
            x, y = scene.joint_positions[2 * arm : 2 * arm + 2]
            pixel = image[int((0.5 - y / 0.4) * size), int((x / 0.4 + 0.5) * size)]
            assert pixel.argmax() == channel


def test_in_data_of_the_robot_only_no_t_is_in_sight(scene: StandinScene) -> None:
    """Nothing blue is seen, the pushers roam without touching it, and such a start is accepted."""
    plugin = TASK.stand_in()
    only = plugin.behaviour(ROBOT_DATA, EMBODIMENT, 5)
    start = only.start()
    assert plugin.start_problem(start) == ""
    for y in (0.0, 120.0):
        assert "off the table" in plugin.start_problem({**start, "object_y_m": y})
    scene.place(start)
    before, at = scene.object_pose, [scene.joint_positions]
    for _ in range(60):
        scene.set_target(only.targets(scene.truth, scene.joint_positions))
        scene.advance(TICK_S)
        at.append(scene.joint_positions)
        image = scene.render(96).astype(int)
        assert not (image[..., 2] > image[..., 0] + 60).any()
    assert np.ptp(at, axis=0).min() > 0.05
    assert np.abs(scene.object_pose - before).max() < 1e-3 and scene.truth["coverage"] == 0.0
