"""Last stage: dynamics and heads learn on the scenes of all frames."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.known_cells import cells_of
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.open_loop import open_loop, worlds_at
from hiwm_learning.world_models.latent.outcome_rows import OutcomeRows
from hiwm_learning.world_models.latent.recorded_scenes import RecordedScenes, scenes_of
from hiwm_learning.world_models.latent.robot_layer import CELL
from hiwm_learning.world_models.latent.rollout_pool import MOVING, RolloutPool
from hiwm_learning.world_models.latent.scene_error import distance, scene_error, seen_weight
from hiwm_learning.world_models.latent.stage import Export, Pools, Stage

RATE = 1.5e-3
POOL = 48
OLDEST = 60
# A rollout has strayed if it is off by as much as this quantile of frames changes in some steps. An
# object in another place is still a sharp one; taught the true frame from there, the model learns
# to draw the mean of all places where the object might be.
STRAYED, STRAYED_STEPS = 0.95, 2
UNIT_FRAMES, UNIT_STEPS = 600, 10
# Beside the error of the scene, as a share of that of the copied one.
JOINTS_WEIGHT, DOUBT_WEIGHT, OUTCOME_WEIGHT = 0.05, 0.05, 0.05
_POOL_SEED = 9_176_263  # keeps the pools of a step's parts apart


@dataclass(frozen=True, kw_only=True)
class DynamicsOptions:
    """What may be varied."""

    pool: int = POOL
    oldest: int = OLDEST  # age limit of a rollout, steps


class _Parts(nn.Module):
    """The parts of a model that this stage trains."""

    def __init__(self, model: LatentWorldModel) -> None:
        super().__init__()
        self.dynamics, self.outcome = model.dynamics, model.outcome


@dataclass(frozen=True, kw_only=True)
class Copied:
    """How good the copied frame is."""

    error: float  # of the next frame, mean
    strayed: float  # a rollout that is off by more is renewed


@torch.no_grad()
def set_units(
    model: LatentWorldModel, clips: Clips, recordings: RecordedScenes, seed: int,
    device: torch.device,
) -> None:
    """Set how much cells change where something moves, and how far apart unrelated scenes are.

    A model that knows it keeps it: in other units, what it has learned would mean something else.
    """
    if float(model.distance) != 1.0:
        return
    ahead = min(UNIT_STEPS, int((clips.last - clips.first).max()))
    rows = _some(clips.rows(ahead), seed)
    squares, apart = [], []
    for part in rows.split(64):
        now, hidden = recordings.at(part, device)
        later, hidden_later = recordings.at(part + ahead, device)
        seen = 1.0 - torch.maximum(hidden, hidden_later)
        squares.append(functional.avg_pool2d((later - now).square().mean(2) * seen, CELL))
        other, masked = recordings.at(part.roll(1), device)
        apart.append(distance(now, other, torch.maximum(hidden, masked)))
    square = torch.cat(squares).double()
    model.dynamics.change.fill_(float(square.square().sum() / square.sum().clamp_min(1e-12)))
    model.dynamics.change.clamp_(min=1e-6)
    model.distance.fill_(float(torch.cat(apart).square().mean().sqrt().clamp_min(1e-3)))


@torch.no_grad()
def copied(
    model: LatentWorldModel, clips: Clips, recordings: RecordedScenes, seed: int,
    device: torch.device,
) -> Copied:
    """Return how good the copied frame is, on ticks drawn as the pool draws them."""
    rows = clips.rows(STRAYED_STEPS)
    moving = rows[recordings.moving[rows]]
    mixed = _some(rows, seed)
    if len(moving):
        count = round(MOVING * len(mixed))
        mixed = torch.cat([_some(moving, seed)[:count], mixed[count:]])
    found = []
    for ahead in (1, STRAYED_STEPS):
        errors = []
        for part in mixed.split(64):
            now, _ = recordings.at(part, device)
            truth, hidden = recordings.at(part + ahead, device)
            usual = model.usual(recordings.light[part].to(device))
            errors.append(scene_error(now, truth, seen_weight(truth, now, usual, hidden)))
        found.append(torch.cat(errors))
    error = max(float(found[0].mean()), 1e-6)
    return Copied(error=error, strayed=max(float(found[1].quantile(STRAYED)), error))


def _some(rows: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return rows[torch.randint(len(rows), (min(UNIT_FRAMES, len(rows)),), generator=generator)]


@torch.no_grad()
def learn_known_cells(
    model: LatentWorldModel, recordings: RecordedScenes, held_out: RecordedScenes, seed: int,
    device: torch.device,
) -> None:
    """Learn which cells recorded scenes have."""
    found = []
    for one in (recordings, held_out):
        rows = _some(torch.arange(len(one.light)), seed)
        found.append(torch.cat([
            cells_of(model.difference(one.at(part, device)[0], one.light[part].to(device)))
            for part in rows.split(64)
        ]))
    model.known.fit(found[0], found[1], torch.Generator().manual_seed(seed))


def dynamics_stage(
    model: LatentWorldModel, clips: Clips, held_out: Clips, measure: MeasuredFromProprioception, *,
    seed: int, device: torch.device, options: DynamicsOptions, on_export: Export | None = None,
    team: Team = ALONE, on_disk: Path | None = None,
) -> Stage:
    """Return the stage that fits dynamics and heads in place.

    Args:
        model: on the device; all of it but dynamics and heads is trained.
        clips: to train on.
        held_out: to measure on.
        measure: computes the measured action from proprioception.
        seed: of everything random.
        device: of the model.
        options: of the pool.
        on_export: see `Stage`.
        team: the processes that train together; each part of a step has a pool of its own.
        on_disk: folder where scenes stay, mapped; None keeps them in memory.
    """
    model.views.eval().requires_grad_(False)
    model.response.eval().requires_grad_(False)
    recordings = scenes_of(model, clips, device, on_disk)
    measured = scenes_of(model, held_out, device, on_disk)
    set_units(model, clips, recordings, seed, device)
    learn_known_cells(model, recordings, measured, seed, device)
    team.share(model)  # what was found now is the same for all processes
    copy = copied(model, clips, recordings, seed, device)
    error, strayed = team.agree([copy.error, copy.strayed])
    pools = [
        RolloutPool(
            clips, recordings, size=options.pool, oldest=options.oldest, strayed=strayed,
            seed=seed + _POOL_SEED * part,
        )
        for part in team.mine
    ]
    with torch.no_grad():
        points = torch.cat([
            model.points(part.to(device)).cpu()
            for part in clips.proprioception.split(4096)
        ])
    outcome = OutcomeRows(clips)

    def losses(
        pool: RolloutPool, generator: torch.Generator, step: int, progress: float
    ) -> dict[str, Tensor]:
        rows = pool.rows
        now = pool.pictures.to(device).float() / 255.0
        truth, hidden = recordings.at(rows + 1, device)
        worlds = worlds_at(clips, rows, now, pool.light, pool.doubt, device)
        before = torch.maximum(rows - 1, clips.first[rows])
        seen = torch.stack([points[before], points[rows], points[rows + 1]], dim=1).to(device)
        predicted, joints = model.follow(worlds, seen)
        usual = model.usual(worlds.light)
        each = scene_error(predicted.scene, truth, seen_weight(truth, now, usual, hidden))
        scene = each.mean() / error
        off = (joints - clips.proprioception[rows + 1].to(device)) / model.response.spread
        arms = functional.smooth_l1_loss(off, torch.zeros_like(off))
        with torch.no_grad():
            apart = distance(predicted.scene, truth, hidden) / model.distance
        doubt = functional.smooth_l1_loss(predicted.doubt, apart, beta=0.1)
        judged = outcome.loss(model, recordings, clips, generator, device)
        pool.advance(
            predicted.scene.detach().float().cpu(), each.detach().float().cpu(),
            predicted.doubt.detach().float().cpu(), progress, generator,
        )
        loss = scene + JOINTS_WEIGHT * arms + DOUBT_WEIGHT * doubt + OUTCOME_WEIGHT * judged
        return {
            "loss": loss, "scene": scene, "joints": arms, "doubt": doubt, "outcome": judged,
            "age": pool.age.float().mean(),
        }

    return Stage(
        _Parts(model), [partial(losses, pool) for pool in pools], rate=RATE, seed=seed,
        device=device, measure=lambda: open_loop(model, held_out, measured, measure, device),
        on_export=on_export, remembered=Pools(pools), team=team,
    )
