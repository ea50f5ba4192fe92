"""Fourth stage: what is behind the robot is guessed from what is seen around it.

Where one frame shows the scene, the robot of another frame is held before it, and the scene behind
is to be guessed. The truth is known, and no mask was ever drawn by hand.
"""

import torch
from torch import Tensor, nn

from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.model import LatentWorldModel, floats
from hiwm_learning.world_models.latent.robot_training import DIFFERENT, DIFFERENT_WEIGHT
from hiwm_learning.world_models.latent.stage import Stage

RATE = 2e-3
BATCH = 16
# Robots held before a frame are those of ticks this near, half of the time: they hide what the
# robot of the frame is about to touch.
NEAR_TICKS = 40
SHOWN_WEIGHT = 0.1  # of pixels that need no guess
MEASURED = 96  # held-out frames


def filling_stage(
    model: LatentWorldModel, clips: Clips, held_out: Clips, *, seed: int, device: torch.device,
    batch: int = BATCH, team: Team = ALONE,
) -> Stage:
    """Return the stage that fits the fillers in place.

    Args:
        model: on the device; its robot is drawn already.
        clips: to train on.
        held_out: to measure on.
        seed: of everything random.
        device: of the model.
        batch: frames in each part of a step.
        team: the processes that train together.
    """
    views = model.camera_views()
    every = torch.arange(len(clips))

    def found(data: Clips, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weighted errors of the filler and of the usual picture, and the weight."""
        images = floats(data.frames[rows].to(device))
        sums = [torch.zeros((), device=device) for _ in range(3)]
        with torch.no_grad():
            robots = model.robots(data.proprioception[rows].to(device))
            held = model.robots(data.proprioception[others].to(device))
        for index, view in enumerate(views):
            if not bool(view.still):
                continue
            with torch.no_grad():
                light = view.light_in(images[:, index])
                usual = view.usual * light
                truth = robots[index].lit(light).taken_from(images[:, index]) - usual
                own, foreign = robots[index].hidden(), held[index].hidden()
                unusual = (truth.abs().amax(1, keepdim=True) > DIFFERENT).float()
                weight = (1.0 + DIFFERENT_WEIGHT * unusual) * (1.0 - own)
                weight = weight * (foreign + SHOWN_WEIGHT * (1.0 - foreign))
            guess = view.filler(truth, torch.maximum(own, foreign))
            sums[0] = sums[0] + (weight * (guess - truth).abs()).sum()
            sums[1] = sums[1] + (weight * truth.abs()).sum()
            sums[2] = sums[2] + weight.sum()
        return sums[0], sums[1], sums[2]

    def losses(generator: torch.Generator, step: int, progress: float) -> dict[str, Tensor]:
        rows = clips.draw(every, batch, generator)
        apart = torch.randint(-NEAR_TICKS, NEAR_TICKS + 1, (batch,), generator=generator)
        near = torch.minimum(torch.maximum(rows + apart, clips.first[rows]), clips.last[rows])
        others = torch.where(torch.rand(batch, generator=generator) < 0.5, near, rows.roll(1))
        wrong, _, weight = found(clips, rows, others)
        return {"loss": wrong / weight.clamp_min(1.0)}

    def measure() -> dict[str, float]:
        rows = torch.linspace(0, len(held_out) - 1, min(MEASURED, len(held_out))).long()
        wrong, usual, _ = found(held_out, rows, rows.roll(1))
        # 1: no better than the usual picture.
        return {"filled": float(wrong / usual.clamp_min(1e-6))}

    fillers = nn.ModuleList(view.filler for view in views)
    return Stage(
        fillers, [losses] * len(team.mine), rate=RATE, seed=seed, device=device, measure=measure,
        team=team,
    )
