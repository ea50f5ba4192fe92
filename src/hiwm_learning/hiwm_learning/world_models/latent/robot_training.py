"""Second stage: what the robot looks like, learned from frames with the joints of each.

The layer is drawn in front of the camera's usual picture, the median of many frames. Its loss is
first the squared error, or it would never begin to draw, and then the absolute one: it then draws
what is there in more than half of all frames with these joints. That is the robot, and no object,
if objects lie elsewhere in each frame. It is more than the robot if an object's place follows from
the joints: a towel always starts in the middle, and has left it when the arms have folded it.
Recordings of the robot only have no such object; with them, the layer learns from nothing else.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.lights import light_on
from hiwm_learning.world_models.latent.model import LatentWorldModel, floats
from hiwm_learning.world_models.latent.robot_layer import RobotLayer
from hiwm_learning.world_models.latent.stage import Stage

RATE = 2e-3
BATCH = 32
# Share of the training in which squares count, if the robot is not drawn yet.
FOUND_UNTIL = 0.35
STILL = 0.5  # share of pixels that are as usual, of a camera that stands still
USUAL_FRAMES, AT_ONCE = 600, 50
ROBOT_WEIGHT = 4.0
# Of what is covered, once the robot is found. Before an empty scene, a cover in its colours costs
# nothing else, and would later hide the objects there. With .05, a small robot was dropped as well.
COVER_WEIGHT = 0.02
# Price of a pixel's cover in the half of the frames that cover it least. What is covered there
# stands still, and belongs to the scene. An arm is worth this price.
CONSTANT_WEIGHT = 0.5
# Pixels this far from the usual picture weigh more: most of a scene is still.
DIFFERENT, DIFFERENT_WEIGHT = 0.06, 8.0
MEASURED = 96  # held-out frames


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
    pictures, found = [], []
    for camera in range(clips.frames.shape[1]):  # one by one: frames may be large
        frames = clips.frames[rows, camera]
        picture = floats(frames.median(dim=0).values)
        pictures.append(picture)
        as_usual = []
        for part in frames.split(AT_ONCE):
            images = floats(part)
            off = (images / light_on(images, picture) - picture).abs().amax(1)
            as_usual.append((off <= DIFFERENT).float().flatten(1).mean(1))
        found.append(torch.cat(as_usual).mean())
    return Usual(pictures=torch.stack(pictures), stillness=torch.stack(found))


def robot_stage(
    model: LatentWorldModel, clips: Clips, held_out: Clips, *, seed: int, device: torch.device,
    batch: int = BATCH, team: Team = ALONE, robot_only: Clips | None = None,
) -> Stage:
    """Return the stage that fits how the robot is drawn in place.

    Args:
        model: on the device; its joint response is fitted already, for the scale of the joints.
        clips: to train on.
        held_out: to measure on, without `robot_only`.
        seed: of everything random.
        device: of the model.
        batch: frames in each part of a step.
        team: the processes that train together.
        robot_only: recordings of the robot with no object in sight; None takes the robot for what
            follows from the joints in `clips`. Then all is measured on what it learns from.
    """
    posed = clips if robot_only is None else robot_only
    seen = usual_pictures(clips, seed)
    still = [float(share) > STILL for share in seen.stillness]
    usual = seen.pictures if robot_only is None else usual_pictures(posed, seed).pictures
    usual = usual.to(device)
    found_until = 0.0  # a robot that is drawn already need not be found
    views = model.camera_views()
    for view, picture, stands in zip(views, usual, still, strict=True):
        if view.renderer.untrained:
            view.renderer.usual.copy_(picture)
            view.still.fill_(float(stands))
            found_until = FOUND_UNTIL
    team.share_values([view.still for view in views])
    drawn_by = [index for index, view in enumerate(views) if bool(view.still)]
    every = torch.arange(len(posed))

    def losses(generator: torch.Generator, step: int, progress: float) -> dict[str, Tensor]:
        rows = posed.draw(every, batch, generator)
        posture = model.posture(posed.proprioception[rows].to(device))
        images = floats(posed.frames[rows].to(device))
        loss = posture.new_zeros(())
        for index in drawn_by:
            layer, view = views[index].robot(posture), views[index]
            loss = loss + robot_loss(layer, images[:, index], view.usual, progress < found_until)
        return {"loss": loss}

    def measure() -> dict[str, float]:
        shown = held_out if robot_only is None else posed
        rows = torch.linspace(0, len(shown) - 1, min(MEASURED, len(shown))).long()
        images = floats(shown.frames[rows].to(device))
        robots = model.robots(shown.proprioception[rows].to(device))
        found = {}
        for index in drawn_by:
            light = views[index].light_in(images[:, index])
            drawn = robots[index].lit(light).over(views[index].usual * light)
            off = (drawn - images[:, index]).square().flatten(1).mean(1).clamp_min(1e-10)
            found[f"psnr_{model.config.cameras[index]}"] = float(-10.0 * off.log10().mean())
            found[f"cover_{model.config.cameras[index]}"] = float(robots[index].cover.mean())
        return found

    return Stage(
        torch.nn.ModuleList(view.renderer for view in views), [losses] * len(team.mine), rate=RATE,
        seed=seed, device=device, measure=measure, team=team,
    )


def robot_loss(layer: RobotLayer, images: Tensor, usual: Tensor, squares: bool) -> Tensor:
    """Return the loss of a robot drawn in one camera, in each image's light.

    Args:
        layer: of B frames.
        images: [B, 3, H, W] in 0..1.
        usual: [3, H, W] the camera's usual picture.
        squares: whether squares count, and not the absolute error.
    """
    wanted = images / light_on(images, usual)
    error = layer.over(usual) - wanted
    if squares:
        unusual = (wanted - usual).abs().amax(1, keepdim=True)
        weight = 1.0 + DIFFERENT_WEIGHT * (unusual > DIFFERENT).float()
        return 4.0 * (weight * error**2).mean() + 0.2 * (weight * error.abs()).mean()
    half = max(1, len(images) // 2)
    constant = layer.cover.topk(half, dim=0, largest=False).values.mean()
    price = COVER_WEIGHT * layer.cover.mean() + CONSTANT_WEIGHT * constant
    return ROBOT_WEIGHT * error.abs().mean() + price
