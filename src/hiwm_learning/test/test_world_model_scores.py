"""Comparisons and tables: what counts, what is lost, what is censored, what trust foretells."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from hiwm_core.embodiment import load_embodiment
from hiwm_core.table_vision import TableVision
from hiwm_core.task import load_task
from hiwm_learning.world_model.comparison import (
    Comparison,
    Truth,
    compare,
    look_along,
    pose_errors,
    stack,
)
from hiwm_learning.world_model.scores import (
    by_horizon,
    counted,
    divergence,
    outcome,
    trust_scores,
)

SIZE_M = 0.14


def comparison(place_m: NDArray[np.float64], angle_deg: float = 0.0) -> Comparison:
    """Return errors of place [N, T + 1] with all else plain; NaN ends a recording."""
    ended = np.isnan(place_m)

    def plain(value: float) -> NDArray[np.float64]:
        return np.where(ended, np.nan, value)

    return Comparison(
        place_m=place_m, angle_rad=plain(np.radians(angle_deg)), pushers_m=plain(0.001),
        overlap=plain(0.9), rmse=np.where(ended, np.nan, 1.0 + 100 * place_m), ssim=plain(0.9),
    )


def test_poses_that_are_lost_or_unknown_say_so() -> None:
    true = np.array([[0.0, 0.0, 3.1], [0.1, 0.0, 0.0], [np.nan] * 3])
    seen = np.array([[0.03, 0.04, -3.1], [np.nan] * 3, [0.0, 0.0, 0.0]])
    place, angle = pose_errors(seen, true)
    assert place[:2] == pytest.approx([0.05, np.inf])
    assert angle[:2] == pytest.approx([2 * np.pi - 6.2, np.pi])
    assert np.isnan(place[2]) and np.isnan(angle[2])


def test_frames_compared_with_themselves_have_no_error() -> None:
    task = load_task("push_t")
    vision = TableVision(load_embodiment(task.embodiment).cameras[0].view_m, task.object_unit_m)
    frames = np.full((3, 96, 96, 3), 230, np.uint8)
    frames[:, 40:50, 30:60] = (30, 80, 200)
    frames[1:, 10:16, 10:16] = (220, 30, 20)
    sights = look_along(vision, frames)
    truth = Truth(frames=frames, sights=sights, hands=sights.pushers)
    row = compare(truth, frames, sights, ssim_at=(1,))
    copied = compare(truth, frames[:1], look_along(vision, frames[:1]), ssim_at=())
    table = stack([row, copied], steps=4)
    assert np.array_equal(table.place_m[0, :3], np.zeros(3))
    assert table.psnr_db[0, 0] == 99.0
    assert table.ssim[0, 1] == pytest.approx(1.0) and np.isnan(table.ssim[0, 0])
    # A pusher that is not in sight is infinitely far off, and nothing is known past the end.
    assert np.isinf(table.pushers_m[0]).tolist() == [True, True, True, False, False]
    assert np.isnan(table.place_m[:, 3:]).all()
    assert table.rmse[1, 0] == 0.0 and table.rmse[1, 2] > 0.0


def test_horizons_count_moving_recorded_rollouts() -> None:
    gone = np.array([[0, 0.02, 0.05], [0, 0.0, 0.001], [0, 0.03, np.nan], [0, np.nan, 0.02]])
    copy = comparison(gone)
    assert counted(copy, 1).tolist() == [True, True, True, False]
    assert counted(copy, 2).tolist() == [True, False, False, True]
    table = by_horizon({"copy": copy}, copy, (1, 2, 9), SIZE_M)
    assert [table[h]["n"] for h in ("1", "2", "9")] == [3, 2, 0]
    assert table["2"]["copy"]["place_median_T"] == pytest.approx(0.035 / SIZE_M)
    assert "copy" not in table["9"]
    # Turning alone is moving as well: 15 degrees are an arc of 16 mm.
    assert counted(comparison(np.zeros((1, 3)), angle_deg=15), 2).all()


def test_a_rollout_that_never_parts_is_censored_where_its_recording_ends() -> None:
    nan, far = np.nan, 0.3 * SIZE_M
    place = np.array([
        [0, 0, far, 0, 0, 0],  # parts at 2, though it comes back
        [0, 0, 0, 0, far, far],  # at 4
        [0, 0, 0, nan, nan, nan],  # watched till 2
        [0, 0, 0, 0, 0, 0],  # never
    ])
    table = divergence(comparison(place), SIZE_M)
    # Four at risk at 2; two at 4: alive .75, then .375.
    assert (table["quartile_steps"], table["median_steps"]) == (2, 4)
    assert table["upper_quartile_steps"] is None
    assert table["never_share"] == 0.5
    turned = divergence(comparison(np.zeros((2, 6)), angle_deg=16), SIZE_M)
    assert (turned["median_steps"], turned["never_share"]) == (0, 0.0)
    assert divergence(comparison(np.zeros((2, 6)), angle_deg=14), SIZE_M)["never_share"] == 1.0


def test_trust_that_falls_with_the_error_foretells_it() -> None:
    error = np.linspace(0, 0.6, 40).reshape(4, 10) * SIZE_M
    copy = comparison(np.full_like(error, 0.02))
    table = trust_scores(np.exp(-error / 0.02), comparison(error), copy, (3, 7), SIZE_M)
    pooled = table["pooled"]["moving"]
    assert (pooled["n"], pooled["spearman_pose_error"], pooled["auc_bad_pose"]) == (8, 1.0, 1.0)
    assert table["horizons"]["3"]["all"]["n"] == 4
    assert sum(row["n"] for row in table["reliability"]) == 8
    blind = trust_scores(np.ones_like(error), comparison(error), copy, (3,), SIZE_M)
    assert blind["pooled"]["all"]["spearman_pose_error"] is None
    assert blind["pooled"]["all"]["auc_bad_pose"] == 0.5
    json.dumps(table, allow_nan=False)


def test_verdicts_are_counted_where_coverage_is_known() -> None:
    table = outcome(
        np.array([0.9, 0.5, 0.2, 0.0]), np.array([0.8, 0.9, 0.1, 1.0]),
        np.array([0.9, 0.5, 0.4, np.nan]), wanted=0.85,
    )
    assert (table["n"], table["positives"]) == (3, 1)
    assert (table["true_positives"], table["false_positives"]) == (1, 1)
    assert table["progress_mae"] == pytest.approx(0.2 / 3)
