"""True frames beside others, compared by pixels and by the task's own measure."""

from collections.abc import Mapping, Sequence
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
    rmse: Array  # [N, T + 1] of the first camera's frames, grey levels
    changed_rmse: Array  # likewise, of the pixels that have changed since the start; NaN: not known
    ssim: Array  # [N, T + 1], NaN where it was not computed
    others_rmse: dict[str, Array]  # [N, T + 1] of the other cameras' frames
    proprioception: Array  # [N, T + 1, P] absolute error; P is 0 where it was not compared

    @property
    def psnr_db(self) -> Array:
        """Peak signal-to-noise ratio [N, T + 1]."""
        return psnr_of(self.rmse)

    def at(self, rows: NDArray[np.bool_] | slice, step: int) -> Differences:
        """Return the measured differences of some rollouts at a step, each [M]."""
        return {name: values[rows, step] for name, values in self.measured.items()}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What some frames show: T + 1 of them, or one that stands for all."""

    frames: Frames  # [T + 1, H, W, 3] of the first camera
    sights: Sights
    others: Mapping[str, Frames]  # frames of the other cameras
    proprioception: Array | None = None  # [T + 1, P]; None: not to be compared


@dataclass(frozen=True, kw_only=True)
class Truth(Shown):
    """The recorded side of one rollout."""

    measured: Array  # [T + 1, A], measured counterpart of the action


def part(sights: Sights, rows: slice | list[int]) -> Sights:
    """Return what was seen in some of the frames."""
    return {name: values[rows] for name, values in sights.items()}


def compare(
    measure: FrameMeasure, truth: Truth, shown: Shown, looked_at: Sequence[int]
) -> dict[str, Array]:
    """Return one rollout's differences and errors by name, each [T + 1, ...].

    Args:
        measure: of the task.
        truth: what was recorded.
        shown: what is judged.
        looked_at: steps at which what is slow is computed: similarity, and changed pixels.
    """
    count = len(truth.frames)
    similar, changed = np.full(count, np.nan), np.full(count, np.nan)
    for step in looked_at:
        if step < count:
            frame = shown.frames[min(step, len(shown.frames) - 1)]
            similar[step] = ssim(frame, truth.frames[step])
            changed[step] = _changed_rmse(frame, truth.frames[step], truth.frames[0])
    joints = np.full((count, 0), np.nan)
    if shown.proprioception is not None and truth.proprioception is not None:
        joints = np.abs(shown.proprioception - truth.proprioception)
    return {
        **measure.differences(shown.sights, truth.sights, truth.measured),
        _RMSE: rmse(np.broadcast_to(shown.frames, truth.frames.shape), truth.frames),
        _SSIM: similar, _CHANGED: changed, _JOINTS: joints,
        **{
            _OTHER + name: rmse(np.broadcast_to(frames, truth.others[name].shape),
                                truth.others[name])
            for name, frames in shown.others.items()
        },
    }


# Beside the names of a measure's differences, which have no dot.
_RMSE, _SSIM, _CHANGED, _JOINTS = "frames.rmse", "frames.ssim", "frames.changed", "frames.joints"
_OTHER = "frames.other."
# Grey levels of any colour by which a pixel has changed, and how many must have.
_CHANGED_BY, _LEAST_CHANGED = 16, 20


def _changed_rmse(
    frame: NDArray[np.uint8], true: NDArray[np.uint8], first: NDArray[np.uint8]
) -> float:
    """Return the RMSE of a frame over the pixels that have changed; NaN if few have."""
    moved = np.abs(true.astype(np.int16) - first.astype(np.int16)).max(axis=-1) > _CHANGED_BY
    if moved.sum() < _LEAST_CHANGED:
        return np.nan
    return float(rmse(frame[moved][None, :], true[moved][None, :]).item())


def stack(rows: Sequence[dict[str, Array]], steps: int) -> Comparison:
    """Return rows of `compare` as one, filled up with NaN to T + 1 = steps + 1."""
    def filled(name: str) -> Array:
        out = np.full((len(rows), steps + 1, *rows[0][name].shape[1:]), np.nan)
        for i, row in enumerate(rows):
            out[i, : len(row[name])] = row[name]
        return out

    return Comparison(
        measured={name: filled(name) for name in rows[0] if not name.startswith("frames.")},
        rmse=filled(_RMSE), ssim=filled(_SSIM), changed_rmse=filled(_CHANGED),
        others_rmse={
            name.removeprefix(_OTHER): filled(name) for name in rows[0] if name.startswith(_OTHER)
        },
        proprioception=filled(_JOINTS),
    )
