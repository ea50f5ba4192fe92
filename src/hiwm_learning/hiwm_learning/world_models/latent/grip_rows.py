"""Ticks on which grips are learned, each with a scene to learn from."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hiwm_learning.world_models.latent.scene_data import SceneData
from hiwm_learning.world_models.latent.shown_grips import closings_of

# Up to so many ticks after a gripper begins to close it is decided what it holds.
AFTER_CLOSING = 8
# The scene is that of so many ticks before the gripper closed. Later scenes show what moved, and so
# give the answer away; an imagination has to decide before that.
SEEN_BEFORE = 22
# An imagination may also start in the middle of a grasp. Then what moved with the hand says what it
# holds: from so many ticks after it closed, every so many ticks.
LONG_SHUT, EVERY = 16, 8


@dataclass(frozen=True, kw_only=True)
class GripRows:
    """Ticks at which it is known what a hand holds: N, each with one hand."""

    ticks: Tensor  # [N]
    hands: Tensor  # [N]
    earliest: Tensor  # [N] first and last tick whose scene may be used
    latest: Tensor  # [N]

    def __len__(self) -> int:
        return len(self.ticks)

    def seen(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Return ticks [B] whose scenes are used for the chosen rows [B]."""
        first, last = self.earliest[chosen], self.latest[chosen]
        share = torch.rand(len(chosen), generator=generator)
        return first + (share * (last - first + 1)).long().clamp_max(last - first)

    def labels(self, grips: Tensor, chosen: Tensor) -> Tensor:
        """Return what is known of the chosen rows' hands, [B, hands]; NaN for other hands."""
        found = torch.full((len(chosen), grips.shape[1]), torch.nan)
        hands = self.hands[chosen][:, None]
        return found.scatter(1, hands, grips[self.ticks[chosen]].gather(1, hands))


def grip_rows(data: SceneData) -> GripRows:
    """Return the rows of some data.

    A gripper's are shortly after it closes, when it is decided what it holds, and now and then
    while it stays shut, each with its own scene, for imaginations that start there. Hands without
    a gripper may hold something at any tick, and what they hold is seen in its own scene.
    """
    found = []
    for hand in range(data.grips.shape[1]):
        if hand in data.grippers:
            found += [_after_closings(data, hand), _while_shut(data, hand)]
        else:
            found.append(_in_own_scene(hand, torch.arange(len(data.clips))))
    ticks, hands, earliest, latest = (torch.cat(parts) for parts in zip(*found, strict=True))
    known = ~data.grips[ticks, hands].isnan() & ~data.clips.actions[ticks].isnan().any(1)
    known &= ticks < data.clips.last[ticks]
    return GripRows(
        ticks=ticks[known], hands=hands[known], earliest=earliest[known], latest=latest[known]
    )


def _after_closings(data: SceneData, hand: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shut, first = data.shut[:, hand], data.clips.first
    every = torch.arange(len(shut))
    opens = torch.zeros(len(shut), dtype=torch.bool)
    opens[1:] = ~shut[1:] & shut[:-1]
    # The last tick up to now at which it opened, or its run began: before, it held something else.
    opened = torch.where(opens | (every == first), every, 0).cummax(0).values
    closings = closings_of(data.clips, shut[:, None])
    ticks = (closings[:, None] + torch.arange(AFTER_CLOSING + 1)).clamp_max(len(shut) - 1)
    closed = closings[:, None].expand_as(ticks)
    same = (first[ticks] == first[closed]) & (opened[ticks] == opened[closed]) & shut[ticks]
    ticks, closed = ticks[same], closed[same]
    earliest = torch.maximum(closed - SEEN_BEFORE, opened[closed])
    return ticks, torch.full_like(ticks, hand), earliest, closed


def _while_shut(data: SceneData, hand: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shut, first = data.shut[:, hand], data.clips.first
    every = torch.arange(len(shut))
    begins = shut.clone()
    begins[1:] &= ~shut[:-1] | (first[1:] != first[:-1])
    since = every - torch.where(begins, every, 0).cummax(0).values
    return _in_own_scene(hand, every[shut & (since >= LONG_SHUT) & (since % EVERY == 0)])


def _in_own_scene(hand: int, ticks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return ticks, torch.full_like(ticks, hand), ticks, ticks


def held_rows(data: SceneData) -> tuple[Tensor, Tensor, Tensor]:
    """Return ticks [N] at which a gripper holds something, its hand [N], and whether it slips [N].

    It slips if it is still told to be shut at the next tick, and holds nothing any more.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    clips = data.clips
    now = torch.arange(len(clips) - 1)
    goes_on = (now < clips.last[:-1]) & ~clips.actions[:-1].isnan().any(1)
    for hand in data.grippers:
        shut, grips = data.shut[:, hand], data.grips[:, hand]
        known = goes_on & shut[:-1] & shut[1:] & (grips[:-1] == 1.0) & ~grips[1:].isnan()
        ticks = now[known]
        found.append((ticks, torch.full_like(ticks, hand), (grips[ticks + 1] == 0.0).float()))
    ticks, hands, slips = (
        (torch.cat(parts) for parts in zip(*found, strict=True)) if found
        else (now[:0], now[:0], torch.zeros(0))
    )
    return ticks, hands, slips
