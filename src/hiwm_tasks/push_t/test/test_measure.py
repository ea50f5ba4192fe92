"""What frames show of the T: what is lost, what counts as moved, what has parted."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import load_task
from hiwm_push_t.goal import goal_of
from hiwm_push_t.measure import TableMeasure, pose_errors

TASK = load_task("push_t")
GOAL = goal_of(TASK)
MEASURE = TableMeasure(GOAL, load_embodiment(TASK.embodiment).cameras[0].view_m)


def differences(place_m: list[float], angle_deg: float = 0.0) -> dict[str, NDArray[np.float64]]:
    """Return differences of place with all else plain."""
    place = np.array(place_m)
    return {
        "place_m": place, "angle_rad": np.full_like(place, np.radians(angle_deg)),
        "pushers_m": np.full_like(place, 0.001), "overlap": np.full_like(place, 0.9),
    }


def test_poses_that_are_lost_or_unknown_say_so() -> None:
    true = np.array([[0.0, 0.0, 3.1], [0.1, 0.0, 0.0], [np.nan] * 3])
    seen = np.array([[0.03, 0.04, -3.1], [np.nan] * 3, [0.0, 0.0, 0.0]])
    place, angle = pose_errors(seen, true)
    assert place[:2] == pytest.approx([0.05, np.inf])
    assert angle[:2] == pytest.approx([2 * np.pi - 6.2, np.pi])
    assert np.isnan(place[2]) and np.isnan(angle[2])


def test_frames_compared_with_themselves_have_no_error() -> None:
    frames = np.full((3, 96, 96, 3), 230, np.uint8)
    frames[:, 40:50, 30:60] = (30, 80, 200)
    frames[1:, 10:16, 10:16] = (220, 30, 20)
    sights = MEASURE.look(frames)
    same = MEASURE.differences(sights, sights, sights["pushers"])
    assert np.array_equal(same["place_m"], np.zeros(3))
    # A pusher that is not in sight is infinitely far off.
    assert np.isinf(same["pushers_m"]).all()
    first = {name: values[:1] for name, values in sights.items()}
    assert MEASURE.differences(first, sights, sights["pushers"])["place_m"].shape == (3,)


def test_turning_alone_is_moving_as_well() -> None:
    assert MEASURE.moved(differences([0.02, 0.001])).tolist() == [True, False]
    # 15 degrees are an arc of 16 mm.
    assert MEASURE.moved(differences([0.0], angle_deg=15)).all()


def test_a_rollout_parts_by_place_or_by_angle() -> None:
    far = 0.3 * GOAL.size_m
    assert MEASURE.parted(differences([0.0, far])).tolist() == [False, True]
    assert MEASURE.parted(differences([0.0], angle_deg=16)).all()
    assert not MEASURE.parted(differences([0.0], angle_deg=14)).any()


def test_numbers_are_in_t_sizes_and_a_lost_t_has_none() -> None:
    numbers = MEASURE.summary(differences([0.02, 0.05]))
    assert set(numbers) == {column.key for column in MEASURE.columns}
    assert numbers["place_median_T"] == pytest.approx(0.035 / GOAL.size_m)
    assert (numbers["whole_share"], numbers["pushers_within_10mm"]) == (1.0, 1.0)
    assert MEASURE.summary(differences([np.inf]))["place_median_T"] is None


def test_a_t_on_its_goal_is_a_success_and_one_out_of_sight_is_unknown() -> None:
    poses = np.stack([GOAL.pose, np.add(GOAL.pose, [0.05, 0.0, 0.0]), np.full(3, np.nan)])
    assert np.array_equal(MEASURE.verdicts({"poses": poses}), [1, 0, np.nan], equal_nan=True)
