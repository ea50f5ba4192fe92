"""Comparisons and tables: what counts, what is lost, what is censored, what trust foretells."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from hiwm_core.task_plugin import Differences, FrameColumn, FrameMeasure, Sights
from hiwm_learning.world_models.evaluation.comparison import (
    Comparison,
    Shown,
    Truth,
    compare,
    stack,
)
from hiwm_learning.world_models.evaluation.picture_measure import PictureMeasure
from hiwm_learning.world_models.evaluation.scores import (
    agreement,
    by_horizon,
    counted,
    divergence,
    outcome,
    over_all,
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

    def verdicts(self, sights: Sights) -> NDArray[np.float64]:
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
        ssim=np.where(ended, np.nan, 0.9), changed_rmse=np.where(ended, np.nan, 20.0),
        others_rmse={}, proprioception=np.where(ended, np.nan, place)[..., None],
    )


def test_frames_compared_with_themselves_have_no_error() -> None:
    measure = PictureMeasure()
    frames = np.full((3, 96, 96, 3), 230, np.uint8)
    frames[1:, 10:16, 10:16] = (220, 30, 20)
    sights = measure.look(frames)
    truth = Truth(
        frames=frames, sights=sights, others={"side": frames}, measured=np.zeros((3, 4)),
        proprioception=np.arange(6.0).reshape(3, 2),
    )
    row = compare(measure, truth, truth, looked_at=(1,))
    copied = compare(measure, truth, Shown(
        frames=frames[:1], sights=measure.look(frames[:1]), others={"side": frames[:1]},
        proprioception=np.array([[0.0, 1.0]]),
    ), looked_at=(2,))
    table = stack([row, copied], steps=4)
    assert table.measured["rmse"][0, :3].tolist() == [0.0, 0.0, 0.0]
    assert table.psnr_db[0, 0] == 99.0
    assert table.ssim[0, 1] == pytest.approx(1.0) and np.isnan(table.ssim[0, 0])
    # Nothing is known past the end.
    assert np.isnan(table.measured["rmse"][:, 3:]).all()
    assert table.rmse[1, 0] == 0.0 and table.rmse[1, 2] > 0.0
    assert table.others_rmse["side"][1, 2] == table.rmse[1, 2]
    # The square is all that has changed: 36 pixels, off by (10, 200, 210) levels.
    assert table.changed_rmse[1, 2] == pytest.approx(np.sqrt((10**2 + 200**2 + 210**2) / 3))
    assert table.changed_rmse[0, 1] == 0.0 and np.isnan(table.changed_rmse[0, 2])
    assert table.proprioception[1, 2].tolist() == [4.0, 4.0]
    over = over_all({"imagined": table}, {"m": [0], "rad": [1]}, (1, 2, 9))
    assert [over[h]["n"] for h in ("1", "2", "9")] == [2, 2, 0]
    assert over["2"]["imagined"]["proprioception_median"] == {"m": 2.0, "rad": 2.0}
    assert set(over["2"]["imagined"]["others_psnr_db"]) == {"side"}
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


def test_imagined_verdicts_agree_where_both_are_known() -> None:
    nan = np.nan
    table = agreement(np.array([
        [1, 1, 0.9], [0, 1, 0.2], [1, nan, 0.4], [nan, 1, 0.9], [0, 0, nan],
    ]))
    assert table["n"] == 5
    assert (table["frames"]["n"], table["head"]["n"]) == (3, 3)
    assert table["frames"]["agree_share"] == pytest.approx(2 / 3)
    assert table["frames"]["false_positives"] == 1
    assert table["head"]["agree_share"] == pytest.approx(2 / 3)
    blind = agreement(np.array([[nan, nan, nan]]))
    assert blind["frames"]["agree_share"] is None
    json.dumps(blind, allow_nan=False)
