"""The towel's judge, the operator's eyes, and the soft pin."""

from collections.abc import Iterator

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import load_task
from hiwm_fold_towel.names import corner_gaps, covered_share, score, towel_of
from hiwm_fold_towel.vision import look
from hiwm_robot.standin_robot import StandinRobot

TASK = load_task("fold_towel")
EMBODIMENT = load_embodiment(TASK.embodiment)
PLUGIN = TASK.stand_in()


@pytest.fixture
def robot() -> Iterator[StandinRobot]:
    made = StandinRobot(TASK, EMBODIMENT, render_size=128)
    yield made
    made.close()


def flat() -> np.ndarray:
    """Return a flat towel's vertices [7, 9, 3]."""
    x, y = np.meshgrid(np.linspace(0.2, 0.44, 7), np.linspace(-0.15, 0.15, 9), indexing="ij")
    return np.stack([x, y, np.full_like(x, 0.004)], axis=-1)


def test_a_folded_towel_covers_half_and_its_corners_meet() -> None:
    towel = flat()
    assert 0.95 < covered_share(towel) < 1.06 and corner_gaps(towel).min() > 0.23
    towel[4:, :, 0] = towel[2::-1, :, 0]
    assert covered_share(towel) < 0.55 and corner_gaps(towel).max() < 1e-9
    assert score(corner_gaps(towel), 0.52, 0.01, held=False) == 1.0
    assert score(corner_gaps(towel), 0.52, 0.01, held=True) < 1.0
    assert score(corner_gaps(towel), 0.60, 0.01, held=False) < 1.0
    assert score(corner_gaps(towel) + 0.05, 0.52, 0.01, held=False) < 1.0


def test_the_picture_shows_the_corners_of_a_flat_towel(robot: StandinRobot) -> None:
    for seed in range(4):
        robot.place(TASK.sample_start(np.random.default_rng(seed)), seed)
        towel, seen = towel_of(robot.scene.truth), look(robot.images["top"])
        assert seen is not None and seen.flap < 0.02
        np.testing.assert_allclose(seen.near, towel[0, [-1, 0], :2], atol=0.008)
        np.testing.assert_allclose(seen.far, towel[-1, [-1, 0], :2], atol=0.012)


def test_shut_fingers_hold_a_near_vertex_until_they_open(robot: StandinRobot) -> None:
    behaviour = PLUGIN.behaviour("demonstration", EMBODIMENT, 2)
    robot.place(behaviour.start(), 0)
    held = []
    for _ in range(TASK.horizon_steps):
        truth = robot.scene.truth
        held.append(truth["left_holds"])
        if behaviour.finished(truth):
            break
        robot.take(behaviour.targets(truth, robot.measured))
        robot.advance()
    assert PLUGIN.progress(robot.scene.truth) == 1.0
    assert max(held) == 1.0 and held[0] == held[-1] == 0.0
    # Shut far from the towel, they hold nothing.
    robot.place(behaviour.start(), 0)
    for _ in range(5):
        robot.take(np.where(np.arange(10) % 5 == 4, 0.0, robot.measured))
        robot.advance()
    assert robot.scene.truth["left_holds"] == 0.0
