"""Sixth stage: the dynamics learns on the scenes of all frames."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.grip_scores import grip_scores
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.open_loop import open_loop, worlds_at
from hiwm_learning.world_models.latent.recorded_scenes import RecordedScenes
from hiwm_learning.world_models.latent.rollout_pool import MOVING, RolloutPool
from hiwm_learning.world_models.latent.scene_data import AT_ONCE, SceneData, some_of
from hiwm_learning.world_models.latent.scene_error import (
    contrast_error,
    left_alone,
    scene_error,
    seen_weight,
    stays_hidden,
)
from hiwm_learning.world_models.latent.shown_grips import closings_of
from hiwm_learning.world_models.latent.stage import Export, Pools, Stage

RATE = 1e-3
POOL = 48
OLDEST = 60
# A rollout has strayed if it is off by as much as this quantile of frames changes in some steps. An
# object in another place is still a sharp one; taught the true frame from there, the model learns
# to draw the mean of all places where the object might be.
STRAYED, STRAYED_STEPS = 0.95, 2
CONTRAST_WEIGHT = 6.0  # beside the scene: enough that fading does not pay (contrast_error)
JOINTS_WEIGHT = 1.0  # beside the scene as a share of the copied one's error: a grasp shows in them
POOL_SEED = 9_176_263  # keeps the pools of a step's parts apart


@dataclass(frozen=True, kw_only=True)
class DynamicsOptions:
    """What may be varied."""

    pool: int = POOL
    oldest: int = OLDEST  # age limit of a rollout, steps
    grown: bool = False  # whether rollouts may have any age from the first step on


@dataclass(frozen=True, kw_only=True)
class Copied:
    """How good the copied frame is."""

    error: float  # of the next frame, mean
    strayed: float  # a rollout that is off by more is renewed


@torch.no_grad()
def copied(
    model: LatentWorldModel, clips: Clips, recordings: RecordedScenes, seed: int,
    device: torch.device,
) -> Copied:
    """Return how good the copied frame is, on ticks drawn as the pool draws them."""
    rows = clips.rows(STRAYED_STEPS)
    moving = rows[recordings.moving[rows]]
    mixed = some_of(rows, seed)
    if len(moving):
        count = round(MOVING * len(mixed))
        mixed = torch.cat([some_of(moving, seed)[:count], mixed[count:]])
    found = []
    for ahead in (1, STRAYED_STEPS):
        errors = []
        for part in mixed.split(AT_ONCE):
            now, _ = recordings.at(part, device)
            truth, hidden = recordings.at(part + ahead, device)
            usual = model.usual(recordings.light[part].to(device))
            errors.append(scene_error(now, truth, seen_weight(truth, now, usual, hidden)))
        found.append(torch.cat(errors))
    error = max(float(found[0].mean()), 1e-6)
    return Copied(error=error, strayed=max(float(found[1].quantile(STRAYED)), error))


def dynamics_stage(
    model: LatentWorldModel, data: SceneData, held_out: SceneData,
    measure: MeasuredFromProprioception, *, seed: int, device: torch.device,
    options: DynamicsOptions, on_export: Export | None = None, team: Team = ALONE,
) -> Stage:
    """Return the stage that fits the dynamics in place.

    Args:
        model: on the device; its robot, hands, fillers, grips and slips are trained.
        data: to train on.
        held_out: to measure on.
        measure: computes the measured action from proprioception.
        seed: of everything random.
        device: of the model.
        options: of the pool.
        on_export: see `Stage`.
        team: the processes that train together; each part of a step has a pool of its own.
    """
    for known in (model.dynamics.grips, model.dynamics.slips):
        known.eval().requires_grad_(False)
    clips, recordings = data.clips, data.recordings
    copy = copied(model, clips, recordings, seed, device)
    error, strayed = team.agree([copy.error, copy.strayed])
    has_gripper = torch.zeros(data.shut.shape[1], dtype=torch.bool, device=device)
    has_gripper[list(data.grippers)] = True
    still = torch.stack([view.still for view in model.camera_views()]).bool()
    pools = [
        RolloutPool(
            clips, recordings, size=options.pool, oldest=options.oldest, strayed=strayed,
            hands=len(model.config.arms), seed=seed + POOL_SEED * part, grown=options.grown,
            closings=closings_of(clips, data.shut), closed=data.closed,
        )
        for part in team.mine
    ]

    def losses(
        pool: RolloutPool, generator: torch.Generator, step: int, progress: float
    ) -> dict[str, Tensor]:
        rows = pool.rows
        now = pool.pictures.to(device).float() / 255.0
        truth, hidden = recordings.at(rows + 1, device)
        worlds = worlds_at(clips, rows, now, pool.light, pool.evidence, device)
        shown = data.grips[rows].to(device)
        # What a recorded miss pushes may move: only hands that took something are told otherwise.
        took = ((shown != 0.0) & data.shut[rows].to(device) & has_gripper).any(1)
        empty = pool.empty_handed.to(device) & took
        told = shown.masked_fill(empty[:, None] & has_gripper, 0.0)
        truth, hidden = left_alone(now, truth, hidden, empty, still)
        truth, hidden = stays_hidden(now, truth, hidden, (told == 0.0).all(1))
        predicted, joints = model.follow(worlds, data.points_around(rows).to(device), told)
        usual = model.usual(worlds.light)
        each = scene_error(predicted.scene, truth, seen_weight(truth, now, usual, hidden))
        scene = each.mean() / error
        contrast = contrast_error(predicted.scene, truth, usual, hidden).mean() / error
        off = (joints - clips.proprioception[rows + 1].to(device)) / model.response.spread
        off = off.masked_fill(empty[:, None], 0.0)
        arms = functional.smooth_l1_loss(off, torch.zeros_like(off))
        pool.advance(
            predicted.scene.detach().float().cpu(), each.detach().float().cpu(), pool.doubt,
            predicted.evidence.cpu(), progress, generator,
        )
        return {
            "loss": scene + CONTRAST_WEIGHT * contrast + JOINTS_WEIGHT * arms, "scene": scene,
            "contrast": contrast, "joints": arms, "age": pool.age.float().mean(),
        }

    return Stage(
        model.dynamics, [partial(losses, pool) for pool in pools], rate=RATE, seed=seed,
        device=device,
        measure=lambda: {
            **open_loop(model, held_out.clips, held_out.recordings, measure, device),
            **grip_scores(model, held_out, measure, device),
        },
        on_export=on_export, remembered=Pools(pools), team=team,
    )
