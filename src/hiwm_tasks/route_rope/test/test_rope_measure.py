"""What frames show of the rope: how far it is off, what arms hide, and what lies in a clip."""

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import load_task
from hiwm_robot.standin_robot import StandinRobot
from hiwm_route_rope.measure import RopeMeasure

TASK = load_task("route_rope")
EMBODIMENT = load_embodiment(TASK.embodiment)
MEASURE = RopeMeasure()
NONE = np.zeros((1, 10))


def drawn(row: int, width: int = 60) -> np.ndarray:
    """Return a frame [1, 128, 128, 3] with a rope of 3 px along a row."""
    frame = np.full((1, 128, 128, 3), (214, 209, 193), np.uint8)
    frame[0, row - 1:row + 2, 64 - width // 2:64 + width // 2] = (207, 33, 22)
    return frame


def error(frames: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the error [T] of frames against true ones, px."""
    measured = np.zeros((len(true), 10))
    return MEASURE.error(
        MEASURE.differences(MEASURE.look(frames), MEASURE.look(true), measured)
    )


def test_the_error_is_the_way_to_the_other_rope() -> None:
    assert error(drawn(50), drawn(50))[0] == 0.0
    assert error(drawn(54), drawn(50))[0] == pytest.approx(3.0)  # pixels at the edges have less
    assert error(drawn(70), drawn(50))[0] == pytest.approx(19.0, abs=1.0)
    # Both ends are missing: a third of the pixels are 5.5 px away, in one of the directions.
    assert error(drawn(50, width=40), drawn(50))[0] == pytest.approx(5.5 / 3 / 2, abs=0.1)


def test_one_frame_stands_for_a_sequence_and_a_lost_rope_is_infinitely_far() -> None:
    empty = np.full((1, 128, 128, 3), (214, 209, 193), np.uint8)
    true = np.concatenate([drawn(50), drawn(60), empty])
    errors = error(drawn(50), true)
    assert errors[0] == 0.0 and errors[1] > 8.0 and np.isnan(errors[2])
    assert np.isinf(error(empty, true)[0])
    found = MEASURE.differences(MEASURE.look(drawn(50)), MEASURE.look(true), NONE)
    assert MEASURE.moved(found).tolist() == [False, True, False]
    assert MEASURE.parted(found).tolist() == [False, True, False]
    numbers = MEASURE.summary(found)
    assert set(numbers) == {column.key for column in MEASURE.columns}
    assert numbers["bad_share"] == 0.5 and numbers["clips_right_share"] is None
    lost = MEASURE.differences(MEASURE.look(empty), MEASURE.look(true), NONE)
    assert MEASURE.summary(lost)["rope_median_px"] is None
    assert MEASURE.summary(lost)["shown_median"] == 0.0


def test_success_takes_both_clips_and_is_unknown_where_one_is_hidden() -> None:
    nan = np.nan
    in_clips = np.array([[1, 1], [1, 0], [nan, 0], [nan, 1], [nan, nan]])
    verdicts = MEASURE.verdicts({"in_clips": in_clips})
    assert np.array_equal(verdicts, [1, 0, 0, nan, nan], equal_nan=True)


@pytest.fixture
def robot():
    made = StandinRobot(TASK, EMBODIMENT, render_size=128)
    yield made
    made.close()


def test_arms_above_the_rope_are_no_error(robot: StandinRobot) -> None:
    robot.place(TASK.sample_start(np.random.default_rng(0)), 0)
    before = robot.images["top"][None]
    goal = robot.measured
    goal[[0, 5]], goal[[1, 6]] = 0.30, (0.08, -0.08)  # over the rope, at the height of home
    for _ in range(12):
        robot.take(robot.measured + np.clip(goal - robot.measured, -0.02, 0.02))
        robot.advance()
    after = robot.images["top"][None]
    assert (MEASURE.look(after)["rope"] != MEASURE.look(before)["rope"]).sum() > 10
    assert error(before, after)[0] < 0.3 and error(after, before)[0] < 0.3


def test_the_picture_tells_which_clips_hold_the_rope(robot: StandinRobot) -> None:
    start = TASK.sample_start(np.random.default_rng(3))
    robot.place(start, 0)
    apart = MEASURE.look(robot.images["top"][None])
    straight = {name: 0.0 for name in start if name.startswith("rope")}
    robot.place({**start, **straight, "rope_x_m": 0.40, **{
        f"{side}_clip_{part}": value for side in ("left", "right")
        for part, value in (("x_m", 0.40), ("yaw_rad", 0.0))
    }}, 0)
    truth = robot.scene.truth
    assert truth["left_clip_holds"] == truth["right_clip_holds"] == 1.0
    routed = MEASURE.look(robot.images["top"][None])
    assert apart["in_clips"].tolist() == [[0.0, 0.0]]
    assert routed["in_clips"].tolist() == [[1.0, 1.0]]
    found = MEASURE.differences(apart, routed, NONE)
    assert found["clips_wrong"].tolist() == [2.0]
    assert MEASURE.summary(found)["clips_right_share"] == 0.0


def test_only_the_top_camera_has_a_measure() -> None:
    plugin = TASK.stand_in()
    assert isinstance(plugin.frame_measure(EMBODIMENT, "top"), RopeMeasure)
    assert plugin.frame_measure(EMBODIMENT, "side") is None
