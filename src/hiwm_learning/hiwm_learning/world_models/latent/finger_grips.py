"""What hands hold, told by their fingers: what is held keeps a shut gripper open.

A thin thing on a table is a few pixels, mostly hidden by the hand: pictures say badly whether it
was taken. If it keeps the fingers apart, they say it at every tick, slips included. Cloth does not
keep them apart; then only pictures can tell.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.shown_grips import stretches

# A gripper is kept open if it rests this much wider than it is told to be, a ratio. It rests if it
# has moved by less than so much in each of two ticks.
KEPT_OPEN, RESTS = 0.05, 0.01
# Fingers tell what a gripper holds if in this share of the times it shuts something keeps it open,
# for so many ticks, and in as many it shuts as told: one that never does is only measured wide.
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
        closed = shut[:, hand]
        stretch = stretches(clips, closed)
        shuts = stretch[closed].unique()
        if not len(shuts):
            continue
        often = []
        for state in _states(clips, closed, place):
            ticks = torch.bincount(stretch[state], minlength=int(stretch[-1]) + 1)
            often.append(float((ticks[shuts] >= LONG).float().mean()) >= OFTEN)
        if all(often):
            found.append(hand)
    return found


def by_fingers(
    shown: Tensor, clips: Clips, shut: Tensor, grippers: Mapping[int, int], telling: Sequence[int]
) -> Tensor:
    """Return what hands hold, [N, hands], with what telling fingers say of it.

    While a gripper moves, it holds what it held last, but once fingers that something kept apart
    begin to close, it has slipped. While it shuts, it holds what it holds when it first rests.
    Where fingers are together all the time, but pictures say that they hold something, nobody
    knows.

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
        stretch = stretches(clips, closed)
        kept, together = _states(clips, closed, place)
        settled = kept | together
        # The last settled tick up to each one, and the first one after it, in the same stretch.
        last = torch.where(settled, every, -1).cummax(0).values.clamp_min(0)
        following = torch.where(settled, every, len(clips)).flip(0).cummin(0).values.flip(0)
        following = following.clamp_max(len(clips) - 1)
        has_last = settled[last] & (stretch[last] == stretch)
        has_next = settled[following] & (stretch[following] == stretch)
        source = torch.where(has_last, last, following)
        slips = has_last & has_next & kept[last] & ~kept[following]
        said = torch.where(has_last | has_next, (kept[source] & ~slips).float(), torch.nan)
        held = torch.bincount(stretch[kept], minlength=int(stretch[-1]) + 1)[stretch] > 0
        said = torch.where(~held & (shown[:, hand] == 1.0), torch.nan, said)
        found[:, hand] = torch.where(closed, said, 0.0)
    return found


def _states(clips: Clips, closed: Tensor, place: int) -> tuple[Tensor, Tensor]:
    """Return whether a gripper that is told to shut rests wider than told, and as told, [N]."""
    opening = clips.measured[:, place]
    # A command leads to the next tick: at the first one, the gripper still is where it was.
    goes_on = torch.zeros(len(clips), dtype=torch.bool)
    goes_on[1:] = closed[1:] & closed[:-1] & (clips.first[1:] == clips.first[:-1])
    stays = goes_on.clone()
    stays[1:] &= (opening[1:] - opening[:-1]).abs() < RESTS
    rests = stays & stays.roll(1)
    wider = opening - clips.actions[:, place].nan_to_num(torch.inf)
    return rests & (wider > KEPT_OPEN), rests & (wider.abs() <= KEPT_OPEN)
