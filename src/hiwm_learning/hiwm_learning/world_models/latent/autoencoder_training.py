"""Second stage: the coders redraw frames, with the robot as a layer and not in the latents.

The robot's layer is trained before the usual picture, at first by itself. Its loss is soon the
absolute error, so it draws what is there in more than half of all frames with these joints: the
robot, and no object. Then two frames of a run are encoded. Many latents are drawn with the robot of
the pair's other frame, and shall show that frame: a robot that the latents hold would be drawn
twice. Objects that have moved in between are no fault of the latents, so pixels that stay far off
count less. Besides, the distance between the two latents is a penalty: what an arm hides shall not
come and go. Both fade during the training: first the robot leaves, then the picture gets sharp.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.model import LatentWorldModel, floats
from hiwm_learning.world_models.latent.robot_layer import RobotLayer
from hiwm_learning.world_models.latent.stage import Stage

RATE = 2e-3
BATCH = 24  # pairs
APART = 30  # steps between the frames of a pair, at most
# Share of the training in which only the robot's layer is trained, on as many frames; and in which
# squares count: with the absolute error from the start, it never begins to draw.
ROBOT_UNTIL, FOUND_UNTIL = 0.2, 0.12
ROBOT_WEIGHT = 4.0
STILL = 0.5  # share of pixels that are as usual, of a camera that stands still
# Share of the latents that are drawn with the other frame's joints, and at the end.
EXCHANGED, EXCHANGED_END = 0.5, 0.25
# There, a pixel that is this far off counts half as much, of the brightness range.
DISPUTED = 0.15
# Of the latents' unit deviation: predicted latents are never quite those of a frame.
LATENT_NOISE = 0.08
# Weight of the penalty beside the reconstruction, and its share at the end.
SLOWNESS, SLOW_END = 0.5, 0.3
FADE_FROM, FADE_TO = 0.40, 0.80  # of the training
WARM_STEPS = 400
# Pixels this far from the usual picture weigh more: most of a scene is still.
DIFFERENT, DIFFERENT_WEIGHT = 0.06, 8.0
USUAL_FRAMES = 600
MEASURED = 96  # held-out frames
LATER = (1, 15)  # steps between these and the ones that are drawn from their latents
DARK = 0.05  # added to brightness before it is compared


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


def light_on(images: Tensor, picture: Tensor) -> Tensor:
    """Return how much brighter images [B, 3, H, W] are than the usual picture, [B, 3, 1, 1]."""
    ratio = (images + DARK) / (picture + DARK)
    return ratio.flatten(2).median(2).values[:, :, None, None]


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
    found_until = 0.0  # a robot that is drawn already needs not be found
    for coder, picture in zip(model.camera_coders(), pictures, strict=True):
        if coder.robot.untrained:
            coder.robot.usual.copy_(picture)
            found_until = FOUND_UNTIL
    every = torch.arange(len(clips))

    # A camera that moves has no usual picture: there, the robot is learned with the scene.
    still = [float(share) > STILL for share in usual.stillness]

    def robot_loss(layer: RobotLayer, images: Tensor, index: int, progress: float) -> Tensor:
        """Return the loss of a camera's layers before the usual picture in each image's light."""
        wanted = images / light_on(images, pictures[index])
        error = layer.over(pictures[index]) - wanted
        if progress < found_until:
            return _redrawing(error, _weight(wanted, pictures[index]))
        return ROBOT_WEIGHT * error.abs().mean()

    def robot_losses(generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        rows = clips.draw(every, 2 * batch, generator)
        posture = model.posture(clips.proprioception[rows].to(device))
        images = floats(clips.frames[rows].to(device))
        drawn = torch.stack([
            robot_loss(coder.robot(posture), images[:, index], index, progress) * still[index]
            for index, coder in enumerate(model.camera_coders())
        ]).sum()
        return {"loss": drawn, "robot": drawn}

    def losses(generator: torch.Generator, step: int, progress: float) -> dict[str, Tensor]:
        if progress < ROBOT_UNTIL and any(still):
            return robot_losses(generator, progress)
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
        redrawing, slowness, drawn = (posture.new_zeros(()) for _ in range(3))
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
            robot = coder.robot(posture[shown])
            if still[index]:
                drawn = drawn + robot_loss(robot, wanted, index, progress)
                robot = robot.detached()
            error = robot.lit(coder.light_of(now)).over(scene) - wanted
            weight = _weight(wanted, pictures[index])
            disputed = (error[:exchanged].detach().abs().amax(1, keepdim=True) / DISPUTED) ** 2
            weight[:exchanged] /= 1.0 + disputed
            redrawing = redrawing + _redrawing(error, weight)
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


def _weight(wanted: Tensor, usual: Tensor) -> Tensor:
    """Return weights [B, 1, H, W] of the pixels of images [B, 3, H, W]."""
    unusual = (wanted - usual).abs().amax(1, keepdim=True)
    return 1.0 + DIFFERENT_WEIGHT * (unusual > DIFFERENT).float()


def _redrawing(error: Tensor, weight: Tensor) -> Tensor:
    return 4.0 * (weight * error**2).mean() + 0.2 * (weight * error.abs()).mean()


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Return the PSNR of uint8 frames [B, ...], dB, the mean over frames."""
    square = ((found.float() - wanted.float()) ** 2).flatten(1).mean(1) / 255.0**2
    return float((-10.0 * torch.log10(square.clamp_min(1e-10))).mean())
