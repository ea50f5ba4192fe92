"""What every task must do, whoever wrote it; one body for all of them."""

import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.task_plugin import DEMONSTRATION, Behaviour, TaskPlugin, distance
from hiwm_core.tasks import Task, load_task, parse_task
from hiwm_robot.standin_robot import StandinRobot

Array = NDArray[np.float64]

SEEDS = range(3)
# Of these the expert may fail in one.
LEAST_SOLVED = 2


def check_task(name: str) -> None:
    """Check a task by name or path: its file, its starts, its plug-in and its stand-in."""
    task = load_task(name)
    embodiment = load_embodiment(task.embodiment)
    check_file(task)
    check_starts(task)
    check_imports(name)
    plugin = task.plugin
    if plugin is None or not plugin.data_kinds:
        return
    check_scene(task, plugin, embodiment)
    check_behaviours(task, plugin, embodiment)
    check_operator(task, plugin, embodiment)
    check_measure(task, plugin, embodiment)


def check_file(task: Task) -> None:
    """A task that travels as text is the same task."""
    again = parse_task(task.text, "a bag")
    assert (again.hash, again.start_names) == (task.hash, task.start_names)
    assert task.instruction.strip()


def check_starts(task: Task) -> None:
    """Starts are seeded, lie in the declared ranges, and can be placed."""
    for seed in range(20):
        start, same = (task.sample_start(np.random.default_rng(seed)) for _ in range(2))
        assert start == same
        assert tuple(start) == task.start_names
        for name, (low, high) in task.start_ranges.items():
            assert low <= start[name] <= high, name
        assert task.start_problem(start) == ""
        assert task.start_distance(start, start) == 0.0
        other = task.sample_start(np.random.default_rng(seed + 100))
        there, back = task.start_distance(start, other), task.start_distance(other, start)
        assert abs(there - back) < 1e-9
        assert there > 0 or distance(task.start_ranges, start, other) == 0
    if task.start_names:
        assert task.start_problem({}) != ""
        assert task.start_problem(dict.fromkeys(task.start_names, float("nan"))) != ""


