"""What frames show of the towel: its outline, the side that it shows, and what arms hide."""

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import load_task
from hiwm_fold_towel.measure import TowelMeasure
from hiwm_robot.standin_robot import StandinRobot

TASK = load_task("fold_towel")
EMBODIMENT = load_embodiment(TASK.embodiment)
MEASURE = TowelMeasure()
NONE = np.zeros((1, 10))
# Pixels of the flat towel in a picture of 128 px: 24 by 30 cm.
LONG, WIDE = 69, 86
FRONT, BACK = (34, 78, 168), (230, 150, 24)


def drawn(rows: slice, colour: tuple[int, int, int], down: int = 0) -> np.ndarray:
    """Return a frame [1, 128, 128, 3] with a part of the towel."""
    frame = np.full((1, 128, 128, 3), (214, 209, 193), np.uint8)
    frame[0, rows.start + down:rows.stop + down, 20:20 + WIDE] = colour
    return frame


FLAT = drawn(slice(30, 30 + LONG), FRONT)
FOLDED = drawn(slice(30 + LONG // 2, 30 + LONG), BACK)


def differences(frames: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """Return the differences of frames from true ones."""
    measured = np.zeros((len(true), 10))
    return dict(MEASURE.differences(MEASURE.look(frames), MEASURE.look(true), measured))


def test_a_towel_has_no_error_against_itself_and_the_more_the_farther_it_moves() -> None:
    errors = [
        differences(drawn(slice(30, 30 + LONG), FRONT, down), FLAT)["wrong"][0]
        for down in (0, 3, 9, 20)
    ]
    assert errors[0] == 0.0
    assert errors[1:] == pytest.approx([2 * down / LONG for down in (3, 9, 20)], rel=0.05)


def test_a_fold_changes_outline_and_side() -> None:
    found = differences(FLAT, FOLDED)
    assert found["outline_iou"][0] == pytest.approx(0.5, abs=0.02)
    assert found["back"][0] == pytest.approx(0.5, abs=0.02)
    assert found["wrong"][0] == pytest.approx(1.0, abs=0.03)
    # The same outline with the wrong side up.
    turned = differences(drawn(slice(30 + LONG // 2, 30 + LONG), FRONT), FOLDED)
    assert turned["outline_iou"][0] == 1.0 and turned["wrong"][0] > 0.45


def test_a_folded_towel_is_a_success_and_one_out_of_sight_is_unknown() -> None:
    half = drawn(slice(30, 30 + LONG // 2), FRONT)  # as small, but its front is up
    empty = drawn(slice(0, 0), FRONT)
    verdicts = MEASURE.verdicts(MEASURE.look(np.concatenate([FLAT, FOLDED, half, empty])))
    assert np.array_equal(verdicts, [0, 1, 0, np.nan], equal_nan=True)


def test_one_frame_stands_for_a_sequence_and_a_lost_towel_is_wrong_everywhere() -> None:
    empty = drawn(slice(0, 0), FRONT)
    found = differences(FLAT, np.concatenate([FLAT, FOLDED, empty]))
    assert MEASURE.moved(found).tolist() == [False, True, False]
    assert MEASURE.parted(found).tolist() == [False, True, False]
    assert np.isnan(found["wrong"][2])
    numbers = MEASURE.summary(found)
    assert set(numbers) == {column.key for column in MEASURE.columns}
    assert numbers["bad_share"] == 0.5
    lost = differences(empty, FLAT)
    assert lost["outline_iou"][0] == 0.0 and lost["wrong"][0] == pytest.approx(1.0, abs=0.03)


def test_arms_above_the_towel_are_no_error() -> None:
    robot = StandinRobot(TASK, EMBODIMENT, render_size=128)
    robot.place(TASK.sample_start(np.random.default_rng(0)), 0)
    before = robot.images["top"][None]
    goal = robot.measured
    goal[[0, 5]], goal[[1, 6]] = 0.36, (0.1, -0.1)  # over the towel, at the height of home
    for _ in range(12):
        robot.take(robot.measured + np.clip(goal - robot.measured, -0.02, 0.02))
        robot.advance()
    after = robot.images["top"][None]
    robot.close()
    shown = [np.unpackbits(MEASURE.look(frame)["front"]).sum() for frame in (before, after)]
    assert shown[1] < 0.9 * shown[0]
    for found in (differences(before, after), differences(after, before)):
        assert found["wrong"][0] < 0.01 and found["outline_iou"][0] > 0.98
        assert found["back"][0] < 0.01


def test_only_the_top_camera_has_a_measure() -> None:
    plugin = TASK.stand_in()
    assert isinstance(plugin.frame_measure(EMBODIMENT, "top"), TowelMeasure)
    assert plugin.frame_measure(EMBODIMENT, "left_wrist") is None
