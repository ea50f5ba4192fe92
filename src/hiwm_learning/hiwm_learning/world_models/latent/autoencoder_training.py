"""First stage: frames are redrawn, and the robot leaves the latents.

Two frames of a run are encoded. Many latents are drawn with the joint state of the pair's other
frame, and shall show that frame: a robot that the latents hold would be drawn twice. Objects that
have moved in between are no fault of the latents, so pixels that stay far off count less. Besides,
the distance between the two latents is a penalty: what an arm hides shall not come and go. Both
fade during the training: first the robot leaves, then the picture gets sharp.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.model import LatentWorldModel, floats
from hiwm_learning.world_models.latent.stage import Stage

RATE = 2e-3
BATCH = 24  # pairs
APART = 30  # steps between the frames of a pair, at most
# Share of the latents that are drawn with the other frame's joints, and at the end.
EXCHANGED, EXCHANGED_END = 0.5, 0.12
# There, a pixel that is this far off counts half as much, of the brightness range.
DISPUTED = 0.15
# Of the latents' unit deviation: predicted latents are never quite those of a frame.
LATENT_NOISE = 0.08
# Weight of the penalty beside the reconstruction, and its share at the end.
SLOWNESS, SLOW_END = 1.0, 0.3
FADE_FROM, FADE_TO = 0.25, 0.70  # of the training
WARM_STEPS = 400
# Pixels this far from the usual picture weigh more: most of a scene is still.
DIFFERENT, DIFFERENT_WEIGHT = 0.06, 8.0
USUAL_FRAMES = 600
MEASURED = 96  # held-out frames


@dataclass(frozen=True, kw_only=True)
class Usual:
    """The usual picture of each camera."""

    pictures: Tensor  # [C, 3, H, W] in 0..1, the median of many frames
    stillness: Tensor  # [C] share of pixels that are as usual: about 0 for a moving camera


def usual_pictures(clips: Clips, seed: int) -> Usual:
    """Return the median picture of each camera, and how still its scene is."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(clips), (min(USUAL_FRAMES, len(clips)),), generator=generator)
    frames = clips.frames[rows]
    median = frames.median(dim=0).values
    far = (frames.short() - median.short()).abs().amax(-1).float() / 255.0 > DIFFERENT
    return Usual(pictures=floats(median), stillness=1.0 - far.float().mean((0, 2, 3)))


def autoencoder_stage(
    model: LatentWorldModel, clips: Clips, held_out: Clips, *, seed: int, device: torch.device,
    batch: int = BATCH, team: Team = ALONE,
) -> Stage:
    """Return the stage that fits a model's coders in place.

    Args:
        model: on the device; its joint response is fitted already, for the scale of the joints.
        clips: to train on.
        held_out: to measure on.
        seed: of everything random.
        device: of the model.
        batch: pairs in each part of a step.
        team: the processes that train together.
    """
    usual = usual_pictures(clips, seed)
    pictures = usual.pictures.to(device)
    every = torch.arange(len(clips))

    def losses(generator: torch.Generator, step: int, progress: float) -> dict[str, Tensor]:
        rows = clips.draw(every, batch, generator)
        apart = torch.randint(1, APART + 1, (batch,), generator=generator)
        apart = apart * (torch.randint(0, 2, (batch,), generator=generator) * 2 - 1)
        other = torch.minimum(torch.maximum(rows + apart, clips.first[rows]), clips.last[rows])
        both = torch.cat([rows, other])
        posture = model.posture(clips.proprioception[both].to(device))
        images = floats(clips.frames[both].to(device))
        exchanged = round(batch * faded(EXCHANGED, EXCHANGED_END, progress))
        shown = torch.arange(batch)
        shown[:exchanged] += batch
        redrawing, slowness = posture.new_zeros(()), posture.new_zeros(())
        for index, coder in enumerate(model.camera_coders()):
            robot = coder.robot(posture)
            latents = coder.encode(images[:, index], robot)
            now, later = latents[:batch], latents[batch:]
            # Not squared, so that few cells may change much.
            distance = (((now - later) ** 2).sum(1) + 1e-3).sqrt().mean()
            slowness = slowness + usual.stillness[index].item() * distance
            noise = torch.randn(now.shape, generator=generator).to(device)
            posed = type(robot)(fine=robot.fine[shown], coarse=robot.coarse[shown])
            wanted = images[shown, index]
            error = coder.decode(now + LATENT_NOISE * noise, posed) - wanted
            unusual = (wanted - pictures[index]).abs().amax(1, keepdim=True)
            weight = 1.0 + DIFFERENT_WEIGHT * (unusual > DIFFERENT).float()
            disputed = (error[:exchanged].detach().abs().amax(1, keepdim=True) / DISPUTED) ** 2
            weight[:exchanged] /= 1.0 + disputed * min(1.0, progress / FADE_FROM)
            redrawing = redrawing + 4.0 * (weight * error**2).mean()
            redrawing = redrawing + 0.2 * (weight * error.abs()).mean()
        loss = redrawing + slowness_weight(step, progress) * slowness
        return {"loss": loss, "redrawing": redrawing, "slowness": slowness}

    def measure() -> dict[str, float]:
        rows = torch.linspace(0, len(held_out) - 1, min(MEASURED, len(held_out))).long()
        later = torch.minimum(rows + APART // 2, held_out.last[rows])
        frames, after = held_out.frames[rows].to(device), held_out.frames[later].to(device)
        joints, joints_after = (
            held_out.proprioception[at].to(device) for at in (rows, later)
        )
        latents = model.encode(frames, joints)
        return {
            "psnr": psnr(model.decode(latents, joints), frames),
            # Of later frames, with their joints and the latents of now: without the robot in the
            # latents, it is well above that of the frames of now.
            "psnr_exchanged": psnr(model.decode(latents, joints_after), after),
            "psnr_copied": psnr(frames, after),
        }

    return Stage(
        model.coders, [losses] * len(team.mine), rate=RATE, seed=seed, device=device,
        measure=measure, team=team,
    )


def slowness_weight(step: int, progress: float) -> float:
    """Return the weight of the penalty on changing latents."""
    return min(1.0, step / WARM_STEPS) * faded(SLOWNESS, SLOWNESS * SLOW_END, progress)


def faded(first: float, last: float, progress: float) -> float:
    """Return a value that goes from the first to the last over a part of the training."""
    fallen = min(1.0, max(0.0, (progress - FADE_FROM) / (FADE_TO - FADE_FROM)))
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * fallen))


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Return the PSNR of uint8 frames [B, ...], dB, the mean over frames."""
    square = ((found.float() - wanted.float()) ** 2).flatten(1).mean(1) / 255.0**2
    return float((-10.0 * torch.log10(square.clamp_min(1e-10))).mean())
