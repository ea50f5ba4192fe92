"""How good imagined frames are some steps ahead, with the recorded actions."""

from collections.abc import Iterator

import torch
from torch import Tensor

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.world_models.evaluation.metrics import PSNR_OF_EQUALS
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.joint_training import measured_of, settled
from hiwm_learning.world_models.latent.model import LatentWorldModel, Worlds, quantised
from hiwm_learning.world_models.latent.recorded_scenes import RecordedScenes
from hiwm_learning.world_models.latent.scene_error import scene_error, seen_weight

HORIZONS = (1, 10, 25, 50)
MEASURED = 48


def worlds_at(
    clips: Clips, rows: Tensor, scene: Tensor, light: Tensor, evidence: Tensor,
    device: torch.device,
) -> Worlds:
    """Return the worlds of recorded ticks [B].

    Args:
        clips: all recorded ticks.
        rows: [B] those.
        scene: [B, C, 3, H, W] maybe imagined.
        light: [B, C, 3] of the scenes.
        evidence: [B, hands] of holding something, so far.
        device: of the model.
    """
    gap, last_gap = clips.gaps(rows)
    before = torch.maximum(rows - 1, clips.first[rows])
    return Worlds(
        scene=scene, light=light.to(device), joints=clips.proprioception[rows].to(device),
        joints_before=clips.proprioception[before].to(device),
        gap=gap.to(device), last_gap=last_gap.to(device),
        command=clips.actions[rows].to(device), evidence=evidence.to(device),
    )


@torch.no_grad()
def open_loop(
    model: LatentWorldModel, clips: Clips, recordings: RecordedScenes,
    measure: MeasuredFromProprioception, device: torch.device,
) -> dict[str, float]:
    """Return PSNR and scene errors at some horizons, from spread starts.

    The error of the scene is a share of that of the first one: below 1, it is better than copying.
    """
    longest = int((clips.last - clips.first).max())
    horizons = [h for h in HORIZONS if h <= longest]
    rows = clips.rows(horizons[-1]) if horizons else clips.rows(1)[:0]
    if not len(rows):
        return {}
    rows = rows[torch.linspace(0, len(rows) - 1, min(MEASURED, len(rows))).long()]
    first, _ = recordings.at(rows, device)
    usual, scores = model.usual(recordings.light[rows].to(device)), {}
    imagined = rollout(model, clips, recordings, rows, horizons[-1], measure, device)
    for ahead, worlds in enumerate(imagined, start=1):
        if ahead not in horizons:
            continue
        frames = model.decode(worlds.scene, worlds.light, worlds.joints).cpu()
        scores[f"psnr_{ahead}"] = psnr(frames, clips.frames[rows + ahead])
        truth, hidden = recordings.at(rows + ahead, device)
        weight = seen_weight(truth, first, usual, hidden)
        wrong, copied = (scene_error(one, truth, weight).mean() for one in (worlds.scene, first))
        scores[f"of_copied_{ahead}"] = float(wrong / copied.clamp_min(1e-9))
    return scores


@torch.no_grad()
def rollout(
    model: LatentWorldModel, clips: Clips, recordings: RecordedScenes, rows: Tensor, steps: int,
    measure: MeasuredFromProprioception, device: torch.device,
) -> Iterator[Worlds]:
    """Yield what is imagined at each step from recorded ticks [B], with the recorded actions.

    Args:
        model: on the device.
        clips: all recorded ticks.
        recordings: their scenes.
        rows: [B] those from which it starts; their runs last for all steps.
        steps: how many.
        measure: computes the measured action from proprioception.
        device: of the model.
    """
    first, _ = recordings.at(rows, device)
    none = torch.zeros(len(rows), len(model.config.arms))
    worlds = worlds_at(clips, rows, first, recordings.light[rows], none, device)
    for ahead in range(1, steps + 1):
        predicted, after = model.follow(worlds)
        joints = settled(measure, after, worlds.joints).to(device)
        held = measured_of(measure, joints).to(device)
        command = torch.nan_to_num(clips.actions[rows + ahead].to(device))
        worlds = Worlds(
            scene=quantised(predicted.scene).float() / 255.0, light=worlds.light, joints=joints,
            joints_before=worlds.joints, gap=command - held,
            last_gap=clips.actions[rows + ahead - 1].to(device) - held, command=command,
            evidence=predicted.evidence,
        )
        yield worlds


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Return the PSNR of uint8 frames [B, ...], dB, the mean over frames."""
    square = ((found.float() - wanted.float()) ** 2).flatten(1).mean(1) / 255.0**2
    return float((-10.0 * torch.log10(square.clamp_min(10.0 ** (-0.1 * PSNR_OF_EQUALS)))).mean())
