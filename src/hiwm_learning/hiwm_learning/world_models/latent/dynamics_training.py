"""Last stage: dynamics and heads learn on the latents of the frozen coders."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.autoencoder import CELL
from hiwm_learning.world_models.latent.autoencoder_training import psnr
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.model import LatentWorldModel, Worlds, floats
from hiwm_learning.world_models.latent.on_disk import TensorFile
from hiwm_learning.world_models.latent.rollout_pool import LatentRecordings, RolloutPool
from hiwm_learning.world_models.latent.stage import Export, Pools, Stage
from hiwm_learning.world_models.latent.warping import warped
from hiwm_learning.world_models.outcome_losses import mean_known

RATE = 1.5e-3
POOL = 64
OLDEST = 60
WARP_PX = 3.0
# Cells that change, or are not where they should be, weigh more: most cells are still.
CHANGED, CHANGED_WEIGHT = 0.02, 6.0
# What an arm hides is the encoder's guess. Taught as it stands, the dynamics forgets what it saw
# before the arm came, so it counts less.
HIDDEN_DISCOUNT = 0.85
WINDOW_NOISE = 0.08  # of the latents' unit deviation, in half of the windows
JOINTS_WEIGHT, DOUBT_WEIGHT, OUTCOME_WEIGHT = 0.05, 0.05, 0.05
OUTCOME_ROWS = 32
# Of a quarter of the rows, progress lies above this quantile: the goal is rare.
NEAR_GOAL = 0.75
ENCODED_AT_ONCE = 128
HORIZONS = (1, 10, 25, 50)
MEASURED = 48
_POOL_SEED = 9_176_263  # keeps the pools of a step's parts apart


@dataclass(frozen=True, kw_only=True)
class DynamicsOptions:
    """What may be varied."""

    pool: int = POOL
    oldest: int = OLDEST  # age limit of a rollout, steps
    warp_px: float = WARP_PX
    hidden_discount: float = HIDDEN_DISCOUNT


class _Parts(nn.Module):
    """The parts of a model that this stage trains."""

    def __init__(self, model: LatentWorldModel) -> None:
        super().__init__()
        self.dynamics, self.outcome = model.dynamics, model.outcome


def fit_joints(model: LatentWorldModel, clips: Clips) -> None:
    """Set the scales of the joints, and fit the linear part of their response."""
    rows = clips.rows(1)
    rows = rows[~clips.actions[rows].isnan().any(1)]
    joints = clips.proprioception
    gap, last_gap = clips.gaps(rows)
    before = torch.maximum(rows - 1, clips.first[rows])
    model.response.fit(joints[rows], joints[before], gap, last_gap, joints[rows + 1])


@torch.no_grad()
def encoded(
    model: LatentWorldModel, clips: Clips, device: torch.device, warp_px: float = 0.0,
    on_disk: Path | None = None,
) -> Tensor:
    """Return latents [N, C, Z, h, w] float16 of all frames, warped by up to `warp_px`.

    With a folder `on_disk` they stay there, mapped.
    """
    generator = torch.Generator().manual_seed(0)
    found: list[Tensor] = []
    file = None if on_disk is None else TensorFile(on_disk)
    for start in range(0, len(clips), ENCODED_AT_ONCE):
        rows = slice(start, start + ENCODED_AT_ONCE)
        frames = clips.frames[rows].to(device)
        if warp_px:
            images = warped(floats(frames).flatten(0, 1), warp_px, generator)
            bent = (images.clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8)
            frames = bent.movedim(1, -1).unflatten(0, frames.shape[:2])
        latents = model.encode(frames, clips.proprioception[rows].to(device))
        if file is not None:
            file.append(latents.half().cpu())
        else:
            found.append(latents.half().cpu())
    return torch.cat(found) if file is None else file.tensor()


@torch.no_grad()
def hidden_by_robot(model: LatentWorldModel, joints: Tensor, device: torch.device) -> Tensor:
    """Return the share of each cell that the robot hides, [N, C, h, w] float16 in 0..1.

    Args:
        model: its coders trained.
        joints: [N, P] proprioception.
        device: of the model.
    """
    return torch.cat([
        torch.stack([
            functional.avg_pool2d(coder.robot(posture).cover[:, 0], CELL)
            for coder in model.camera_coders()
        ], dim=1).half().cpu()
        for posture in model.posture(joints.to(device)).split(ENCODED_AT_ONCE)
    ])


def set_background(model: LatentWorldModel, latents: Tensor, seed: int) -> None:
    """Set the usual latents of every cell, and the distance between unrelated frames."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(latents), (min(2000, len(latents)),), generator=generator)
    sample = latents[rows].float()
    middle = sample.median(dim=0).values
    scale = sample.shape[2] ** 0.5
    model.dynamics.background.copy_(functional.normalize(middle, dim=1) * scale)
    apart = ((sample - sample.flip(0)) ** 2).flatten(1).mean(1).mean().sqrt()
    model.distance.fill_(float(apart.clamp_min(0.05)))


