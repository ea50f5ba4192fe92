"""True frames beside others, compared by pixels and by the task's own measure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.task_plugin import Differences, FrameMeasure, Sights
from hiwm_learning.world_models.evaluation.metrics import psnr_of, rmse, ssim

Array = NDArray[np.float64]
Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Errors of N rollouts at steps 0 to T, NaN where nothing is recorded."""

    measured: Differences  # each [N, T + 1], by the task's `FrameMeasure`
    rmse: Array  # [N, T + 1] of the frames, grey levels
    ssim: Array  # [N, T + 1], NaN where it was not computed

    @property
    def psnr_db(self) -> Array:
        """Peak signal-to-noise ratio [N, T + 1]."""
        return psnr_of(self.rmse)

    def at(self, rows: NDArray[np.bool_] | slice, step: int) -> Differences:
        """Return the measured differences of some rollouts at a step, each [M]."""
        return {name: values[rows, step] for name, values in self.measured.items()}


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The recorded side of one rollout."""

    frames: Frames  # [T + 1, H, W, 3]
    sights: Sights
    measured: Array  # [T + 1, A], measured counterpart of the action


def part(sights: Sights, rows: slice | list[int]) -> Sights:
    """Return what was seen in some of the frames."""
    return {name: values[rows] for name, values in sights.items()}


def compare(
    measure: FrameMeasure, truth: Truth, frames: Frames, sights: Sights, ssim_at: Sequence[int]
) -> dict[str, Array]:
    """Return one rollout's differences, RMSE and SSIM by name, each [T + 1].

    Args:
        measure: of the task.
        truth: what was recorded.
        frames: [T + 1, H, W, 3] to judge, or [1, H, W, 3] for one frame all along.
        sights: of those frames, as many.
        ssim_at: steps to compute the structural similarity at; it is slow.
    """
    count = len(truth.frames)
    similar = np.full(count, np.nan)
    for step in ssim_at:
        if step < count:
            similar[step] = ssim(frames[min(step, len(frames) - 1)], truth.frames[step])
    return {
        **measure.differences(sights, truth.sights, truth.measured),
        _RMSE: rmse(np.broadcast_to(frames, truth.frames.shape), truth.frames),
        _SSIM: similar,
    }


# Beside the names of a measure's differences, which have no dot.
_RMSE, _SSIM = "frames.rmse", "frames.ssim"


def stack(rows: Sequence[dict[str, Array]], steps: int) -> Comparison:
    """Return rows of `compare` as one, filled up with NaN to T + 1 = steps + 1."""
    def filled(name: str) -> Array:
        out = np.full((len(rows), steps + 1), np.nan)
        for i, row in enumerate(rows):
            out[i, : len(row[name])] = row[name]
        return out

    return Comparison(
        measured={name: filled(name) for name in rows[0] if name not in (_RMSE, _SSIM)},
        rmse=filled(_RMSE), ssim=filled(_SSIM),
    )
