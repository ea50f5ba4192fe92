"""How often imagination is right about what a gripper takes."""

from collections import deque

import torch
from torch import Tensor

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.open_loop import rollout
from hiwm_learning.world_models.latent.scene_data import SceneData
from hiwm_learning.world_models.latent.shown_grips import closings_of

# Rollouts start so many ticks before a gripper closes, and are judged so many ticks after it.
BEFORE, AFTER = 15, 6
MEASURED = 96  # closings, at most


@torch.no_grad()
def grip_scores(
    model: LatentWorldModel, data: SceneData, measure: MeasuredFromProprioception,
    device: torch.device,
) -> dict[str, float]:
    """Return the shares of grasps that are imagined as they were; {} if none is known.

    `taken_imagined` is that of grasps that took something, `missed_imagined` of those that missed.

    Args:
        model: on the device.
        data: to measure on.
        measure: computes the measured action from proprioception.
        device: of the model.
    """
    clips = data.clips
    closings = [_closings(data, hand) for hand in data.grippers]
    at = torch.cat([clips.first[:0], *closings])
    hands = torch.cat([
        clips.first[:0], *(
            torch.full_like(ticks, hand)
            for hand, ticks in zip(data.grippers, closings, strict=True)
        ),
    ])
    if not len(at):
        return {}
    some = torch.linspace(0, len(at) - 1, min(MEASURED, len(at))).long()
    at, hands = at[some], hands[some]
    steps = rollout(model, clips, data.recordings, at - BEFORE, BEFORE + AFTER, measure, device)
    (worlds,) = deque(steps, maxlen=1)
    said = worlds.evidence.cpu().gather(1, hands[:, None])[:, 0] > 0.0
    took = data.grips[at, hands] == 1.0
    shares = {"taken_imagined": said[took], "missed_imagined": ~said[~took]}
    return {name: float(right.float().mean()) for name, right in shares.items() if len(right)}


@torch.no_grad()
def slip_scores(
    model: LatentWorldModel, moves: Tensor, hands: Tensor, slips: Tensor
) -> dict[str, float]:
    """Return how many of the things held slipped, and how many were to be expected; {} if none.

    Args:
        model: its slips.
        moves: [N, M] what it is told of how the arms stand and move.
        hands: [N] that hold something.
        slips: [N] 1 where a hand loses it in this step, or 0.
    """
    if not len(moves):
        return {}
    device = next(model.dynamics.slips.parameters()).device
    chances = torch.sigmoid(model.dynamics.slips(moves.to(device))).cpu()
    expected = chances.gather(1, hands[:, None]).sum()
    return {"slips": float(slips.sum()), "slips_expected": float(expected)}


def _closings(data: SceneData, hand: int) -> Tensor:
    """Return the ticks at which a hand closes, long enough in its run, and known what it takes."""
    clips = data.clips
    ticks = closings_of(clips, data.shut[:, [hand]])
    inside = (ticks - BEFORE >= clips.first[ticks]) & (ticks + AFTER <= clips.last[ticks])
    ticks = ticks[inside]
    stays_shut = data.shut[ticks[:, None] + torch.arange(AFTER + 1), hand].all(1)
    return ticks[stays_shut & ~data.grips[ticks, hand].isnan()]