def dynamics_stage(
    model: LatentWorldModel, clips: Clips, held_out: Clips, *, seed: int, device: torch.device,
    options: DynamicsOptions, on_export: Export | None = None, team: Team = ALONE,
    on_disk: Path | None = None,
) -> Stage:
    """Return the stage that fits dynamics and heads in place.

    Args:
        model: on the device, its coders and its joint response trained.
        clips: to train on.
        held_out: to measure on.
        seed: of everything random.
        device: of the model.
        options: pool and warps.
        on_export: see `Stage`.
        team: the processes that train together; each part of a step has a pool of its own.
        on_disk: folder where latents stay, mapped; None keeps them in memory.
    """
    model.coders.eval().requires_grad_(False)
    model.response.eval().requires_grad_(False)
    clean = encoded(model, clips, device, on_disk=on_disk)
    bent = (
        encoded(model, clips, device, options.warp_px, on_disk) if options.warp_px else clean[:0]
    )
    measured = encoded(model, held_out, device, on_disk=on_disk)
    set_background(model, clean, seed)
    model.known.fit(clean, measured, torch.Generator().manual_seed(seed))
    pools = [
        RolloutPool(
            clips, LatentRecordings(clean=clean, warped=bent), size=options.pool,
            context=model.config.dynamics.context, oldest=options.oldest,
            seed=seed + _POOL_SEED * part,
        )
        for part in team.mine
    ]
    with torch.no_grad():
        points = torch.cat([
            model.points(part.to(device)).cpu()
            for part in clips.proprioception.split(4096)
        ])
    outcome = _OutcomeRows(clips)
    visible = 1.0 - options.hidden_discount * hidden_by_robot(model, clips.proprioception, device)

    def losses(
        pool: RolloutPool, generator: torch.Generator, step: int, progress: float
    ) -> dict[str, Tensor]:
        rows = pool.rows
        windows = pool.windows.float()
        noisy = torch.rand(len(rows), generator=generator) < 0.5
        strength = torch.rand(len(rows), generator=generator) * WINDOW_NOISE * noisy
        noise = torch.randn(windows.shape, generator=generator)
        windows = windows + strength[:, None, None, None, None, None] * noise
        target = clean[rows + 1].float().to(device)
        now = clean[rows].float().to(device)
        worlds = worlds_at(
            clips, rows, windows.to(device), pool.reference.float().to(device), pool.doubt, device
        )
        before = torch.maximum(rows - 1, clips.first[rows])
        seen = torch.stack([points[before], points[rows], points[rows + 1]], dim=1).to(device)
        predicted, joints = model.follow(worlds, seen)
        error = ((predicted.latents - target) ** 2).mean(2)  # [B, C, h, w]
        wrong = ((worlds.latents[:, -1] - target) ** 2).mean(2)
        busy = (((target - now) ** 2).mean(2) > CHANGED) | (wrong > CHANGED)
        seen_share = visible[rows + 1].float().to(device)
        weight = 1.0 + CHANGED_WEIGHT * busy.float()
        latents = (weight * seen_share * error).mean()
        off = (joints - clips.proprioception[rows + 1].to(device)) / model.response.spread
        arms = functional.smooth_l1_loss(off, torch.zeros_like(off))
        each = error.detach().flatten(1).mean(1)
        doubt = functional.smooth_l1_loss(predicted.doubt, each.sqrt() / model.distance, beta=0.1)
        judged = outcome.loss(model, clean, clips, generator, device)
        pool.advance(
            predicted.latents.detach().float().cpu(), each.float().cpu(),
            predicted.doubt.detach().float().cpu(), progress, generator,
        )
        loss = latents + JOINTS_WEIGHT * arms + DOUBT_WEIGHT * doubt + OUTCOME_WEIGHT * judged
        return {
            "loss": loss, "latents": latents, "joints": arms, "doubt": doubt, "outcome": judged,
            "age": pool.age.float().mean(),
        }

    return Stage(
        _Parts(model), [partial(losses, pool) for pool in pools], rate=RATE, seed=seed,
        device=device, measure=lambda: open_loop(model, held_out, measured, device),
        on_export=on_export, remembered=Pools(pools), team=team,
    )


