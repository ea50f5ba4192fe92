"""Comparisons and tables: what counts, what is lost, what is censored, what trust foretells."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from hiwm_core.task_plugin import Differences, FrameColumn, FrameMeasure, Sights
from hiwm_learning.world_models.evaluation.comparison import Comparison, Truth, compare, stack
from hiwm_learning.world_models.evaluation.picture_measure import PictureMeasure
from hiwm_learning.world_models.evaluation.scores import (
    by_horizon,
    counted,
    divergence,
    outcome,
    trust_scores,
)


class PlaceMeasure:
    """A measure with one difference, in sizes of an object."""

    columns = (FrameColumn(key="place_median", title="place, median, sizes"),)
    error_unit = "sizes"
    bad_error = 0.15
    parted_text = "0.25 sizes off"

    def look(self, frames: NDArray[np.uint8]) -> Sights:
        raise NotImplementedError

    def differences(
        self, seen: Sights, true: Sights, measured: NDArray[np.float64]
    ) -> Differences:
        raise NotImplementedError

    def error(self, differences: Differences) -> NDArray[np.float64]:
        return differences["place"]

    def drift(self, differences: Differences) -> NDArray[np.float64]:
        return differences["place"]

    def moved(self, differences: Differences) -> NDArray[np.bool_]:
        return np.asarray(differences["place"] >= 0.1)

    def parted(self, differences: Differences) -> NDArray[np.bool_]:
        return np.asarray(differences["place"] > 0.25)

    def summary(self, differences: Differences) -> dict[str, float | None]:
        return {"place_median": float(np.median(differences["place"]))}


MEASURE: FrameMeasure = PlaceMeasure()


def comparison(place: NDArray[np.float64]) -> Comparison:
    """Return errors of place [N, T + 1] with all else plain; NaN ends a recording."""
    ended = np.isnan(place)
    return Comparison(
        measured={"place": place}, rmse=np.where(ended, np.nan, 1.0 + 100 * place),
        ssim=np.where(ended, np.nan, 0.9),
    )


def test_frames_compared_with_themselves_have_no_error() -> None:
    measure = PictureMeasure()
    frames = np.full((3, 96, 96, 3), 230, np.uint8)
    frames[1:, 10:16, 10:16] = (220, 30, 20)
    sights = measure.look(frames)
    truth = Truth(frames=frames, sights=sights, measured=np.zeros((3, 4)))
    row = compare(measure, truth, frames, sights, ssim_at=(1,))
    copied = compare(measure, truth, frames[:1], measure.look(frames[:1]), ssim_at=())
    table = stack([row, copied], steps=4)
    assert table.measured["rmse"][0, :3].tolist() == [0.0, 0.0, 0.0]
    assert table.psnr_db[0, 0] == 99.0
    assert table.ssim[0, 1] == pytest.approx(1.0) and np.isnan(table.ssim[0, 0])
    # Nothing is known past the end.
    assert np.isnan(table.measured["rmse"][:, 3:]).all()
    assert table.rmse[1, 0] == 0.0 and table.rmse[1, 2] > 0.0
    assert measure.moved(table.at(slice(None), 2)).tolist() == [False, True]


def test_horizons_count_moving_recorded_rollouts() -> None:
    gone = np.array([[0, 0.2, 0.5], [0, 0.0, 0.01], [0, 0.3, np.nan], [0, np.nan, 0.2]])
    copy = comparison(gone)
    assert counted(MEASURE, copy, 1).tolist() == [True, True, True, False]
    assert counted(MEASURE, copy, 2).tolist() == [True, False, False, True]
    table = by_horizon(MEASURE, {"copy": copy}, copy, (1, 2, 9))
    assert [table[h]["n"] for h in ("1", "2", "9")] == [3, 2, 0]
    assert table["2"]["copy"]["place_median"] == pytest.approx(0.35)
    assert "copy" not in table["9"]


def test_a_rollout_that_never_parts_is_censored_where_its_recording_ends() -> None:
    nan, far = np.nan, 0.3
    place = np.array([
        [0, 0, far, 0, 0, 0],  # parts at 2, though it comes back
        [0, 0, 0, 0, far, far],  # at 4
        [0, 0, 0, nan, nan, nan],  # watched till 2
        [0, 0, 0, 0, 0, 0],  # never
    ])
    table = divergence(MEASURE, comparison(place))
    # Four at risk at 2; two at 4: alive .75, then .375.
    assert (table["quartile_steps"], table["median_steps"]) == (2, 4)
    assert table["upper_quartile_steps"] is None
    assert table["never_share"] == 0.5


def test_trust_that_falls_with_the_error_foretells_it() -> None:
    error = np.linspace(0, 0.6, 40).reshape(4, 10)
    copy = comparison(np.full_like(error, 0.2))
    table = trust_scores(MEASURE, np.exp(-error / 0.2), comparison(error), copy, (3, 7))
    pooled = table["pooled"]["moving"]
    assert (pooled["n"], pooled["spearman_error"], pooled["auc_bad_error"]) == (8, 1.0, 1.0)
    assert table["horizons"]["3"]["all"]["n"] == 4
    assert sum(row["n"] for row in table["reliability"]) == 8
    blind = trust_scores(MEASURE, np.ones_like(error), comparison(error), copy, (3,))
    assert blind["pooled"]["all"]["spearman_error"] is None
    assert blind["pooled"]["all"]["auc_bad_error"] == 0.5
    json.dumps(table, allow_nan=False)


def test_verdicts_are_counted_where_progress_is_known() -> None:
    table = outcome(
        np.array([0.9, 0.5, 0.2, 0.0]), np.array([0.8, 0.9, 0.1, 1.0]),
        np.array([0.9, 0.5, 0.4, np.nan]), wanted=0.85,
    )
    assert (table["n"], table["positives"]) == (3, 1)
    assert (table["true_positives"], table["false_positives"]) == (1, 1)
    assert table["progress_mae"] == pytest.approx(0.2 / 3)
