"""The stand-in's controllers and scene in simulated time."""

from dataclasses import replace

import numpy as np
import pytest

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.limits import Limiter
from hiwm_core.robot_config import load_robot
from hiwm_core.robots.cameras import ViewTopic
from hiwm_core.tasks import load_task
from hiwm_robot.standin_robot import StandinRobot, view_sizes

TASK = load_task(default_task())
EMBODIMENT = load_embodiment(TASK.embodiment)
HOME = np.array(EMBODIMENT.home)
START = TASK.sample_start(np.random.default_rng(3))


def reached(robot: StandinRobot, steps: int = 3) -> bytes:
    """Return a robot's joint positions and object pose after some steps."""
    for step in range(steps):
        target = (HOME + 0.01 * (step + 1)).tolist()
        assert not robot.follow("arms", EMBODIMENT.joint_names, [(target, 0.1)])
        robot.advance()
    return robot.scene.joint_positions.tobytes() + str(robot.scene.truth).encode()


def test_an_episode_does_not_depend_on_earlier_ones() -> None:
    fresh, used = StandinRobot(TASK, EMBODIMENT), StandinRobot(TASK, EMBODIMENT, seed=1)
    # Like the driver while it waits for a bridge, and like an earlier episode.
    used.advance(0.2)
    reached(used, steps=7)
    used.jump("arms", (HOME + 0.02).tolist())
    used.advance(0.3)
    for robot in (fresh, used):
        robot.place(START, 5)
    assert reached(fresh) == reached(used)


def test_a_refused_target_keeps_the_last_one() -> None:
    robot = StandinRobot(TASK, EMBODIMENT)
    robot.place(START, 0)
    assert "2 values for 4 joints" in robot.jump("arms", [0.0, 0.0])
    robot.advance(0.5)
    assert np.abs(robot.scene.joint_positions - HOME).max() < 1e-3


def test_the_lag_at_full_speed_is_within_the_bound_on_the_following_error() -> None:
    """Else the limits would slow the arms down; docs/embodiments.md names both numbers."""
    robot, limiter = StandinRobot(TASK, EMBODIMENT), Limiter(EMBODIMENT)
    robot.place(START, 0)
    memory, lags = limiter.initial_state(), []
    for _ in range(20):
        measured = robot.scene.joint_positions
        if np.isfinite(memory.sent).all():
            lags.append(float(np.abs(memory.sent - measured).max()))
        result = limiter.limit(HOME + [0.0, 0.3, 0.0, 0.3], measured, memory)
        assert not result.following_limited
        memory = result.state
        assert not robot.take(result.action)
        robot.advance()
    step = EMBODIMENT.actions[0].max_velocity / EMBODIMENT.rate_hz
    assert max(lags) < 0.0015
    assert step + max(lags) < EMBODIMENT.actions[0].max_following_error


def test_a_stand_in_draws_square_views_and_does_not_compress_them() -> None:
    robot = load_robot("yam_pair")
    assert view_sizes(robot) == {"side": 192, "left_wrist": 192, "right_wrist": 192}
    wide = ViewTopic(image="i", size=(64, 48))
    packed = ViewTopic(image="i", size=(64, 64), compressed=True)
    for view, words in [(wide, "64 x 48"), (packed, "compressed")]:
        with pytest.raises(ConfigError, match=words):
            view_sizes(replace(robot, views={"side": view}))