def worlds_at(
    clips: Clips, rows: Tensor, windows: Tensor, reference: Tensor, doubt: Tensor,
    device: torch.device,
) -> Worlds:
    """Return the worlds of recorded ticks [B], with latents that may be imagined."""
    gap, last_gap = clips.gaps(rows)
    before = torch.maximum(rows - 1, clips.first[rows])
    return Worlds(
        latents=windows, reference=reference,
        joints=clips.proprioception[rows].to(device),
        joints_before=clips.proprioception[before].to(device),
        gap=gap.to(device), last_gap=last_gap.to(device), doubt=doubt.to(device),
    )


class _OutcomeRows:
    """Rows with labels, and the loss of the heads on them."""

    def __init__(self, clips: Clips) -> None:
        progress, success = clips.progress_labels, clips.success_labels
        known = ~(progress.isnan() & success.isnan())
        self._rows = torch.nonzero(known)[:, 0]
        near = torch.nan_to_num(success) > 0.5
        labelled = progress[~progress.isnan()]
        if len(labelled):
            near = near | (torch.nan_to_num(progress) > float(labelled.quantile(NEAR_GOAL)))
        self._near = torch.nonzero(near & known)[:, 0]

    def loss(
        self, model: LatentWorldModel, latents: Tensor, clips: Clips, generator: torch.Generator,
        device: torch.device,
    ) -> Tensor:
        """Return the loss of some rows; 0 without labels."""
        if not len(self._rows):
            return torch.zeros((), device=device)
        half = OUTCOME_ROWS // 2
        rows = self._rows[torch.randint(len(self._rows), (half,), generator=generator)]
        near = self._near if len(self._near) else self._rows
        rows = torch.cat([rows, near[torch.randint(len(near), (half,), generator=generator)]])
        seen = latents[rows].float()
        seen = seen + WINDOW_NOISE * torch.randn(seen.shape, generator=generator)
        posture = model.posture(clips.proprioception[rows].to(device))
        progress, logit = model.outcome(seen.to(device), posture)
        wanted, solved = (
            labels[rows].to(device) for labels in (clips.progress_labels, clips.success_labels)
        )
        right = functional.binary_cross_entropy_with_logits(
            logit.float(), torch.nan_to_num(solved), reduction="none"
        )
        return mean_known((progress.float() - wanted).abs(), wanted) + mean_known(right, solved)


def open_loop(
    model: LatentWorldModel, clips: Clips, latents: Tensor, device: torch.device
) -> dict[str, float]:
    """Return PSNR at some horizons, imagined from spread starts with the recorded actions."""
    longest = int((clips.last - clips.first).max())
    horizons = [h for h in HORIZONS if h <= longest]
    rows = clips.rows(horizons[-1]) if horizons else clips.rows(1)[:0]
    if not len(rows):
        return {}
    rows = rows[torch.linspace(0, len(rows) - 1, min(MEASURED, len(rows))).long()]
    windows = latents[clips.recent(rows, model.config.dynamics.context)].float().to(device)
    worlds = worlds_at(
        clips, rows, windows, windows[:, -1], torch.zeros(len(rows)), device
    )
    scores = {}
    for ahead in range(1, horizons[-1] + 1):
        predicted, joints = model.follow(worlds)
        if ahead in horizons:
            frames = model.decode(predicted.latents, joints).cpu()
            scores[f"psnr_{ahead}"] = psnr(frames, clips.frames[rows + ahead])
        following = torch.cat([worlds.latents[:, 1:], predicted.latents[:, None]], dim=1)
        # The measured position is taken from the recording: here it matters for the commands only.
        gap, last_gap = clips.gaps(rows + ahead)
        worlds = Worlds(
            latents=following, reference=worlds.reference, joints=joints,
            joints_before=worlds.joints, gap=gap.to(device), last_gap=last_gap.to(device),
            doubt=predicted.doubt,
        )
    return scores
