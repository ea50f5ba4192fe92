"""The tables of an evaluation: numbers over rollouts, by horizon, as JSON values.

Medians and shares are over rollouts; where the object is lost its error is infinite, and a median
that is infinite is written as null.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.json_files import finite
from hiwm_core.rank_statistics import spearman
from hiwm_core.task_plugin import FrameMeasure
from hiwm_learning.world_models.evaluation.comparison import Comparison
from hiwm_learning.world_models.evaluation.metrics import (
    confusion,
    psnr_of,
    reliability,
    roc_auc,
    survival_quantile,
)

Array = NDArray[np.float64]
Table = dict[str, Any]

TRUST_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 1.0)
SUCCESS_AT = 0.5  # of the head


def counted(measure: FrameMeasure, copy: Comparison, step: int) -> NDArray[np.bool_]:
    """Return which rollouts [N] count at a step: recorded that far, and something moves till then.

    Args:
        measure: of the task.
        copy: of the first frame against the truth: how far the object has gone.
        step: horizon; at the first step all that are recorded count.
    """
    gone = copy.at(slice(None), step)
    if step == 1:
        return np.asarray(~np.isnan(measure.error(gone)))
    return measure.moved(gone)


def at_horizon(
    measure: FrameMeasure, compared: Comparison, rows: NDArray[np.bool_], step: int
) -> Table:
    """Return one comparison's numbers at a step.

    Args:
        measure: of the task.
        compared: all rollouts.
        rows: [N] those that count.
        step: horizon.
    """
    return {
        "psnr_db": float(compared.psnr_db[rows, step].mean()),
        "ssim": finite(float(compared.ssim[rows, step].mean())),
        **measure.summary(compared.at(rows, step)),
    }


def by_horizon(
    measure: FrameMeasure, compared: dict[str, Comparison], copy: Comparison, steps: Sequence[int]
) -> Table:
    """Return for each horizon the count n, and each comparison's numbers where n is not 0."""
    table: Table = {}
    for step in steps:
        rows = counted(measure, copy, step) if step < copy.rmse.shape[1] else np.zeros(0, bool)
        table[str(step)] = {"n": int(rows.sum())}
        if rows.any():
            for name, comparison in compared.items():
                table[str(step)][name] = at_horizon(measure, comparison, rows, step)
    return table


def over_all(
    compared: dict[str, Comparison], units: dict[str, list[int]], steps: Sequence[int]
) -> Table:
    """Return pixels and proprioception over all rollouts that are recorded as far as a step.

    Args:
        compared: all rollouts, by name.
        units: of proprioception, with the places of each.
        steps: horizons.
    """
    table: Table = {}
    for step in steps:
        one = next(iter(compared.values()))
        rows = ~np.isnan(one.rmse[:, step]) if step < one.rmse.shape[1] else np.zeros(0, bool)
        table[str(step)] = {"n": int(rows.sum())}
        if rows.any():
            for name, comparison in compared.items():
                table[str(step)][name] = _plain(comparison, rows, units, step)
    return table


def _plain(
    compared: Comparison, rows: NDArray[np.bool_], units: dict[str, list[int]], step: int
) -> Table:
    changed = compared.changed_rmse[rows, step]
    known = changed[~np.isnan(changed)]
    joints = compared.proprioception[rows, step]
    return {
        "psnr_db": float(compared.psnr_db[rows, step].mean()),
        "ssim": finite(float(compared.ssim[rows, step].mean())),
        "changed_psnr_db": float(psnr_of(known).mean()) if len(known) else None,
        "others_psnr_db": {
            name: float(psnr_of(rmse[rows, step]).mean())
            for name, rmse in compared.others_rmse.items()
        },
        "proprioception_median": {} if np.isnan(joints).all() else {
            unit: float(np.nanmedian(joints[:, places])) for unit, places in units.items()
        },
    }


