"""The scene with nothing on the table: the arms rest, and their servos reach their targets."""

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.measured import MeasuredAction
from hiwm_core.task_plugin import Values
from hiwm_yam_pair.mjcf import Options
from hiwm_yam_pair.scene import PairScene


class EmptyTable(PairScene):
    """Nothing on the table."""

    def _arrange(self, start: Values) -> None:
        pass

    @property
    def truth(self) -> dict[str, float]:
        return {}


def table(name: str) -> EmptyTable:
    physics = Options(physics='timestep="0.004" integrator="discrete"')
    return EmptyTable(load_embodiment(name), physics, 32)


@pytest.mark.parametrize("name", ["yam_pair", "yam_pair_cartesian"])
def test_the_arms_rest_at_home(name: str) -> None:
    scene, embodiment = table(name), load_embodiment(name)
    scene.place({})
    scene.advance(1.0)
    measured = MeasuredAction(embodiment).array(
        dict(zip(embodiment.joint_names, scene.joint_positions, strict=True))
    )
    np.testing.assert_allclose(measured, embodiment.home, atol=3e-3)
    assert np.abs(scene.joint_velocities).max() < 1e-2
    assert scene.warnings == 0


def test_the_servos_reach_their_targets_within_a_tenth_of_a_second() -> None:
    scene = table("yam_pair")
    scene.place({})
    goal = scene.joint_positions + 0.05 - 0.55 * np.array(
        ["gripper" in name for name in load_embodiment("yam_pair").joint_names]
    )
    for _ in range(3):
        scene.set_target(goal)
        scene.advance(0.1)
    np.testing.assert_allclose(scene.joint_positions, goal, atol=4e-3)


def test_all_cameras_see_the_table() -> None:
    scene = table("yam_pair")
    scene.place({})
    images = [
        scene.render(camera=name) for name in ("top", "side", "left_wrist", "right_wrist")
    ]
    for image in images:
        assert image.shape == (32, 32, 3) and image.std() > 3
    assert not np.array_equal(images[2], images[3])
    np.testing.assert_array_equal(images[0], scene.render())
    scene.close()
