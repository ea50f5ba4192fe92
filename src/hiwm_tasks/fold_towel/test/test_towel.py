"""The towel's judge, the operator's eyes, and the soft pin."""

from collections.abc import Iterator

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.task_plugin import FAILURE_DATA
from hiwm_core.tasks import load_task
from hiwm_fold_towel.names import broken, corner_gaps, covered_share, score, towel_of
from hiwm_fold_towel.vision import look
from hiwm_robot.standin_robot import StandinRobot
from hiwm_yam_pair.top_camera import metres_per_pixel, to_pixels

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


def test_corners_of_a_flap_are_found_under_the_hands_that_take_them() -> None:
    """Of a straight flap: its free edge, and the towel's known width, tell where they lie."""
    size, pixel = 128, metres_per_pixel(128)
    image = np.full((size, size, 3), (214, 209, 193), np.uint8)
    near, fold, free = (to_pixels(np.array([x, 0.0]), size)[0] for x in (0.22, 0.40, 0.34))
    left, right = (to_pixels(np.array([0.0, y]), size)[1] for y in (0.15, -0.15))
    rows, columns = np.indices((size, size))
    across = (columns >= left) & (columns <= right)
    image[across & (rows <= near) & (rows >= free)] = (34, 78, 168)
    image[across & (rows < free) & (rows >= fold)] = (230, 150, 24)
    open_picture = look(image)
    for hidden in ([left], [right], [left, right]):
        covered = image.copy()
        for column in hidden:
            at = np.abs(columns - column) < 9
            covered[at & (np.abs(rows - free) < 7)] = (40, 42, 50)
        seen = look(covered)
        assert open_picture is not None and seen is not None
        places = [[0.34, 0.15], [0.34, -0.15]]
        for far in (open_picture.far, seen.far):
            np.testing.assert_allclose(far, places, atol=2 * pixel)
        np.testing.assert_allclose(seen.near, [[0.22, 0.15], [0.22, -0.15]], atol=2 * pixel)


def test_the_operator_finishes_a_fold_that_both_hands_let_slip(robot: StandinRobot) -> None:
    weak = PLUGIN.behaviour(FAILURE_DATA, EMBODIMENT, 314)
    robot.place(weak.start(), 0)
    for _ in range(57):
        robot.take(weak.targets(robot.scene.truth, robot.measured))
        robot.advance()
    truth = robot.scene.truth
    assert PLUGIN.progress(truth) < 1.0 and truth["left_holds"] == truth["right_holds"] == 0.0
    operator = PLUGIN.operator(EMBODIMENT)
    correction = operator.correction(0, 0.0)
    for _ in range(TASK.horizon_steps):
        sight = operator.look(robot.images, robot.measured, jumped=False)
        robot.take(correction.targets(sight, robot.measured) if sight.visible else robot.measured)
        robot.advance()
        if PLUGIN.progress(robot.scene.truth) >= 1.0:
            break
    assert PLUGIN.progress(robot.scene.truth) == 1.0


def test_cloth_that_tears_or_passes_through_the_table_is_broken() -> None:
    towel = flat()
    assert not broken(towel)
    for place, change in (((3, 4, 0), 0.03), ((3, 4, 2), -0.03), ((3, 4, 0), np.nan)):
        wrong = towel.copy()
        wrong[place] += change
        assert broken(wrong)


def test_an_episode_whose_physics_broke_has_failed(robot: StandinRobot) -> None:
    robot.place(TASK.sample_start(np.random.default_rng(1)), 0)
    assert PLUGIN.progress(robot.scene.truth) > 0.0
    model, data = robot.scene.model, robot.scene.data  # type: ignore[attr-defined]
    data.qvel[model.joint(model.body("v0").jntadr[0]).dofadr] = 1e12
    robot.advance()
    truth = robot.scene.truth
    # MuJoCo warned, and reset its state: nothing but the warning tells.
    assert truth["physics_warnings"] > 0.0 and PLUGIN.progress(truth) == 0.0
    robot.place(TASK.sample_start(np.random.default_rng(1)), 0)
    assert robot.scene.truth["physics_warnings"] == 0.0


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