def agreement(verdicts: Array) -> Table:
    """Return how often imagined verdicts agree with the true ones.

    Args:
        verdicts: [N, 3] read from the true last frame and from the imagined one, 1, 0 or NaN, and
            the success head's, 0..1 or NaN.
    """
    true, imagined, head = verdicts.T
    said = np.where(np.isnan(head), np.nan, head >= SUCCESS_AT)
    table: Table = {"n": len(verdicts)}
    for name, found in (("frames", imagined), ("head", said)):
        known = ~np.isnan(true) & ~np.isnan(found)
        table[name] = {
            "n": int(known.sum()), **confusion(found[known] > 0.5, true[known] > 0.5),
            "agree_share": float((found[known] == true[known]).mean()) if known.any() else None,
        }
    return table


def divergence(measure: FrameMeasure, compared: Comparison) -> Table:
    """Return when rollouts part from the truth: quantiles of the first step beyond the limits.

    A rollout that never does is right-censored at the end of its recording: it counts as long as
    it was watched (Kaplan and Meier 1958), and a quantile that too few reach is null.
    """
    away = measure.parted(compared.measured)
    parted = away.any(axis=1)
    watched = (~np.isnan(compared.rmse)).sum(axis=1) - 1
    times = np.where(parted, away.argmax(axis=1), watched)
    return {
        "n": len(times), "beyond": measure.parted_text,
        "quartile_steps": survival_quantile(times, parted, 0.25),
        "median_steps": survival_quantile(times, parted, 0.5),
        "upper_quartile_steps": survival_quantile(times, parted, 0.75),
        "never_share": float((~parted).mean()),
        "watched_median_steps": float(np.median(watched)),
    }


def trust_scores(
    measure: FrameMeasure, trust: Array, compared: Comparison, copy: Comparison,
    steps: Sequence[int],
) -> Table:
    """Return how well trust foretells errors, over all rollouts and over those that move.

    Args:
        measure: of the task.
        trust: [N, T + 1], 0..1; NaN, of a model without it, counts nowhere.
        compared: of the imagined frames.
        copy: of the first frame, for what moves.
        steps: horizons, also pooled; one recording gives several rollouts, so that n counts
            more than there are independent cases.
    """
    error, frames = measure.error(compared.measured), compared.rmse
    known = ~np.isnan(error) & ~np.isnan(trust)
    moving = known & measure.moved(copy.measured)

    def scored(chosen: NDArray[np.bool_]) -> Table:
        bad = error[chosen] > measure.bad_error
        return {
            "n": int(chosen.sum()), "bad": int(bad.sum()),
            "spearman_error": finite(spearman(-trust[chosen], error[chosen])),
            "spearman_frame_rmse": finite(spearman(-trust[chosen], frames[chosen])),
            "auc_bad_error": finite(roc_auc(-trust[chosen], bad)),
        }

    pooled = np.zeros_like(known)
    pooled[:, list(steps)] = True
    table: Table = {"horizons": {}}
    for step in steps:
        one = np.zeros_like(known)
        one[:, step] = True
        table["horizons"][str(step)] = {
            "all": scored(known & one), "moving": scored(moving & one)
        }
    table["pooled"] = {"all": scored(known & pooled), "moving": scored(moving & pooled)}
    chosen = known & pooled
    table["reliability"] = reliability(
        trust[chosen], error[chosen], TRUST_EDGES, measure.bad_error
    )
    return table


def outcome(progress: Array, success: Array, labels: Array, wanted: float) -> Table:
    """Return how right the heads are on rows whose progress is known; n is 0 without a head.

    Args:
        progress: [N] of the head, NaN where it was not trained.
        success: [N] of the head, 0..1, or NaN likewise.
        labels: [N] of progress, NaN unknown.
        wanted: progress that counts as success.
    """
    judged = ~np.isnan(labels) & ~np.isnan(success)
    label, said = labels[judged], success[judged] >= SUCCESS_AT
    error = np.abs(progress - labels)
    known = error[~np.isnan(error)]
    return {
        "n": int(judged.sum()), "positives": int((label >= wanted).sum()),
        **confusion(said, label >= wanted),
        "progress_mae": float(known.mean()) if len(known) else None,
    }
