"""The shapes of the rope and the clips, and when a clip holds the rope. No physics."""

import numpy as np

from hiwm_core.task_plugin import Values
from hiwm_route_rope.names import SEGMENTS, Array

SEGMENT_M, RADIUS_M, ROPE_KG = 0.018, 0.0055, 0.035
# A clip has two walls along its y axis. The rope passes through the gap between them.
CLIP_GAP_M, CLIP_HEIGHT_M, CLIP_LENGTH_M, WALL_M = 0.020, 0.024, 0.024, 0.010


def rope_directions(start: Values) -> Array:
    """Return the direction of each segment on the table at a start, [N], rad."""
    along = (np.arange(SEGMENTS) + 0.5) / SEGMENTS * 2 * np.pi
    return np.asarray(
        np.pi / 2 + start["rope_yaw_rad"]
        + start["rope_bend_rad"] * np.sin(along + start["rope_bend_phase_rad"])
        + start["rope_wave_rad"] * np.sin(2 * along + start["rope_wave_phase_rad"])
    )


def rope_at(start: Values) -> Array:
    """Return the middles of the segments on the table at a start, [N, 2], m."""
    turns = rope_directions(start)
    steps = SEGMENT_M * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    middles = np.cumsum(steps, axis=0) - steps / 2
    return np.asarray(middles - middles.mean(axis=0) + (start["rope_x_m"], start["rope_y_m"]))


def holds(rope: Array, clip: Array) -> bool:
    """Return whether the rope [N, 3] passes between the walls of a clip (x, y, yaw)."""
    return any(
        abs(beside) < CLIP_GAP_M / 2 and height < CLIP_HEIGHT_M
        for beside, height in _crossings(rope, clip, 0.0)
    )


def crossing(rope: Array, clip: Array, along_m: float) -> float:
    """Return how far beside the channel's middle the rope [N, 2] passes; NaN: nowhere.

    Args:
        rope: its line, m.
        clip: x [m], y [m], yaw [rad].
        along_m: place along the channel, from the clip's middle.
    """
    flat = np.column_stack([rope[:, :2], np.zeros(len(rope))])
    return min((beside for beside, _ in _crossings(flat, clip, along_m)), key=abs, default=np.nan)


def _crossings(rope: Array, clip: Array, along_m: float) -> list[tuple[float, float]]:
    """Return place beside the channel's middle and height [m] of each crossing."""
    x, y, yaw = clip
    away = rope[:, :2] - (x, y)
    across = np.cos(yaw) * away[:, 0] + np.sin(yaw) * away[:, 1]
    along = -np.sin(yaw) * away[:, 0] + np.cos(yaw) * away[:, 1] - along_m
    found = []
    for i in np.nonzero((along[:-1] * along[1:] <= 0) & (along[:-1] != along[1:]))[0]:
        share = along[i] / (along[i] - along[i + 1])
        beside = across[i] + share * (across[i + 1] - across[i])
        height = rope[i, 2] + share * (rope[i + 1, 2] - rope[i, 2])
        found.append((float(beside), float(height)))
    return found
