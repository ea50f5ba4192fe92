"""Second stage: the coders redraw frames, with the robot as a layer and not in the latents.

At first only the robot's layer is trained (`robot_training`). Then two frames of a run are encoded.
Many latents are drawn with the robot of the pair's other frame, and shall show that frame: a robot
that the latents hold would be drawn twice. Objects that have moved in between are no fault of the
latents, so pixels that stay far off count less. Besides, the distance between the two latents is a
penalty: what an arm hides shall not come and go. Both fade during the training: first the robot
leaves, then the picture gets sharp.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.model import LatentWorldModel, floats
from hiwm_learning.world_models.latent.robot_training import (
    DIFFERENT,
    FOUND_UNTIL,
    light_on,
    redrawing_loss,
    robot_loss,
    unusual_weight,
)
from hiwm_learning.world_models.latent.stage import Stage

RATE = 2e-3
BATCH = 24  # pairs
APART = 30  # steps between the frames of a pair, at most
# Share of the training in which only the robot's layer is trained, on as many frames.
ROBOT_UNTIL = 0.2
STILL = 0.5  # share of pixels that are as usual, of a camera that stands still
# Share of the latents that are drawn with the other frame's joints, and at the end.
EXCHANGED, EXCHANGED_END = 0.5, 0.25
# There, a pixel that is this far off counts half as much, of the brightness range.
DISPUTED = 0.15
USUAL_FRAMES = 600
# Of the latents' unit deviation: predicted latents are never quite those of a frame.
LATENT_NOISE = 0.08
# Weight of the penalty beside the reconstruction, and its share at the end.
SLOWNESS, SLOW_END = 0.5, 0.3
FADE_FROM, FADE_TO = 0.40, 0.80  # of the training
WARM_STEPS = 400
MEASURED = 96  # held-out frames
LATER = (1, 15)  # steps between these and the ones that are drawn from their latents


@dataclass(frozen=True, kw_only=True)
class Usual:
    """The usual picture of each camera."""

    pictures: Tensor  # [C, 3, H, W] in 0..1, the median of many frames
    # [C] share of pixels that are as usual, but for the light: about 0 for a moving camera
    stillness: Tensor


def usual_pictures(clips: Clips, seed: int) -> Usual:
    """Return the median picture of each camera, and how still its scene is."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(clips), (min(USUAL_FRAMES, len(clips)),), generator=generator)
    frames = floats(clips.frames[rows])
    pictures = floats(clips.frames[rows].median(dim=0).values)
    found = [
        ((images / light_on(images, picture) - picture).abs().amax(1) <= DIFFERENT).float().mean()
        for images, picture in zip(frames.unbind(1), pictures, strict=True)
    ]
    return Usual(pictures=pictures, stillness=torch.stack(found))


def autoencoder_stage(
    model: LatentWorldModel, clips: Clips, held_out: Clips, *, seed: int, device: torch.device,
    batch: int = BATCH, team: Team = ALONE, robot_only: Clips | None = None,
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
        robot_only: recordings of the robot with no object in sight; None takes the robot for what
            follows from the joints in `clips`.
    """
    usual = usual_pictures(clips, seed)
    pictures = usual.pictures.to(device)
    posed = clips if robot_only is None else robot_only
    behind = pictures if robot_only is None else usual_pictures(posed, seed).pictures.to(device)
    found_until = 0.0  # a robot that is drawn already needs not be found
    for coder, picture in zip(model.camera_coders(), behind, strict=True):
        if coder.robot.untrained:
            coder.robot.usual.copy_(picture)
            found_until = FOUND_UNTIL
    every, every_posed = torch.arange(len(clips)), torch.arange(len(posed))

    # A camera that moves has no usual picture: there, the robot is learned with the scene.
    still = [float(share) > STILL for share in usual.stillness]

    def robot_losses(count: int, generator: torch.Generator, progress: float) -> Tensor:
        rows = posed.draw(every_posed, count, generator)
        posture = model.posture(posed.proprioception[rows].to(device))
        images = floats(posed.frames[rows].to(device))
        squares = progress < found_until
        drawn = posture.new_zeros(())
        for index, coder in enumerate(model.camera_coders()):
            if still[index]:
                layer = coder.robot(posture)
                drawn = drawn + robot_loss(layer, images[:, index], behind[index], squares)
        return drawn

    def losses(generator: torch.Generator, step: int, progress: float) -> dict[str, Tensor]:
        if progress < ROBOT_UNTIL and any(still):
            drawn = robot_losses(2 * batch, generator, progress)
            return {"loss": drawn, "robot": drawn}
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
        redrawing, slowness = (posture.new_zeros(()) for _ in range(2))
        drawn = robot_losses(batch, generator, progress)
        for index, coder in enumerate(model.camera_coders()):
            with torch.no_grad():  # the encoder only needs to know what it hides
                hiding = coder.robot(posture)
            latents = coder.encode(images[:, index], hiding)
            now, later = latents[:batch], latents[batch:]
            # Not squared, so that few cells may change much.
            distance = (((now - later) ** 2).sum(1) + 1e-3).sqrt().mean()
            slowness = slowness + usual.stillness[index].item() * distance
            noise = torch.randn(now.shape, generator=generator).to(device)
            now = now + LATENT_NOISE * noise
            scene, wanted = coder.scene(now), images[shown, index]
            # A still camera's robot is learned above; where it hides the scene is no fault of it.
            with torch.set_grad_enabled(torch.is_grad_enabled() and not still[index]):
                robot = coder.robot(posture[shown])
            error = robot.lit(coder.light_of(now)).over(scene) - wanted
            weight = unusual_weight(wanted, pictures[index])
            disputed = (error[:exchanged].detach().abs().amax(1, keepdim=True) / DISPUTED) ** 2
            weight[:exchanged] /= 1.0 + disputed
            redrawing = redrawing + redrawing_loss(error, weight)
        loss = redrawing + drawn + slowness_weight(step, progress) * slowness
        return {"loss": loss, "robot": drawn, "redrawing": redrawing, "slowness": slowness}

    def measure() -> dict[str, float]:
        rows = torch.linspace(0, len(held_out) - 1, min(MEASURED, len(held_out))).long()
        frames, joints = held_out.frames[rows].to(device), held_out.proprioception[rows].to(device)
        latents = model.encode(frames, joints)
        found = {"psnr": psnr(model.decode(latents, joints), frames)}
        # Of later frames, with their joints and the latents of now: without the robot in the
        # latents, it is well above that of the frames of now.
        for ahead in LATER:
            later = torch.minimum(rows + ahead, held_out.last[rows])
            after = held_out.frames[later].to(device)
            drawn = model.decode(latents, held_out.proprioception[later].to(device))
            found[f"psnr_exchanged_{ahead}"] = psnr(drawn, after)
            found[f"psnr_copied_{ahead}"] = psnr(frames, after)
        return found

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
