"""Seventh stage: doubt and verdicts are learned on rollouts of the finished dynamics.

Nothing of the dynamics changes any more, so a doubt learns what it will meet. Its rollouts may get
old and go astray: that is what it must know.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn

from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.doubt import doubt_error
from hiwm_learning.world_models.latent.dynamics_training import POOL_SEED, DynamicsOptions
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.open_loop import worlds_at
from hiwm_learning.world_models.latent.outcome_rows import OutcomeRows
from hiwm_learning.world_models.latent.rollout_pool import RolloutPool
from hiwm_learning.world_models.latent.scene_data import SceneData
from hiwm_learning.world_models.latent.scene_error import distance
from hiwm_learning.world_models.latent.stage import Export, Pools, Stage

RATE = 1.5e-3
OLDEST = 150  # age limit of a rollout, steps
# Verdicts are also learned from imagined scenes, as long as they show what was recorded: up to this
# share of the distance between unrelated ones.
SHOWS = 0.2


class _Heads(nn.Module):
    """The parts of a model that this stage trains."""

    def __init__(self, model: LatentWorldModel) -> None:
        super().__init__()
        self.outcome, self.doubts = model.outcome, model.doubts


def heads_stage(
    model: LatentWorldModel, data: SceneData, held_out: SceneData, *, seed: int,
    device: torch.device, options: DynamicsOptions, on_export: Export | None = None,
    team: Team = ALONE,
) -> Stage:
    """Return the stage that fits doubt and verdicts in place.

    Args:
        model: on the device; all else is trained.
        data: to train on.
        held_out: to measure on.
        seed: of everything random.
        device: of the model.
        options: of the pool.
        on_export: see `Stage`.
        team: the processes that train together; each part of a step has a pool of its own.
    """
    model.dynamics.eval().requires_grad_(False)
    clips, recordings = data.clips, data.recordings
    pools = [
        RolloutPool(
            clips, recordings, size=options.pool, oldest=OLDEST, strayed=math.inf,
            hands=len(model.config.arms), seed=seed + POOL_SEED * part, grown=True,
        )
        for part in team.mine
    ]
    outcome, checked = OutcomeRows(clips), OutcomeRows(held_out.clips)

    def losses(
        pool: RolloutPool, generator: torch.Generator, step: int, progress: float
    ) -> dict[str, Tensor]:
        rows = pool.rows
        with torch.no_grad():
            now = pool.pictures.to(device).float() / 255.0
            truth, hidden = recordings.at(rows + 1, device)
            worlds = worlds_at(clips, rows, now, pool.light, pool.evidence, device)
            predicted, _ = model.follow(worlds, data.points_around(rows).to(device))
            apart = distance(predicted.scene, truth, hidden) / model.distance
        doubts = model.doubts(predicted.summary, pool.doubt.to(device))
        doubt = doubt_error(doubts, apart).mean()
        judged = outcome.loss(model, recordings, clips, generator, device)
        shows = apart < SHOWS
        imagined = outcome.loss_of(
            model, predicted.scene[shows], worlds.light[shows], clips, (rows + 1)[shows.cpu()]
        )
        pool.advance(
            predicted.scene.float().cpu(), apart.float().cpu(), doubts.detach().float().cpu(),
            predicted.evidence.cpu(), progress, generator,
        )
        return {
            "loss": doubt + judged + imagined, "doubt": doubt, "outcome": judged,
            "imagined": imagined, "age": pool.age.float().mean(),
        }

    return Stage(
        _Heads(model), [partial(losses, pool) for pool in pools], rate=RATE, seed=seed,
        device=device,
        measure=lambda: checked.scores(model, held_out.recordings, held_out.clips, device),
        on_export=on_export, remembered=Pools(pools), team=team,
    )
