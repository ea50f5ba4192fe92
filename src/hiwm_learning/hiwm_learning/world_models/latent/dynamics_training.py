"""Last stage: dynamics and heads learn on the latents of the frozen coders."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.autoencoder import CELL
from hiwm_learning.world_models.latent.autoencoder_training import psnr
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.joint_training import measured_of, settled
from hiwm_learning.world_models.latent.model import LatentWorldModel, Worlds, floats
from hiwm_learning.world_models.latent.on_disk import TensorFile
from hiwm_learning.world_models.latent.robot_layer import RobotLayer
from hiwm_learning.world_models.latent.rollout_pool import LatentRecordings, RolloutPool
from hiwm_learning.world_models.latent.stage import Export, Pools, Stage
from hiwm_learning.world_models.latent.warping import warped
from hiwm_learning.world_models.outcome_losses import mean_known

RATE = 1.5e-3
POOL = 64
OLDEST = 60
WARP_PX = 1.0
# Cells that change, or are not where they should be, weigh more: most cells are still.
CHANGED, CHANGED_WEIGHT = 0.02, 6.0
# A rollout has strayed if it is off by as much as this quantile of frames changes in some steps. An
# object in another place is still a sharp one; taught the true frame from there, the model learns
# to draw the mean of all places where the object might be.
STRAYED, STRAYED_STEPS = 0.95, 2
UNIT_FRAMES, UNIT_STEPS = 800, 10
# What an arm hides is the encoder's guess. Taught as it stands, the dynamics forgets what it saw
# before the arm came, so it counts less.
HIDDEN_DISCOUNT = 0.85
WINDOW_NOISE = 0.08  # usual changes, in half of the windows
# Beside the error of the latents, as a share of that of the copied frame.
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
) -> LatentRecordings:
    """Return the latents of all frames, also of frames warped by up to `warp_px`.

    With a folder `on_disk` they stay there, mapped.
    """
    generator = torch.Generator().manual_seed(0)
    clean, bent, hidden = (_Rows(on_disk) for _ in range(3))
    for start in range(0, len(clips), ENCODED_AT_ONCE):
        rows = slice(start, start + ENCODED_AT_ONCE)
        frames = clips.frames[rows].to(device)
        joints = clips.proprioception[rows].to(device)
        robots = model.robots(joints)
        clean.append(model.encode(frames, joints, robots))
        hidden.append(hidden_by(robots))
        if warp_px:
            images = warped(floats(frames).flatten(0, 1), warp_px, generator)
            moved = (images.clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8)
            frames = moved.movedim(1, -1).unflatten(0, frames.shape[:2])
            bent.append(model.encode(frames, joints, robots))
    found = clean.tensor()
    return LatentRecordings(
        clean=found, warped=bent.tensor() if warp_px else found[:0], hidden=hidden.tensor()
    )


def hidden_by(robots: list[RobotLayer]) -> Tensor:
    """Return the share of each cell that the robot hides in each camera, [N, C, h, w] in 0..1."""
    return torch.stack([functional.avg_pool2d(robot.cover[:, 0], CELL) for robot in robots], 1)


class _Rows:
    """Rows [N, ...] of float16 that grow, in memory or in a folder on a disk."""

    def __init__(self, on_disk: Path | None) -> None:
        self._parts: list[Tensor] = []
        self._file = None if on_disk is None else TensorFile(on_disk)

    def append(self, rows: Tensor) -> None:
        (self._parts if self._file is None else self._file).append(rows.half().cpu())

    def tensor(self) -> Tensor:
        return torch.cat(self._parts) if self._file is None else self._file.tensor()


@torch.no_grad()
def set_units(model: LatentWorldModel, clips: Clips, seed: int, device: torch.device) -> None:
    """Set the unit of latents, and the distance between unrelated frames.

    A model that has them keeps them: in others, what its dynamics has learned would mean something
    else.
    """
    if not model.units.unset:
        return
    ahead = min(UNIT_STEPS, int((clips.last - clips.first).max()))
    rows = _some(clips, ahead, seed)
    now, later = (
        torch.cat([
            model.encode(clips.frames[part].to(device), clips.proprioception[part].to(device))
            for part in chosen.split(ENCODED_AT_ONCE)
        ])
        for chosen in (rows, rows + ahead)
    )
    model.units.fit(now, later)
    now = model.units.of(now)
    apart = ((now - now.flip(0)) ** 2).flatten(1).mean(1).mean().sqrt()
    model.distance.fill_(float(apart.clamp_min(0.05)))


def _some(clips: Clips, ahead: int, seed: int) -> Tensor:
    """Return some ticks that have `ahead` more of their run after them."""
    rows = clips.rows(ahead)
    generator = torch.Generator().manual_seed(seed)
    return rows[torch.randint(len(rows), (min(UNIT_FRAMES, len(rows)),), generator=generator)]


def _changed(latents: Tensor, rows: Tensor, ahead: int) -> Tensor:
    """Return how far each cell of the frames at `rows` changes, [N, C, h, w] squares."""
    return ((latents[rows + ahead].float() - latents[rows].float()) ** 2).mean(2)


def dynamics_stage(
    model: LatentWorldModel, clips: Clips, held_out: Clips, measure: MeasuredFromProprioception, *,
    seed: int, device: torch.device, options: DynamicsOptions, on_export: Export | None = None,
    team: Team = ALONE, on_disk: Path | None = None,
) -> Stage:
    """Return the stage that fits dynamics and heads in place.

    Args:
        model: on the device, its coders and its joint response trained.
        clips: to train on.
        held_out: to measure on.
        measure: computes the measured action from proprioception.
        seed: of everything random.
        device: of the model.
        options: pool and warps.
        on_export: see `Stage`.
        team: the processes that train together; each part of a step has a pool of its own.
        on_disk: folder where latents stay, mapped; None keeps them in memory.
    """
    model.coders.eval().requires_grad_(False)
    model.response.eval().requires_grad_(False)
    set_units(model, clips, seed, device)
    recordings = encoded(model, clips, device, options.warp_px, on_disk)
    clean = recordings.clean
    measured = encoded(model, held_out, device, on_disk=on_disk).clean
    model.known.fit(clean, measured, torch.Generator().manual_seed(seed))
    rows = _some(clips, STRAYED_STEPS, seed)
    step = _changed(clean, rows, 1)
    copied = float((_weight(step > CHANGED) * step).mean().clamp_min(1e-6))
    changes = _changed(clean, rows, STRAYED_STEPS).flatten(1).mean(1)
    strayed = max(float(changes.quantile(STRAYED)), copied)
    pools = [
        RolloutPool(
            clips, recordings, size=options.pool, context=model.config.dynamics.context,
            oldest=options.oldest, strayed=strayed, seed=seed + _POOL_SEED * part,
        )
        for part in team.mine
    ]
    with torch.no_grad():
        points = torch.cat([
            model.points(part.to(device)).cpu()
            for part in clips.proprioception.split(4096)
        ])
    outcome = _OutcomeRows(clips)

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
        hidden = recordings.hidden[rows + 1].float().to(device)
        seen_share = 1.0 - options.hidden_discount * hidden
        latents = (_weight(busy) * seen_share * error).mean() / copied
        off = (joints - clips.proprioception[rows + 1].to(device)) / model.response.spread
        arms = functional.smooth_l1_loss(off, torch.zeros_like(off))
        # What is behind the robot is not seen, so it makes no rollout doubtful.
        each = (seen_share * error.detach()).flatten(1).mean(1)
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
        device=device, measure=lambda: open_loop(model, held_out, measured, measure, device),
        on_export=on_export, remembered=Pools(pools), team=team,
    )


def _weight(busy: Tensor) -> Tensor:
    """Return the weight of each cell in the loss."""
    return 1.0 + CHANGED_WEIGHT * busy.float()


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
    model: LatentWorldModel, clips: Clips, latents: Tensor, measure: MeasuredFromProprioception,
    device: torch.device,
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
        predicted, after = model.follow(worlds)
        joints = settled(measure, after, worlds.joints).to(device)
        if ahead in horizons:
            frames = model.decode(predicted.latents, joints).cpu()
            scores[f"psnr_{ahead}"] = psnr(frames, clips.frames[rows + ahead])
        held = measured_of(measure, joints).to(device)
        command = torch.nan_to_num(clips.actions[rows + ahead].to(device))
        last_command = clips.actions[rows + ahead - 1].to(device)
        worlds = Worlds(
            latents=torch.cat([worlds.latents[:, 1:], predicted.latents[:, None]], dim=1),
            reference=worlds.reference, joints=joints, joints_before=worlds.joints,
            gap=command - held, last_gap=last_command - held,
            doubt=predicted.doubt,
        )
    return scores
