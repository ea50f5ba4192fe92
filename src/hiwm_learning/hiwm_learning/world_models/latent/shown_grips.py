"""What hands held, shown by what followed: the labels that `grips` learns from.

Nobody labels grasps. But what is held moves with the hand, and what is not stays: so recorded
scenes say afterwards what a hand held, once it has moved far enough. The dynamics could
learn the same from its own error, in which a grasp is a few pixels among thousands; it did not.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.glimpses import around
from hiwm_learning.world_models.latent.recorded_scenes import RecordedScenes

# A hand that moves by such a share of the picture's width within so many ticks shows what it holds,
# if the picture is clearly nearer to one of two: what it would be with, and without, a grasp. While
# it moves by less, it hides what it holds. docs/training.md says how often this is right.
MOVED, AHEAD, CLEAR = 0.095, 16, 0.15
_FAINT = 0.004  # mean difference of pictures that shows nothing
_SIDE = 8  # samples a side of the pictures that are compared
_AT_ONCE = 64
_HARD = 2.0  # of the focal loss (Lin et al. 2017): most hands are far from everything


@torch.no_grad()
def shown_grips(
    clips: Clips, recordings: RecordedScenes, points: Tensor, shut: Tensor
) -> Tensor:
    """Return what hands hold, as what follows shows, [N, hands]: 1, 0, NaN where it shows nothing.

    Ticks at which all hands are open grippers are left out: `while_shut` knows what they hold.

    Args:
        clips: N ticks.
        recordings: their scenes.
        points: [N, C, K, 2] of the robot, the hands last.
        shut: [N, hands] whether a gripper is told to be shut; True for hands without one.
    """
    found = torch.full(shut.shape, torch.nan)
    may_hold = torch.nonzero(shut.any(1))[:, 0]
    for rows in may_hold.split(_AT_ONCE) if len(may_hold) else ():
        found[rows] = _shown(clips, recordings, points[:, :, -shut.shape[1] :], rows)
    return found


def while_shut(shown: Tensor, clips: Clips, shut: Tensor, gripping: Sequence[int]) -> Tensor:
    """Return what hands hold, [N, hands], known at more ticks than what follows shows.

    What a gripper holds when it has shut, it holds until it opens; an open one holds nothing.

    Args:
        shown: [N, hands] by `shown_grips`.
        clips: the same ticks.
        shut: [N, hands] whether a gripper is told to be shut.
        gripping: hands that have a gripper.
    """
    found = shown.clone()
    for hand in gripping:
        closed = shut[:, hand]
        stretch = stretches(clips, closed)
        known = ~shown[:, hand].isnan()
        count = torch.bincount(stretch[known], minlength=int(stretch[-1]) + 1)
        held = torch.bincount(
            stretch[known], weights=shown[known, hand].double(), minlength=len(count)
        )
        mostly = torch.where(count > 0, (2.0 * held > count).float(), torch.nan)[stretch]
        found[:, hand] = torch.where(closed, mostly, 0.0)
    return found


def stretches(clips: Clips, closed: Tensor) -> Tensor:
    """Return the number of each tick's stretch, in which a gripper is `closed` [N] or not, [N]."""
    begins = torch.ones(len(closed), dtype=torch.bool)
    begins[1:] = (closed[1:] != closed[:-1]) | (clips.first[1:] != clips.first[:-1])
    return begins.long().cumsum(0) - 1


def closings_of(clips: Clips, shut: Tensor) -> Tensor:
    """Return the ticks [M] at which a gripper begins to close; `shut` as of `shown_grips`."""
    begins = torch.zeros(len(clips), dtype=torch.bool)
    same_run = clips.first[1:] == clips.first[:-1]
    begins[1:] = (shut[1:] & ~shut[:-1] & same_run[:, None]).any(1)
    return torch.nonzero(begins)[:, 0]


def grip_error(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean error of logits [B, hands]; `wanted` is 1, 0, or NaN where not known."""
    known = ~wanted.isnan()
    if not known.any():
        return logits.new_zeros(())
    found, true = logits[known].float(), wanted[known]
    error = functional.binary_cross_entropy_with_logits(found, true, reduction="none")
    missed: Tensor = (true - torch.sigmoid(found)).abs()
    return (missed.detach() ** _HARD * error).mean()


def _shown(clips: Clips, recordings: RecordedScenes, hands: Tensor, rows: Tensor) -> Tensor:
    """Return what hands, at places [N, C, hands, 2], hold at ticks [B], [B, hands]."""
    height, width = recordings.pictures.shape[-2:]
    half = hands.new_tensor([0.5 * width, 0.5 * height])
    ahead = torch.minimum(rows[:, None] + torch.arange(1, AHEAD + 1), clips.last[rows][:, None])
    went = ((hands[ahead] - hands[rows][:, None]) * half).norm(dim=-1).amax(2)  # [B, AHEAD, hands]
    enough = went >= MOVED * width
    later = ahead.gather(1, enough.int().argmax(1))  # the first such tick, [B, hands]
    now = recordings.pictures[rows].float() / 255.0
    found = []
    for i in range(hands.shape[2]):
        then = recordings.pictures[later[:, i]].float() / 255.0
        here, there = hands[rows][:, :, i : i + 1], hands[later[:, i]][:, :, i : i + 1]
        first = around(now, here, _SIDE)
        along, stayed = (
            (around(then, place, _SIDE) - first).abs().flatten(1).mean(1)
            for place in (there, here)
        )
        surely = (stayed - along) / (stayed + along + _FAINT)
        known = enough[:, :, i].any(1) & (surely.abs() > CLEAR)
        found.append(torch.where(known, (surely > 0.0).float(), torch.nan))
    return torch.stack(found, dim=1)
