"""What hands hold, told by their fingers: what is held keeps a shut gripper open.

A thin thing on a table is a few pixels, mostly hidden by the hand: pictures say badly whether it
was taken. If it keeps the fingers apart, they say it at every tick, slips included. Cloth does not
keep them apart; then only pictures can tell.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hiwm_learning.world_models.latent.clips import Clips

# A gripper is kept open if it rests this much wider than it is told to be, a ratio. It rests if it
# has moved by less than so much in each of two ticks: in one, it may only begin to move.
KEPT_OPEN, RESTS = 0.05, 0.01
# Fingers tell what a gripper holds if something keeps it open in this share of the times it shuts,
# for so many ticks.
OFTEN, LONG = 0.05, 3


def telling_fingers(clips: Clips, shut: Tensor, grippers: Mapping[int, int]) -> list[int]:
    """Return the hands whose fingers tell what they hold.

    Args:
        clips: N ticks, to train on.
        shut: [N, hands] whether a gripper is told to be shut.
        grippers: of hands that have one, the place of their gripper in the action.
    """
    found = []
    for hand, place in grippers.items():
        stretch = _stretches(clips, shut[:, hand])
        kept = _kept_open(clips, place) & shut[:, hand]
        ticks = torch.bincount(stretch[kept], minlength=int(stretch[-1]) + 1)
        shuts = stretch[shut[:, hand]].unique()
        if len(shuts) and float((ticks[shuts] >= LONG).float().mean()) >= OFTEN:
            found.append(hand)
    return found


def by_fingers(
    shown: Tensor, clips: Clips, shut: Tensor, grippers: Mapping[int, int], telling: Sequence[int]
) -> Tensor:
    """Return what hands hold, [N, hands], with what telling fingers say of it.

    While a gripper moves, it holds what it holds when it rests again, or what it last held. Where
    its fingers are together, but pictures say that it holds something, nobody knows.

    Args:
        shown: [N, hands] by pictures: 1, 0, or NaN, not known.
        clips: the same ticks.
        shut: [N, hands] whether a gripper is told to be shut.
        grippers: of hands that have one, the place of their gripper in the action.
        telling: hands whose fingers tell it.
    """
    found = shown.clone()
    every = torch.arange(len(clips))
    for hand in telling:
        closed, place = shut[:, hand], grippers[hand]
        stretch = _stretches(clips, closed)
        kept = _kept_open(clips, place)
        as_told = (clips.measured[:, place] - clips.actions[:, place]).abs() < KEPT_OPEN
        settled = closed & (kept | (_rests(clips, place) & as_told))
        # The last settled tick up to each one, and the first one after it, in the same stretch.
        last = torch.where(settled, every, -1).cummax(0).values
        following = torch.where(settled, every, len(clips)).flip(0).cummin(0).values.flip(0)
        following = following.clamp_max(len(clips) - 1)
        has_last = (last >= 0) & (stretch[last.clamp_min(0)] == stretch)
        has_next = settled[following] & (stretch[following] == stretch)
        source = torch.where(has_last, last.clamp_min(0), following)
        said = torch.where(has_last | has_next, kept[source].float(), torch.nan)
        said = torch.where((said == 0.0) & (shown[:, hand] == 1.0), torch.nan, said)
        found[:, hand] = torch.where(closed, said, 0.0)
    return found


def _kept_open(clips: Clips, place: int) -> Tensor:
    """Return whether a gripper rests wider than it is told to be, [N]."""
    wider = clips.measured[:, place] - clips.actions[:, place].nan_to_num(torch.inf)
    return _rests(clips, place) & (wider > KEPT_OPEN)


def _rests(clips: Clips, place: int) -> Tensor:
    """Return whether a gripper has not moved in the last two ticks, [N]."""
    stays = torch.zeros(len(clips), dtype=torch.bool)
    opening = clips.measured[:, place]
    stays[1:] = (opening[1:] - opening[:-1]).abs() < RESTS
    stays[clips.first] = False
    return stays & stays.roll(1)


def _stretches(clips: Clips, shut: Tensor) -> Tensor:
    """Return the number of the stretch, in which a gripper is shut or not, of each tick, [N]."""
    begins = torch.ones(len(shut), dtype=torch.bool)
    begins[1:] = (shut[1:] != shut[:-1]) | (clips.first[1:] != clips.first[:-1])
    return begins.long().cumsum(0) - 1
