"""The stand-in's controllers and scene in simulated time."""

import numpy as np

from hiwm_core.embodiment import load_embodiment
from hiwm_core.task import load_task
from hiwm_robot.standin_robot import StandinRobot

TASK = load_task("push_t")
EMBODIMENT = load_embodiment(TASK.embodiment)
HOME = np.array(EMBODIMENT.home)
START = np.array([0.03, -0.02, 0.4])


def reached(robot: StandinRobot, steps: int = 3) -> bytes:
    """Return a robot's joint positions and object pose after some steps."""
    for step in range(steps):
        target = (HOME + 0.01 * (step + 1)).tolist()
        assert not robot.follow(EMBODIMENT.joint_names, [(target, 0.1)])
        robot.advance()
    return robot.scene.joint_positions.tobytes() + robot.scene.object_pose.tobytes()


def test_an_episode_does_not_depend_on_earlier_ones() -> None:
    fresh, used = StandinRobot(TASK, EMBODIMENT), StandinRobot(TASK, EMBODIMENT, seed=1)
    # Like the driver while it waits for a bridge, and like an earlier episode.
    used.advance(0.2)
    reached(used, steps=7)
    used.jump((HOME + 0.02).tolist())
    used.advance(0.3)
    for robot in (fresh, used):
        robot.place(START, 5)
    assert reached(fresh) == reached(used)


def test_a_refused_target_keeps_the_last_one() -> None:
    robot = StandinRobot(TASK, EMBODIMENT)
    robot.place(START, 0)
    assert "2 values for 4 joints" in robot.jump([0.0, 0.0])
    robot.advance(0.5)
    assert np.abs(robot.scene.joint_positions - HOME).max() < 1e-3
