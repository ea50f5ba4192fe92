"""Seventh stage: doubt and verdicts are learned on rollouts of the finished dynamics.

Nothing of the dynamics changes any more, so a doubt learns what it will meet. Its rollouts may get
old and go astray: that is what it must know.
"""

import dataclasses
import math
from functools import partial

import torch
from torch import Tensor, nn

from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.doubt_memory import DoubtMemory
from hiwm_learning.world_models.latent.dynamics import Prediction
from hiwm_learning.world_models.latent.dynamics_training import POOL_SEED, DynamicsOptions
from hiwm_learning.world_models.latent.model import LatentWorldModel, Worlds
from hiwm_learning.world_models.latent.open_loop import worlds_at
from hiwm_learning.world_models.latent.outcome_rows import OutcomeRows
from hiwm_learning.world_models.latent.rollout_pool import RolloutPool
from hiwm_learning.world_models.latent.scene_data import SceneData
from hiwm_learning.world_models.latent.scene_error import distance
from hiwm_learning.world_models.latent.stage import Export, Pools, Stage

RATE = 1.5e-3
OLDEST = 150  # age limit of a rollout, steps
UNIT_STEPS = 10  # of rollouts whose summaries say what is usual
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
    _learn_units(model, data, seed=seed, device=device, size=options.pool)
    pools = [_pool(model, data, seed + POOL_SEED * part, options.pool) for part in team.mine]
    memories = [DoubtMemory(options.pool, model.dynamics.summary) for _ in pools]
    outcome, checked = OutcomeRows(clips), OutcomeRows(held_out.clips)

    def losses(
        pool: RolloutPool, memory: DoubtMemory, generator: torch.Generator, step: int,
        progress: float,
    ) -> dict[str, Tensor]:
        rows = pool.rows
        worlds, predicted, apart = _step(model, data, pool, generator, device)
        with torch.no_grad():
            doubts = model.doubts(predicted.summary, pool.doubt.to(device))
        memory.add(
            summary=predicted.summary, apart=apart, begins=pool.age == 0, before=pool.doubt
        )
        doubt = memory.error(model.doubts, generator, device)
        judged = outcome.loss(model, recordings, clips, generator, device)
        shows = apart < SHOWS
        imagined = outcome.loss_of(
            model, predicted.scene[shows], worlds.light[shows], clips, (rows + 1)[shows.cpu()]
        )
        pool.advance(
            predicted.scene.float().cpu(), apart.float().cpu(), doubts.float().cpu(),
            predicted.evidence.cpu(), progress, generator,
        )
        return {
            "loss": doubt + judged + imagined, "doubt": doubt, "outcome": judged,
            "imagined": imagined, "age": pool.age.float().mean(),
        }

    return Stage(
        _Heads(model),
        [partial(losses, pool, memory) for pool, memory in zip(pools, memories, strict=True)],
        rate=RATE, seed=seed, device=device,
        measure=lambda: checked.scores(model, held_out.recordings, held_out.clips, device),
        on_export=on_export, remembered=Pools([*pools, *memories]), team=team,
    )


def _learn_units(
    model: LatentWorldModel, data: SceneData, *, seed: int, device: torch.device, size: int
) -> None:
    """Learn what is usual in the summaries of rollouts."""
    pool, generator = _pool(model, data, seed, size), torch.Generator().manual_seed(seed)
    found = []
    for _ in range(UNIT_STEPS):
        _, predicted, apart = _step(model, data, pool, generator, device)
        found.append(predicted.summary.float())
        pool.advance(
            predicted.scene.float().cpu(), apart.float().cpu(), pool.doubt,
            predicted.evidence.cpu(), 1.0, generator,
        )
    model.doubts.set_units(torch.cat(found))


def _pool(model: LatentWorldModel, data: SceneData, seed: int, size: int) -> RolloutPool:
    return RolloutPool(
        data.clips, data.recordings, size=size, oldest=OLDEST, strayed=math.inf,
        hands=len(model.config.arms), seed=seed, grown=True,
    )


@torch.no_grad()
def _step(
    model: LatentWorldModel, data: SceneData, pool: RolloutPool, generator: torch.Generator,
    device: torch.device,
) -> tuple[Worlds, Prediction, Tensor]:
    """Return the worlds of a pool, what follows, and how far that is from the truth, [B]."""
    rows, clips = pool.rows, data.clips
    truth, hidden = data.recordings.at(rows + 1, device)
    now = pool.pictures.to(device).float() / 255.0
    luck = torch.rand(pool.evidence.shape, generator=generator)
    worlds = dataclasses.replace(
        worlds_at(clips, rows, now, pool.light, pool.evidence, device), luck=luck.to(device)
    )
    predicted, _ = model.follow(worlds, data.points_around(rows).to(device))
    return worlds, predicted, distance(predicted.scene, truth, hidden) / model.distance
