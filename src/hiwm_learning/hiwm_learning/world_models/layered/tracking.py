"""Following the object through recorded segments, many side by side."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hiwm_learning.world_models.layered.appearance import arm_poses
from hiwm_learning.world_models.layered.layers import LayeredDecoder, frames_to_float
from hiwm_learning.world_models.layered.registration import refine_poses, register

SIDE_BY_SIDE = 64  # segments followed at once
STEPS = 3  # of refinement from one frame to the next: it moves at most three pixels
# A frame redrawn this many times worse than the segment's usual is searched from scratch.
LOST_FACTOR = 4.0


def track(
    decoder: LayeredDecoder, segments: Sequence[tuple[Tensor, Tensor]],
    report: Callable[[str], None],
) -> list[tuple[Tensor, Tensor]]:
    """Return poses and errors of every frame of every segment.

    Args:
        decoder: fitted.
        segments: frames [T, H, W, 3] uint8 and proprioception [T, P] each.
        report: takes progress lines.

    Returns:
        poses [T, L, 4] and mean squared error [T] each.
    """
    order = sorted(range(len(segments)), key=lambda i: len(segments[i][0]))
    results: dict[int, tuple[Tensor, Tensor]] = {}
    total = sum(len(frames) for frames, _ in segments)
    done, reported = 0, 0
    for first in range(0, len(order), SIDE_BY_SIDE):
        group = order[first : first + SIDE_BY_SIDE]
        poses = [arm_poses(decoder, segments[i][1]) for i in group]
        errors = [torch.zeros(len(segments[i][0])) for i in group]
        longest = max(len(p) for p in poses)
        for t in range(longest):
            alive = [k for k in range(len(group)) if t < len(poses[k])]
            seen = frames_to_float(torch.stack([segments[group[k]][0][t] for k in alive]))
            now = torch.stack([poses[k][t] for k in alive])
            if t == 0:
                found, error = register(decoder, seen, now, 0, keep=3)
            else:
                now[:, 0] = torch.stack([poses[k][t - 1][0] for k in alive])
                found, error = refine_poses(decoder, seen, now, 0, STEPS)
                usual = torch.stack([errors[k][:t].median() for k in alive])
                lost = torch.nonzero(error > LOST_FACTOR * usual.clamp_min(1e-5))[:, 0]
                if len(lost):
                    again, again_error = register(decoder, seen[lost], now[lost], 0, keep=3)
                    better = again_error < error[lost]
                    found[lost[better]] = again[better]
                    error[lost[better]] = again_error[better]
            for row, k in enumerate(alive):
                poses[k][t] = found[row]
                errors[k][t] = error[row]
            done += len(alive)
            if done - reported >= 4000:
                reported = done
                report(f"tracking: {done} of {total} frames")
        for k, i in enumerate(group):
            results[i] = (poses[k], errors[k])
    return [results[i] for i in range(len(segments))]
