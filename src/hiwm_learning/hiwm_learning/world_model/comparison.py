"""True frames beside others: what can be seen in both, by one and the same eye.

A colour segmentation finds the T and the pushers in true and other frames alike, so that a model
is judged by its pictures and not by its own latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.table_vision import TableVision
from hiwm_learning.world_model.metrics import psnr_of, rmse, ssim

Array = NDArray[np.float64]
Frames = NDArray[np.uint8]

# A radian counts as this arc, m: the T's edge moves about that far.
ARC_M = 0.06


@dataclass(frozen=True, kw_only=True)
class Sights:
    """What was found in T frames."""

    poses: Array  # [T, 3] x, y (m), yaw of the object, NaN out of sight
    overlaps: Array  # [T] with the best-fitting rigid T, 0..1
    pushers: Array  # [T, P] m, NaN out of sight


def look_along(vision: TableVision, frames: Frames) -> Sights:
    """Return what is seen in frames [T, H, W, 3] that follow one another."""
    poses, overlaps, pushers = [], [], []
    before: Array | None = None
    for frame in frames:
        sight = vision.look(frame, before)
        before = sight.object_pose
        poses.append(np.full(3, np.nan) if before is None else before)
        overlaps.append(sight.overlap)
        pushers.append(sight.pushers)
    return Sights(
        poses=np.array(poses), overlaps=np.array(overlaps), pushers=np.array(pushers)
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Errors of N rollouts at steps 0 to T, NaN where nothing is recorded or the T is hidden."""

    place_m: Array  # [N, T + 1] of the T; infinite where it is to be seen in the truth alone
    angle_rad: Array  # [N, T + 1] likewise, pi where it is lost
    pushers_m: Array  # [N, T + 1] the larger of all; infinite where one is out of sight
    overlap: Array  # [N, T + 1] of the other frames' T
    rmse: Array  # [N, T + 1] of the frames, grey levels
    ssim: Array  # [N, T + 1], NaN where it was not asked for

    @property
    def psnr_db(self) -> Array:
        """Peak signal-to-noise ratio [N, T + 1]."""
        return psnr_of(self.rmse)

    @property
    def pose_m(self) -> Array:
        """Error of place or angle, whichever moves the T's edge farther, m, [N, T + 1]."""
        return np.asarray(np.maximum(self.place_m, ARC_M * self.angle_rad))


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The recorded side of one rollout."""

    frames: Frames  # [T + 1, H, W, 3]
    sights: Sights
    hands: Array  # [T + 1, P] recorded proprioception, m


def compare(
    truth: Truth, frames: Frames, sights: Sights, ssim_at: Sequence[int]
) -> dict[str, Array]:
    """Return one rollout's rows of a `Comparison`, each [T + 1].

    Args:
        truth: what was recorded.
        frames: [T + 1, H, W, 3] to judge, or [1, H, W, 3] for one frame all along.
        sights: of those frames, as many.
        ssim_at: steps to compute the structural similarity at; it is slow.
    """
    count = len(truth.frames)
    place, angle = pose_errors(sights.poses, truth.sights.poses)
    gaps = (sights.pushers - truth.hands).reshape(count, -1, 2)
    pushers = np.linalg.norm(gaps, axis=2).max(axis=1)
    similar = np.full(count, np.nan)
    for step in ssim_at:
        if step < count:
            similar[step] = ssim(frames[min(step, len(frames) - 1)], truth.frames[step])
    return {
        "place_m": place, "angle_rad": angle,
        "pushers_m": np.where(np.isfinite(pushers), pushers, np.inf),
        "overlap": np.broadcast_to(sights.overlaps, count).copy(),
        "rmse": rmse(np.broadcast_to(frames, truth.frames.shape), truth.frames),
        "ssim": similar,
    }


def pose_errors(seen: Array, true: Array) -> tuple[Array, Array]:
    """Return errors of place, m, and angle, rad, of poses [T, 3] or [1, 3] against [T, 3].

    NaN where the truth is; infinite, or pi, where only the truth is known.
    """
    place = np.linalg.norm(seen[:, :2] - true[:, :2], axis=1)
    turn = np.abs((seen[:, 2] - true[:, 2] + np.pi) % (2 * np.pi) - np.pi)
    known = ~np.isnan(true[:, 0])
    lost = known & np.isnan(place)
    place, turn = np.where(lost, np.inf, place), np.where(lost, np.pi, turn)
    return np.where(known, place, np.nan), np.where(known, turn, np.nan)


def stack(rows: Sequence[dict[str, Array]], steps: int) -> Comparison:
    """Return rows of `compare` as one, filled up with NaN to T + 1 = steps + 1."""
    def filled(name: str) -> Array:
        out = np.full((len(rows), steps + 1), np.nan)
        for i, row in enumerate(rows):
            out[i, : len(row[name])] = row[name]
        return out

    return Comparison(
        place_m=filled("place_m"), angle_rad=filled("angle_rad"), pushers_m=filled("pushers_m"),
        overlap=filled("overlap"), rmse=filled("rmse"), ssim=filled("ssim"),
    )
