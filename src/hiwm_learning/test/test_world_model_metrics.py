"""The numbers of the evaluation, against other programs' values and their own laws.

Reference values: scikit-image 0.25 and later (structural_similarity with gaussian_weights, sigma
1.5, population covariance; peak_signal_noise_ratio), scikit-learn's
roc_auc_score.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hiwm_learning.world_models.evaluation.metrics import (
    confusion,
    psnr,
    reliability,
    rmse,
    roc_auc,
    ssim,
    survival_quantile,
)

FRAMES = hnp.arrays(np.uint8, (14, 13, 3))


def waves(phase: float) -> NDArray[np.uint8]:
    y, x, c = np.meshgrid(np.arange(40), np.arange(48), np.arange(3), indexing="ij")
    grey = 127 + 80 * np.sin(x / 3 + phase + c) + 40 * np.cos(y / 5 - phase * 2)
    return np.asarray(np.rint(grey).astype(np.uint8))


def speckled(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    speckles = np.arange(frame.size).reshape(frame.shape) * 7919 % 31 - 15
    return np.asarray(np.clip(frame.astype(int) + speckles, 0, 255).astype(np.uint8))


def test_frames_score_as_scikit_image_scores_them() -> None:
    first = waves(0.0)
    assert ssim(first, waves(0.4)) == pytest.approx(0.8112243087139247, abs=1e-9)
    assert ssim(first, speckled(first)) == pytest.approx(0.9380741799038764, abs=1e-9)
    assert psnr(first, waves(0.4)) == pytest.approx(18.423064911289867, abs=1e-5)
    assert psnr(first, speckled(first)) == pytest.approx(29.120811050796878, abs=1e-5)


def test_flat_frames_differ_in_brightness_alone() -> None:
    dark, light = np.full((12, 12, 3), 60, np.uint8), np.full((12, 12, 3), 180, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(dark, light) == pytest.approx((2 * 60 * 180 + c1) / (60**2 + 180**2 + c1))
    assert rmse(dark, light) == pytest.approx(120)


def test_frames_are_scored_one_by_one() -> None:
    pair, other = np.stack([waves(0.0), waves(0.2)]), np.stack([waves(0.4), waves(0.2)])
    assert psnr(pair, other) == pytest.approx([float(psnr(pair[0], other[0])), 99.0])


def test_a_frame_below_the_window_is_refused() -> None:
    small = np.zeros((10, 12, 3), np.uint8)
    with pytest.raises(ValueError, match="smaller than the 11 px"):
        ssim(small, small)


@settings(max_examples=40, deadline=None)
@given(a=FRAMES, b=FRAMES)
def test_similarity_is_bounded_and_symmetric_and_whole_for_itself(
    a: NDArray[np.uint8], b: NDArray[np.uint8]
) -> None:
    assert -1.0 <= ssim(a, b) <= 1.0 + 1e-12
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-12)
    assert ssim(a, a) == pytest.approx(1.0)
    assert 0.0 <= float(psnr(a, b)) <= 99.0
    assert psnr(a, b) == psnr(b, a)
    assert psnr(a, a) == 99.0


def test_detection_scores_as_in_scikit_learn() -> None:
    score = [2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4]
    assert roc_auc(score, [0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1]) == pytest.approx(0.6333333333333333)
    assert math.isnan(roc_auc(score, [0] * 11))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=30))
def test_detection_sees_only_the_order(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    assert roc_auc(a, b > 4) == pytest.approx(1 - roc_auc(-a, b > 4), nan_ok=True)


def test_all_events_seen_gives_the_plain_quantile() -> None:
    times = [7.0, 3.0, 9.0, 1.0]
    assert survival_quantile(times, [True] * 4, 0.25) == 1
    assert survival_quantile(times, [True] * 4, 0.5) == 3
    assert survival_quantile(times, [True] * 4, 1.0) == 9


def test_a_rollout_watched_briefly_counts_until_it_was_left() -> None:
    # By hand: two of four left at 2 without event; at 3 one of two, so alive 1/2; at 5 none.
    times, seen = [2, 2, 3, 5], [False, False, True, True]
    assert survival_quantile(times, seen, 0.5) == 3
    assert survival_quantile(times, seen, 0.75) == 5
    # Left in the same step as an event, it still counts among those at risk: 1 - 1/4.
    assert survival_quantile([3, 3, 3, 3], [True, False, False, False], 0.25) == 3


def test_too_few_events_leave_the_quantile_unknown() -> None:
    assert survival_quantile([4, 9, 9, 9], [True, False, False, False], 0.5) is None
    assert survival_quantile([9], [False], 0.25) is None


def test_cases_and_bins_are_counted() -> None:
    assert confusion([1, 1, 0, 0, 0], [1, 0, 1, 0, 0]) == {
        "true_positives": 1, "false_positives": 1, "false_negatives": 1, "true_negatives": 2,
    }
    low, empty, high = reliability(
        [0.1, 0.2, 0.9, 1.0], [0.3, math.inf, 0.0, 0.2], (0, 0.5, 0.8, 1.0), bad=0.15
    )
    assert (low["n"], low["median_error"], low["bad_share"]) == (2, None, 1.0)
    assert (empty["n"], empty["median_error"], empty["bad_share"]) == (0, None, None)
    assert (high["n"], high["median_error"], high["bad_share"]) == (2, 0.1, 0.5)
