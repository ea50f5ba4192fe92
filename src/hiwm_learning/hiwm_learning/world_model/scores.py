"""The tables of an evaluation: numbers over rollouts, by horizon, as JSON values.

Medians and shares are over rollouts; where the T is lost its error is infinite, and a median that
is infinite is written as null.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.rank_statistics import spearman
from hiwm_learning.world_model.comparison import Comparison
from hiwm_learning.world_model.metrics import (
    confusion,
    finite,
    reliability,
    roc_auc,
    survival_quantile,
)

Array = NDArray[np.float64]
Table = dict[str, Any]

# The T counts as moving when its edge goes this far within the horizon.
MOVING_M = 0.01
WHOLE = 0.8  # overlap with the best-fitting rigid T above which the T is whole
PUSHER_M = 0.01
# A rollout has parted from the truth at the first step beyond either of these.
DIVERGED_T, DIVERGED_DEG = 0.25, 15.0
# A pose that far off makes a correction drawn on the frame miss on the table.
BAD_T = 0.15
TRUST_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 1.0)
SUCCESS_AT = 0.5  # of the head


def counted(copy: Comparison, step: int) -> NDArray[np.bool_]:
    """Return which rollouts [N] count at a step: recorded that far, and the T moves till then.

    Args:
        copy: of the first frame against the truth: how far the T has gone.
        step: horizon; at the first step all that are recorded count.
    """
    gone = copy.pose_m[:, step]
    return np.asarray(~np.isnan(gone) if step == 1 else gone >= MOVING_M)


def at_horizon(compared: Comparison, rows: NDArray[np.bool_], step: int, size_m: float) -> Table:
    """Return one comparison's numbers at a step.

    Args:
        compared: all rollouts.
        rows: [N] those that count.
        step: horizon.
        size_m: of the T, for errors in T sizes.
    """
    pushers, overlap = compared.pushers_m[rows, step], compared.overlap[rows, step]
    return {
        "psnr_db": float(compared.psnr_db[rows, step].mean()),
        "ssim": finite(float(compared.ssim[rows, step].mean())),
        "place_median_T": finite(float(np.median(compared.place_m[rows, step])) / size_m),
        "angle_median_deg": float(np.degrees(np.median(compared.angle_rad[rows, step]))),
        "bad_pose_share": float((compared.pose_m[rows, step] > BAD_T * size_m).mean()),
        "pushers_median_mm": finite(float(np.median(pushers)) * 1e3),
        "pushers_within_10mm": float((pushers < PUSHER_M).mean()),
        "overlap_median": float(np.median(overlap)),
        "whole_share": float((overlap >= WHOLE).mean()),
    }


def by_horizon(
    compared: dict[str, Comparison], copy: Comparison, steps: Sequence[int], size_m: float
) -> Table:
    """Return for each horizon the count n, and each comparison's numbers where n is not 0."""
    table: Table = {}
    for step in steps:
        rows = counted(copy, step) if step < copy.place_m.shape[1] else np.zeros(0, bool)
        table[str(step)] = {"n": int(rows.sum())}
        if rows.any():
            for name, comparison in compared.items():
                table[str(step)][name] = at_horizon(comparison, rows, step, size_m)
    return table


def divergence(compared: Comparison, size_m: float) -> Table:
    """Return when rollouts part from the truth: quantiles of the first step beyond the limits.

    A rollout that never does is right-censored at the end of its recording: it counts as long as
    it was watched (Kaplan and Meier 1958), and a quantile that too few reach is null.
    """
    away = (compared.place_m > DIVERGED_T * size_m) | (
        np.degrees(compared.angle_rad) > DIVERGED_DEG
    )
    parted = away.any(axis=1)
    watched = (~np.isnan(compared.rmse)).sum(axis=1) - 1
    times = np.where(parted, away.argmax(axis=1), watched)
    return {
        "n": len(times), "beyond": {"place_T": DIVERGED_T, "angle_deg": DIVERGED_DEG},
        "quartile_steps": survival_quantile(times, parted, 0.25),
        "median_steps": survival_quantile(times, parted, 0.5),
        "upper_quartile_steps": survival_quantile(times, parted, 0.75),
        "never_share": float((~parted).mean()),
        "watched_median_steps": float(np.median(watched)),
    }


def trust_scores(
    trust: Array, compared: Comparison, copy: Comparison, steps: Sequence[int], size_m: float
) -> Table:
    """Return how well trust foretells errors, over all rollouts and over those whose T moves.

    Args:
        trust: [N, T + 1], 0..1; NaN, of a model without it, counts nowhere.
        compared: of the imagined frames.
        copy: of the first frame, for what moves.
        steps: horizons, also pooled; one recording gives several rollouts, so that n counts
            more than there are independent cases.
        size_m: of the T.
    """
    error, frames = compared.pose_m / size_m, compared.rmse
    known = ~np.isnan(error) & ~np.isnan(trust)
    moving = known & (copy.pose_m >= MOVING_M)

    def scored(chosen: NDArray[np.bool_]) -> Table:
        bad = error[chosen] > BAD_T
        return {
            "n": int(chosen.sum()), "bad": int(bad.sum()),
            "spearman_pose_error": finite(spearman(-trust[chosen], error[chosen])),
            "spearman_frame_rmse": finite(spearman(-trust[chosen], frames[chosen])),
            "auc_bad_pose": finite(roc_auc(-trust[chosen], bad)),
        }

    pooled = np.zeros_like(known)
    pooled[:, list(steps)] = True
    table: Table = {"bad_pose_T": BAD_T, "horizons": {}}
    for step in steps:
        one = np.zeros_like(known)
        one[:, step] = True
        table["horizons"][str(step)] = {
            "all": scored(known & one), "moving": scored(moving & one)
        }
    table["pooled"] = {"all": scored(known & pooled), "moving": scored(moving & pooled)}
    chosen = known & pooled
    table["reliability"] = reliability(trust[chosen], error[chosen], TRUST_EDGES, BAD_T)
    return table


def outcome(progress: Array, success: Array, coverage: Array, wanted: float) -> Table:
    """Return how right the heads are on rows whose coverage is known; n is 0 without a head.

    Args:
        progress: [N] of the head, NaN where it was not trained.
        success: [N] of the head, 0..1, or NaN likewise.
        coverage: [N] labels, NaN unknown.
        wanted: coverage that counts as success.
    """
    judged = ~np.isnan(coverage) & ~np.isnan(success)
    label, said = coverage[judged], success[judged] >= SUCCESS_AT
    error = np.abs(progress - coverage)
    known = error[~np.isnan(error)]
    return {
        "n": int(judged.sum()), "positives": int((label >= wanted).sum()),
        **confusion(said, label >= wanted),
        "progress_mae": float(known.mean()) if len(known) else None,
    }
