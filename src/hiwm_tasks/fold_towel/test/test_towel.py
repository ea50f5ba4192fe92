"""The towel's judge, the operator's eyes, and the soft pin."""

from collections.abc import Iterator

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.task_plugin import FAILURE_DATA, ROBOT_DATA
from hiwm_core.tasks import load_task
from hiwm_fold_towel.folder import Folder, Sighting
from hiwm_fold_towel.names import broken, corner_gaps, covered_share, score, towel_of
from hiwm_fold_towel.vision import look
from hiwm_robot.standin_robot import StandinRobot
from hiwm_test_support.empty_hands import farthest_carry_of_nothing
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


def covered(image: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return a picture in which something as grey as an arm hides a place on the table."""
    row, column = np.rint(to_pixels(place, 128)).astype(int)
    out = image.copy()
    out[row - 30 : row + 31, column - 30 : column + 31] = (40, 42, 50)
    return out


def test_the_operator_keeps_what_it_saw_before_an_arm_hid_it(robot: StandinRobot) -> None:
    robot.place(TASK.sample_start(np.random.default_rng(0)), 0)
    operator = PLUGIN.operator(EMBODIMENT)
    clear = operator.look(robot.images, robot.measured, jumped=True).found
    above = robot.measured.copy()
    above[5:8] = *clear.far[1], 0.06
    hidden = {"top": covered(robot.images["top"], clear.far[1])}
    seen = operator.look(hidden, above, jumped=False).found
    np.testing.assert_array_equal(seen.far, clear.far)
    np.testing.assert_array_equal(seen.near, clear.near)
    assert clear.known and seen.known
    # Never seen: the hand that hides it goes home first.
    unseen = operator.look(hidden, above, jumped=True)
    assert not unseen.found.known
    target = operator.correction(0, 0.0).targets(unseen, above)
    assert target[7] > above[7]


def test_a_hand_that_missed_its_corner_does_not_hold_it(robot: StandinRobot) -> None:
    """It went away, and the corner is still there. Then both hands look anew."""
    robot.place(TASK.sample_start(np.random.default_rng(0)), 0)
    operator, images = PLUGIN.operator(EMBODIMENT), robot.images
    clear = operator.look(images, robot.measured, jumped=True).found
    shut = robot.measured.copy()
    for hand, corner in enumerate(clear.far):
        shut[5 * hand : 5 * hand + 5] = *corner, 0.013, np.pi / 2, 0.0
    assert operator.look(images, shut, jumped=False).found.held == (True, True)
    away = shut.copy()
    away[[0, 5]] -= 0.08
    gone = {"top": images["top"].copy()}
    rows, columns = np.indices((128, 128))
    for corner in clear.far:
        row, column = to_pixels(corner, 128)
        gone["top"][np.hypot(rows - row, columns - column) < 20] = gone["top"][2, 64]
    assert operator.look(gone, away, jumped=False).found.held == (True, True)
    seen = operator.look(images, away, jumped=False).found
    assert seen.held == (False, False) and not seen.known


def test_a_corner_that_lies_in_place_stays_there_while_the_other_one_is_taken() -> None:
    near = np.array([[0.22, 0.15], [0.22, -0.15]])
    seen = Sighting(
        far=near + [[0.01, 0.0], [0.2, 0.1]], near=near, held=(False, False), laid=(True, False)
    )
    home = np.array(EMBODIMENT.home)
    folder = Folder(home)
    above = home.reshape(2, 5).copy()
    above[0, :2], above[0, 2] = near[0], 0.03
    left, right = folder.targets(seen, above.ravel()).reshape(2, 5)
    assert left[2] > 0.03  # home
    assert np.linalg.norm(right[:2] - seen.far[1]) < np.linalg.norm(home[5:7] - seen.far[1])


def test_a_corner_that_was_pulled_aside_first_comes_in_front_of_its_place() -> None:
    near = np.array([[0.22, 0.15], [0.22, -0.15]])
    hands = np.array([[0.36, 0.15, 0.1, 1.57, 0.0], [0.36, -0.02, 0.1, 1.57, 0.0]])
    seen = Sighting(far=hands[:, :2], near=near, held=(True, True))
    left, right = Folder(np.array(EMBODIMENT.home)).targets(seen, hands.ravel()).reshape(2, 5)
    assert left[0] < 0.355
    assert right[1] < -0.025 and right[0] == pytest.approx(0.36, abs=1e-6)


def test_a_corner_that_is_folded_back_on_the_flap_is_the_far_one() -> None:
    image = np.full((128, 128, 3), (214, 209, 193), np.uint8)
    (top, left), (bottom, right), (ear, inner) = (
        np.rint(to_pixels(np.array(place), 128)).astype(int)
        for place in ([0.34, 0.15], [0.22, -0.15], [0.30, 0.07])
    )
    image[top:bottom, left:right] = (230, 150, 24)
    image[ear:bottom, left:inner] = (34, 78, 168)
    seen = look(image)
    assert seen is not None
    np.testing.assert_allclose(seen.far, [[0.30, 0.07], [0.22, -0.15]], atol=0.012)


def test_a_wedge_of_the_front_beside_the_flap_shows_the_far_corner() -> None:
    image = np.full((128, 128, 3), (214, 209, 193), np.uint8)
    (top, left), (bottom, right), (corner, _) = (
        np.rint(to_pixels(np.array(place), 128)).astype(int)
        for place in ([0.34, 0.15], [0.22, -0.15], [0.27, -0.15])
    )
    image[top:bottom, left:right] = (230, 150, 24)
    rows, columns = np.indices((128, 128))
    line = corner + (right - columns) * (bottom - corner) / (0.4 * (right - left))
    wedge = (rows > line) & (rows < bottom) & (columns >= left) & (columns < right)
    image[wedge] = (34, 78, 168)
    seen = look(image)
    assert seen is not None and not seen.near_seen
    np.testing.assert_allclose(seen.far, [[0.22, 0.15], [0.27, -0.15]], atol=0.012)


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


def test_hands_of_a_weak_demonstrator_that_missed_carry_on(robot: StandinRobot) -> None:
    def holds(side: int) -> bool:
        return bool(robot.scene.truth[("left_holds", "right_holds")[side]] > 0.5)

    drawn = (PLUGIN.behaviour(FAILURE_DATA, EMBODIMENT, seed) for seed in range(30))
    carrying = [weak for weak in drawn if weak.empty is not None][:3]
    found = [farthest_carry_of_nothing(robot, weak, holds, 90) for weak in carrying]
    assert max(found) > 0.1, found  # an empty hand went all the way


def test_recordings_of_the_robot_only_show_no_towel(robot: StandinRobot) -> None:
    only = PLUGIN.behaviour(ROBOT_DATA, EMBODIMENT, 5)
    robot.place(only.start(), 0)
    grips = []
    for _ in range(60):
        robot.take(only.targets(robot.scene.truth, robot.measured))
        robot.advance()
        red, _, blue = (robot.images["top"][..., i].astype(int) for i in range(3))
        assert ((blue > red + 60) | (red > blue + 120)).sum() == 0
        grips.append(robot.measured[[4, 9]])
    assert np.ptp(grips, axis=0).max() > 0.3  # the fingers move as well
    truth = robot.scene.truth
    assert truth["physics_warnings"] == truth["left_holds"] == truth["right_holds"] == 0.0
    near = {**TASK.sample_start(np.random.default_rng(1)), "towel_x_m": 0.6}
    assert "out of the arms' reach" in TASK.start_problem(near)


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
