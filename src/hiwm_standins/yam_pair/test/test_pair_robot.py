"""Both arms behind the stand-in's controllers: they hold, and go where they are sent."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from hiwm_core.embodiment import CameraSpec, load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.robot_config import load_robot
from hiwm_core.task_plugin import Values
from hiwm_robot.standin_robot import StandinRobot
from hiwm_yam_pair.mjcf import Options
from hiwm_yam_pair.scene import PairScene

PHYSICS = 'timestep="0.004" integrator="discrete"'


class EmptyTable(PairScene):
    """Nothing on the table."""

    def _arrange(self, start: Values) -> None:
        pass

    @property
    def truth(self) -> dict[str, float]:
        return {}


@dataclass
class NoTask:
    """What the robot asks of a task."""

    stand_in_robot: str

    def stand_in(self):
        return self

    def scene(self, embodiment, *, render_size):
        return EmptyTable(embodiment, Options(physics=PHYSICS), render_size)

    def sample_start(self, rng):
        return {}


def pair(name: str) -> StandinRobot:
    embodiment = load_embodiment(load_robot(name).embodiment)
    return StandinRobot(NoTask(name), embodiment)  # type: ignore[arg-type]


ROBOTS = ("yam_pair", "yam_pair_joints")


@pytest.mark.parametrize("name", ROBOTS)
def test_the_arms_rest_at_home(name: str) -> None:
    robot = pair(name)
    robot.place(None, 0)
    home = np.array(load_embodiment(load_robot(name).embodiment).home)
    np.testing.assert_allclose(robot.measured, home, atol=1e-3)
    robot.advance(1.0)
    np.testing.assert_allclose(robot.measured, home, atol=3e-3)
    robot.close()


@pytest.mark.parametrize("name", ROBOTS)
def test_every_entry_reaches_its_target(name: str) -> None:
    robot = pair(name)
    robot.place(None, 0)
    entries = load_embodiment(robot.config.embodiment).actions
    goal = robot.measured + np.where([entry.unit == "m" for entry in entries], 0.03, 0.2)
    goal[[i for i, entry in enumerate(entries) if "gripper" in entry.name]] = 0.4
    for _ in range(12):
        assert robot.take(goal) == ""
        robot.advance()
    np.testing.assert_allclose(robot.measured, goal, atol=4e-3)
    assert robot.scene.warnings == 0  # type: ignore[attr-defined]
    robot.close()


def test_a_pose_out_of_reach_is_approached_and_a_wrong_one_refused() -> None:
    robot = pair("yam_pair")
    robot.place(None, 0)
    far = [1.0, 0.2, 0.1, 1.0, 0.0, 0.0, 0.0]
    for _ in range(15):
        assert robot.pose("left_arm", far) == ""
        robot.advance()
    reached = robot.measured
    assert np.isfinite(reached).all() and 0.35 < reached[0] < 0.7
    assert "quaternion" in robot.pose("left_arm", [0.3, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0])
    assert "finite" in robot.pose("left_arm", [np.nan, 0.2, 0.1, 1.0, 0.0, 0.0, 0.0])
    robot.close()


def test_each_camera_draws_in_its_own_size_and_only_squares() -> None:
    embodiment = load_embodiment(load_robot("yam_pair").embodiment)
    side = CameraSpec(name="side", width=64, height=64, encoding="rgb8", view_m=(0.0, 0.0))
    both = replace(embodiment, cameras=(*embodiment.cameras, side))
    robot = StandinRobot(NoTask("yam_pair"), both)  # type: ignore[arg-type]
    robot.place(None, 0)
    assert {name: image.shape for name, image in robot.images.items()} == {
        "top": (128, 128, 3), "side": (64, 64, 3),
    }
    robot.close()
    wide = replace(embodiment, cameras=(replace(side, width=96),))
    with pytest.raises(ConfigError, match="equal width and height"):
        StandinRobot(NoTask("yam_pair"), wide)  # type: ignore[arg-type]
