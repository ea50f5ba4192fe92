"""What imagined frames show of the T and the pushers, and how far that is from the truth.

A colour segmentation finds them in true and imagined frames alike, so that a world model is judged
by its pictures and not by its own latents. See `hiwm_core.task_plugin.FrameMeasure`.
"""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.json_files import finite
from hiwm_core.task_plugin import Differences, FrameColumn, Image, Sights
from hiwm_push_t.goal import ARC_M, Goal
from hiwm_push_t.shape import coverage
from hiwm_push_t.vision import TableVision

Array = NDArray[np.float64]

# The T counts as moved when its edge moves this far.
MOVING_M = 0.01
WHOLE = 0.8  # overlap with the best-fitting rigid T above which the T is whole
PUSHER_M = 0.01
# A rollout has parted from the truth at the first step beyond either of these.
DIVERGED_T, DIVERGED_DEG = 0.25, 15.0
# A pose that far off makes a correction drawn on the frame miss on the table.
BAD_T = 0.15


class TableMeasure:
    """Errors of the T's pose and of the pushers.

    Args:
        goal: gives the T's size.
        view_m: width and height of the table that the camera sees, m.
    """

    columns = (
        FrameColumn(key="place_median_T", title="T position, median, T sizes"),
        FrameColumn(key="angle_median_deg", title="T angle, median, degrees", form=".1f"),
        FrameColumn(
            key="bad_pose_share", title="T pose off by more than .15 T, share", form=".2f"
        ),
        FrameColumn(key="pushers_median_mm", title="pushers, median, mm", form=".1f"),
        FrameColumn(
            key="pushers_within_10mm", title="both pushers within 10 mm, share", form=".2f"
        ),
        FrameColumn(key="overlap_median", title="overlap with a rigid T, median"),
        FrameColumn(key="whole_share", title="T whole, share", form=".2f"),
    )
    error_unit = "T sizes"
    bad_error = BAD_T
    parted_text = f"{DIVERGED_T:g} T or {DIVERGED_DEG:g} degrees off"

    def __init__(self, goal: Goal, view_m: tuple[float, float]) -> None:
        self._goal, self._size = goal, goal.size_m
        self._vision = TableVision(view_m, goal.unit_m)

    def look(self, frames: Image) -> Sights:
        """Return what is seen in frames [T, H, W, 3] that follow one another.

        Returns:
            poses [T, 3] x, y (m), yaw of the T; overlaps [T] with the best-fitting rigid T, 0..1;
            pushers [T, P] m. NaN where it is out of sight.
        """
        poses, overlaps, pushers = [], [], []
        before: Array | None = None
        for frame in frames:
            sight = self._vision.look(frame, before)
            before = sight.object_pose
            poses.append(np.full(3, np.nan) if before is None else before)
            overlaps.append(sight.overlap)
            pushers.append(sight.pushers)
        return {
            "poses": np.array(poses), "overlaps": np.array(overlaps), "pushers": np.array(pushers)
        }

    def differences(self, seen: Sights, true: Sights, measured: Array) -> Differences:
        """Return the differences of sights [T] or [1] from true ones [T].

        Returns:
            place_m [T] and angle_rad [T] of the T, infinite and pi where only the truth shows it;
            pushers_m [T], the larger of both, infinite where one is out of sight; overlap [T].
        """
        count = len(true["poses"])
        place, angle = pose_errors(seen["poses"], true["poses"])
        gaps = (seen["pushers"] - measured).reshape(count, -1, 2)
        pushers = np.linalg.norm(gaps, axis=2).max(axis=1)
        return {
            "place_m": place, "angle_rad": angle,
            "pushers_m": np.where(np.isfinite(pushers), pushers, np.inf),
            "overlap": np.broadcast_to(seen["overlaps"], count).copy(),
        }

    def verdicts(self, sights: Sights) -> Array:
        """Return 1 where the T covers the goal as success asks, 0 where not, NaN out of sight."""
        poses = sights["poses"]
        goal = np.array(self._goal.pose)
        seen = np.asarray(np.isfinite(poses).all(axis=1))
        covered = [
            coverage(pose, goal, self._goal.unit_m) if known else np.nan
            for pose, known in zip(poses, seen, strict=True)
        ]
        found = np.array(covered)
        return np.where(seen, (found >= self._goal.success_coverage).astype(np.float64), np.nan)

    def error(self, differences: Differences) -> Array:
        """Return the error of place or angle, whichever moves the T's edge farther, T sizes."""
        return edge_m(differences) / self._size

    def drift(self, differences: Differences) -> Array:
        """Return how far the T's centre has strayed, T sizes."""
        return np.asarray(differences["place_m"] / self._size)

    def moved(self, differences: Differences) -> NDArray[np.bool_]:
        """Return where the T's edge has moved 10 mm or more."""
        return np.asarray(edge_m(differences) >= MOVING_M)

    def parted(self, differences: Differences) -> NDArray[np.bool_]:
        """Return where place or angle is beyond what counts as parted."""
        return np.asarray(
            (differences["place_m"] > DIVERGED_T * self._size)
            | (np.degrees(differences["angle_rad"]) > DIVERGED_DEG)
        )

    def summary(self, differences: Differences) -> dict[str, float | None]:
        """Return the number of each column over M rollouts."""
        place, angle = differences["place_m"], differences["angle_rad"]
        pushers, overlap = differences["pushers_m"], differences["overlap"]
        return {
            "place_median_T": finite(float(np.median(place)) / self._size),
            "angle_median_deg": float(np.degrees(np.median(angle))),
            "bad_pose_share": float((edge_m(differences) > BAD_T * self._size).mean()),
            "pushers_median_mm": finite(float(np.median(pushers)) * 1e3),
            "pushers_within_10mm": float((pushers < PUSHER_M).mean()),
            "overlap_median": float(np.median(overlap)),
            "whole_share": float((overlap >= WHOLE).mean()),
        }


def edge_m(differences: Differences) -> Array:
    """Return how far the T's edge is off, m."""
    return np.asarray(np.maximum(differences["place_m"], ARC_M * differences["angle_rad"]))


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
