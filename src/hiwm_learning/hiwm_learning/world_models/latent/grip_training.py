"""Fifth stage: a small network learns what hands hold.

It learns by itself, before the dynamics. Taught together with it, it was right less often in
imagination.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.grip_rows import grip_rows
from hiwm_learning.world_models.latent.grip_scores import grip_scores
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.open_loop import worlds_at
from hiwm_learning.world_models.latent.scene_data import SceneData
from hiwm_learning.world_models.latent.shown_grips import grip_error
from hiwm_learning.world_models.latent.stage import Stage

STEPS = 4000
RATE = 1.5e-3
BATCH = 256
# What hands see is computed so often, in earlier scenes that are drawn anew, each time for all rows
# or as many as a share of ROWS, and for so many at once.
TIMES, ROWS, AT_ONCE = 4, 24_000, 256


def grip_stage(
    model: LatentWorldModel, data: SceneData, held_out: SceneData,
    measure: MeasuredFromProprioception, *, seed: int, device: torch.device,
    team: Team = ALONE,
) -> Stage:
    """Return the stage that fits grips in place.

    Args:
        model: on the device; its robot, hands and fillers are trained.
        data: to train on.
        held_out: to measure on.
        measure: computes the measured action from proprioception.
        seed: of everything random.
        device: of the model.
        team: the processes that train together.
    """
    looked: list[tuple[Tensor, Tensor, Tensor]] = []  # at the first step: a finished stage has none

    def losses(generator: torch.Generator, step: int, progress: float) -> dict[str, Tensor]:
        if not looked:
            looked.append(_looked_at(model, data, seed, device))
        seen, robot, labels = looked[0]
        if not len(seen):
            return {"loss": torch.zeros((), device=device)}
        rows = torch.randint(len(seen), (BATCH,), generator=generator)
        held = model.dynamics.grips(seen[rows].to(device).float(), robot[rows].to(device))
        return {"loss": grip_error(held, labels[rows].to(device))}

    return Stage(
        model.dynamics.grips, [losses] * len(team.mine), rate=RATE, seed=seed, device=device,
        measure=lambda: grip_scores(model, held_out, measure, device), team=team,
    )


@torch.no_grad()
def _looked_at(
    model: LatentWorldModel, data: SceneData, seed: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what hands see [N, C * hands, S], the robot [N, G], and labels [N, hands]."""
    rows, generator = grip_rows(data), torch.Generator().manual_seed(seed)
    found: list[Sequence[Tensor]] = []
    for _ in range(TIMES if len(rows) else 0):
        chosen = data.clips.draw_places(rows.ticks, min(len(rows), ROWS // TIMES), generator)
        for part in chosen.split(AT_ONCE):
            ticks, scenes = rows.ticks[part], rows.seen(part, generator)
            worlds = worlds_at(
                data.clips, ticks, data.recordings.at(scenes, device)[0],
                data.recordings.light[scenes], torch.zeros(len(ticks), data.grips.shape[1]), device,
            )
            seen, robot = model.around_hands(worlds, data.points_around(ticks).to(device))
            found.append((seen.cpu().half(), robot.cpu(), rows.labels(data.grips, part)))
    if not found:
        empty = torch.zeros(0)
        return empty, empty, empty
    seen, robot, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return seen, robot, labels
