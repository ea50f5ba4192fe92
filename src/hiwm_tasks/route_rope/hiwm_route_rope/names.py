"""Names of starts and ground truth, and the task's score."""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.task_plugin import Values
from hiwm_yam_pair.geometry import SIDES
from hiwm_yam_pair.scene_names import WARNINGS

Array = NDArray[np.float64]

ROPE_STARTS = (
    "rope_x_m", "rope_y_m", "rope_yaw_rad", "rope_bend_rad", "rope_bend_phase_rad",
    "rope_wave_rad", "rope_wave_phase_rad",
)
CLIP_STARTS = tuple(
    f"{side}_clip_{part}" for side in SIDES for part in ("x_m", "y_m", "yaw_rad")
)
LIGHT_STARTS = ("light", "light_from_rad")
STARTS = (*ROPE_STARTS, *CLIP_STARTS, *LIGHT_STARTS)

SEGMENTS = 23
POINTS = tuple(
    f"rope_point_{i:02d}_{axis}_m" for i in range(SEGMENTS) for axis in "xyz"
)
ROUTED = tuple(f"{side}_clip_holds" for side in SIDES)  # 1 while the rope lies in the clip
TRUTH = (*STARTS, *POINTS, *ROUTED, WARNINGS)

# A clip without rope scores less than this, the more the nearer the rope is to its middle.
NEAR_SCORE, NEAR_M = 0.4, 0.08


def rope_of(truth: Values) -> Array:
    """Return the middles of the rope's segments [N, 3], m, from ground truth."""
    return np.array([truth[name] for name in POINTS]).reshape(SEGMENTS, 3)


def clips_of(values: Values) -> Array:
    """Return x [m], y [m] and yaw [rad] of the left and the right clip, [2, 3]."""
    return np.array([values[name] for name in CLIP_STARTS]).reshape(2, 3)


def score(rope: Array, clips: Array, routed: Array) -> float:
    """Return the progress 0..1: a half for each clip that holds the rope, less for one near it.

    Args:
        rope: [N, 2] or more columns, m.
        clips: [2, 3], see `clips_of`.
        routed: [2], whether each clip holds the rope.
    """
    total = 0.0
    for (x, y, _), held in zip(clips, routed, strict=True):
        near = float(np.hypot(rope[:, 0] - x, rope[:, 1] - y).min())
        total += 0.5 if held else 0.5 * NEAR_SCORE * float(np.exp(-near / NEAR_M))
    return total