def check_imports(name: str) -> None:
    """A robot's computer loads the task without the packages of a stand-in or of learning."""
    code = (
        "import sys; from hiwm_core.tasks import load_task; load_task(sys.argv[1]).plugin;"
        "print(*({'mujoco', 'torch', 'rclpy'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, name], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == []


def check_scene(task: Task, plugin: TaskPlugin, embodiment: Embodiment) -> None:
    """A scene starts where it was asked to, and repeats itself."""
    scene = plugin.scene(embodiment, render_size=48)
    start = task.sample_start(np.random.default_rng(1))
    try:
        ends = []
        for _ in range(2):
            placed = scene.place(start)
            assert tuple(placed) == task.start_names
            assert task.start_distance(placed, start) < 0.1 * _spread(task)
            truth = scene.truth
            assert set(truth) == set(plugin.truth_names) >= set(task.start_names)
            assert np.isfinite(list(truth.values())).all()
            assert 0.0 <= plugin.progress(truth) < task.success_progress
            assert scene.joint_positions.shape == (len(embodiment.joint_names),)
            scene.set_target(scene.joint_positions + 0.01)
            scene.advance(10 * scene.timestep_s)
            ends.append((scene.truth, scene.joint_positions.tolist()))
            assert scene.joint_velocities.shape == scene.joint_positions.shape
        assert ends[0] == ends[1]
        for camera in embodiment.cameras:
            image = scene.render(camera=camera.name)
            assert image.shape == (48, 48, 3) and image.dtype == np.uint8
    finally:
        scene.close()


def _spread(task: Task) -> float:
    starts = [task.sample_start(np.random.default_rng(seed)) for seed in range(10)]
    return max(task.start_distance(one, other) for one in starts for other in starts)


def check_behaviours(task: Task, plugin: TaskPlugin, embodiment: Embodiment) -> None:
    """Every kind of data is seeded and finite, and the expert solves the task."""
    assert plugin.data_kinds[0] == DEMONSTRATION
    robot = StandinRobot(task, embodiment, render_size=48)
    try:
        for kind in plugin.data_kinds:
            runs = [
                _run(robot, plugin.behaviour(kind, embodiment, seed), task, embodiment, 15)
                for seed in (3, 3, 4)
            ]
            assert np.array_equal(runs[0], runs[1]), kind
            assert not np.array_equal(runs[0], runs[2]), kind
        solved = 0
        for seed in SEEDS:
            expert = plugin.behaviour(DEMONSTRATION, embodiment, seed)
            _run(robot, expert, task, embodiment, task.horizon_steps)
            solved += plugin.progress(robot.scene.truth) >= task.success_progress
        assert solved >= LEAST_SOLVED, f"the expert solved {solved} of {len(SEEDS)}"
    finally:
        robot.close()


def _run(
    robot: StandinRobot, behaviour: Behaviour, task: Task, embodiment: Embodiment, steps: int
) -> Array:
    """Return the start and the actions of an episode."""
    start = behaviour.start()
    assert tuple(start) == task.start_names and task.start_problem(start) == ""
    robot.place(start, 0)
    assert np.allclose(robot.measured, embodiment.home, atol=2e-3)
    line = [np.array(list(start.values()))]
    for _ in range(steps):
        truth = robot.scene.truth
        if behaviour.finished(truth):
            break
        action = behaviour.targets(truth, robot.measured)
        assert action.shape == (embodiment.action_dim,) and np.isfinite(action).all()
        line.append(action)
        assert robot.take(np.clip(action, embodiment.lower, embodiment.upper)) == ""
        robot.advance()
    return np.concatenate(line)


def check_operator(task: Task, plugin: TaskPlugin, embodiment: Embodiment) -> None:
    """A scripted operator sees what is there, says when nothing is, and commands finite targets."""
    camera = embodiment.cameras[0]
    robot = StandinRobot(task, embodiment, render_size=camera.width)
    try:
        robot.place(task.sample_start(np.random.default_rng(2)), 0)
        images, hands = robot.images, robot.measured
        operator = plugin.operator(embodiment)
        sight = operator.look(images, hands, jumped=True)
        assert sight.visible and sight.error_m > 0 and 0 <= sight.progress <= 1
        assert abs(sight.progress - plugin.progress(robot.scene.truth)) < 0.1
        assert sight.clarity > 0.45
        for variety in (0.0, 1.0):
            correction = operator.correction(5, variety)
            assert not correction.done(sight)
            action = correction.targets(sight, hands)
            assert action.shape == (embodiment.action_dim,) and np.isfinite(action).all()
        blank = {camera.name: np.full_like(images[camera.name], 255)}
        unseen = operator.look(blank, hands, jumped=False)
        assert not unseen.visible and unseen.clarity < 0.45
    finally:
        robot.close()


def check_measure(task: Task, plugin: TaskPlugin, embodiment: Embodiment) -> None:
    """Frames have no error against themselves, and blank ones a bad one."""
    camera = embodiment.cameras[0]
    measure = plugin.frame_measure(embodiment, camera.name)
    if measure is None:
        return
    scene = plugin.scene(embodiment, render_size=camera.width)
    try:
        scene.place(task.sample_start(np.random.default_rng(2)))
        frames = np.stack([scene.render()] * 3)
        hands = np.stack([np.array(embodiment.home)] * 3)
        true = measure.look(frames)
        same = measure.differences(true, true, hands)
        assert (measure.error(same) < 0.1 * measure.bad_error).all()
        assert not measure.moved(same).any() and not measure.parted(same).any()
        assert set(measure.summary(same)) == {column.key for column in measure.columns}
        assert not (measure.verdicts(true) == 1.0).any()  # a start is not a success
        lost = measure.differences(measure.look(np.full_like(frames, 255)), true, hands)
        assert (measure.error(lost) > measure.bad_error).all() and measure.parted(lost).all()
    finally:
        scene.close()
