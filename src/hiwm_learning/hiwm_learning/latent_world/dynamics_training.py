"""Second stage: dynamics, heads and doubt learn from the latents of the frozen autoencoder."""

from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.latent_world.autoencoder_training import psnr
from hiwm_learning.latent_world.clips import Clips
from hiwm_learning.latent_world.dynamics import Condition
from hiwm_learning.latent_world.heads import coarse
from hiwm_learning.latent_world.model import LatentWorldModel
from hiwm_learning.latent_world.objectives import normal_like, objective_named, over
from hiwm_learning.latent_world.stage import Export, Stage

RATE = 2e-4
HEAD_RATE = 1e-3  # heads are small, and nothing is drawn at random in what they learn
# Most noise on past latents, of their unit deviation: prev_frame_noise_scale of the Interactive
# World Simulator. The network is told how much there is, and sees none when it imagines.
CONTEXT_NOISE = 0.1
UNROLL_FROM = 0.5  # share of the training after which steps are unrolled
OUTCOME_WEIGHT = 0.1
HORIZONS = (1, 10)
MEASURED = 16  # held-out rollouts
ENCODED_AT_ONCE = 64


class DynamicsLosses(nn.Module):
    """The objective over a few unrolled steps, and the losses of the heads.

    Between unrolled steps no gradient passes (the pushforward of arXiv 2202.03376): the network
    learns to go on from its own errors, at the memory of its steps one by one.
    """

    def __init__(self, model: LatentWorldModel) -> None:
        super().__init__()
        self.dynamics, self.outcome, self.doubt = model.dynamics, model.outcome, model.doubt
        self._model = [model]  # in a list: its autoencoder is not trained here
        self._objective = objective_named(model.config.objective)

    def forward(
        self, window: Tensor, actions: Tensor, future: Tensor, proprioception: Tensor,
        progress_labels: Tensor, success_labels: Tensor, generator: torch.Generator,
        progress: float,
    ) -> dict[str, Tensor]:
        """Return named losses, each [B]; "loss" is their weighted sum.

        Args:
            window: [B, T, K, h, w] past latents.
            actions: [B, T + U - 1, A] scaled; the last U lead from step to step.
            future: [B, U, K, h, w] the latents that follow.
            proprioception: [B, U, P] with them, in standard deviations.
            progress_labels: [B, U], NaN where there is none.
            success_labels: [B, U] 0 or 1, NaN where there is none.
            generator: of every draw.
            progress: share of the training done.
        """
        model, length = self._model[0], window.shape[1]
        level = torch.rand(len(window), generator=generator, device=generator.device)
        step_losses: list[Tensor] = []
        present = window
        for k in range(future.shape[1]):
            noise = normal_like(present, generator) * over(CONTEXT_NOISE * level, present)
            condition = Condition(
                latents=present + noise, actions=actions[:, k : k + length], noise=level
            )
            target = future[:, k]
            step_losses.append(self._objective.loss(
                model.bound(condition), target, present[:, -1], generator, progress
            ))
            if k + 1 < future.shape[1]:
                with torch.no_grad():
                    following = model.following(
                        condition, partial(normal_like, target, generator)
                    )
                present = torch.cat([present[:, 1:], following[:, None]], dim=1)
        dynamics = torch.stack(step_losses).mean(0)
        outcome = self._outcome_loss(
            window, actions, future, proprioception, progress_labels[:, 0], success_labels[:, 0]
        )
        before, now, act = window[:, -2], window[:, -1], actions[:, length - 1]
        wanted = coarse(future[:, 0] - now)
        doubt = ((self.doubt(before, now, act) - wanted) ** 2).mean((0, 2, 3, 4))
        total = dynamics + OUTCOME_WEIGHT * outcome + doubt
        return {"loss": total, "dynamics": dynamics, "outcome": outcome, "doubt": doubt}

    def _outcome_loss(
        self, window: Tensor, actions: Tensor, future: Tensor, proprioception: Tensor,
        progress_label: Tensor, success_label: Tensor,
    ) -> Tensor:
        read, progress, logit = self.outcome(
            window[:, -1], future[:, 0], actions[:, window.shape[1] - 1]
        )
        joints: Tensor = (read - proprioception[:, 0]).abs().mean(1)
        solved = functional.binary_cross_entropy_with_logits(
            logit, torch.nan_to_num(success_label).to(logit.dtype), reduction="none"
        )
        return (
            joints + _known((progress - torch.nan_to_num(progress_label)).abs(), progress_label)
            + 0.2 * _known(solved, success_label)
        )


def _known(losses: Tensor, labels: Tensor) -> Tensor:
    """Return losses [B], 0 where there is no label."""
    return torch.where(labels.isnan(), torch.zeros_like(losses), losses)


@torch.no_grad()
def encoded(model: LatentWorldModel, clips: Clips, device: torch.device) -> Tensor:
    """Return the latents of every tick, [N, K, h, w] float16 on the CPU."""
    parts = [
        model.encode(frames.to(device)).half().cpu()
        for frames in clips.frames.split(ENCODED_AT_ONCE)
    ]
    return torch.cat(parts)


def fit_scales(model: LatentWorldModel, clips: Clips) -> None:
    """Set mean and spread of proprioception from what is trained on."""
    model.proprio_mean.copy_(clips.proprioception.mean(0))
    model.proprio_spread.copy_(clips.proprioception.std(0).clamp_min(1e-4))


class Rollouts:
    """Held-out rollouts of recorded actions.

    Args:
        model: on `device`.
        clips: held out.
        latents: of every tick, [N, K, h, w].
        device: of the model.
        count: rollouts.
        seed: of the noise.
    """

    def __init__(
        self, model: LatentWorldModel, clips: Clips, latents: Tensor, device: torch.device,
        count: int = MEASURED, seed: int = 0,
    ) -> None:
        self._model, self._clips, self._latents = model, clips, latents
        self._device, self._seed = device, seed
        rows = clips.rows(max(HORIZONS))
        spaced = torch.linspace(0, len(rows) - 1, min(count, len(rows))).long()
        self._rows = rows[spaced] if len(rows) else rows

    def scores(self) -> dict[str, float]:
        """Return PSNR after each horizon, dB, of the model and of a frame that stays."""
        if not len(self._rows):
            return {}
        found, _ = self._roll()
        first = self._clips.frames[self._rows]
        scores: dict[str, float] = {}
        for horizon in HORIZONS:
            wanted = self._clips.frames[self._rows + horizon]
            scores[f"psnr_h{horizon}"] = psnr(self._model.decode(found[horizon]).cpu(), wanted)
            scores[f"still_h{horizon}"] = psnr(first, wanted)
        return scores

    def doubt_scale(self) -> float:
        """Return the error of rollouts, a share of unrelated frames' distance, over their doubt."""
        if len(self._rows) < 2:
            return 1.0
        found, summed = self._roll()
        horizon = max(HORIZONS)
        wanted = self._latents[self._rows + horizon].to(self._device).float()
        error = _distance(coarse(found[horizon]), coarse(wanted))
        unrelated = _distance(coarse(wanted), coarse(wanted.roll(1, 0))).median().clamp_min(1e-6)
        return float(error.median() / unrelated / summed.median().clamp_min(1e-9))

    @torch.no_grad()
    def _roll(self) -> tuple[dict[int, Tensor], Tensor]:
        """Return latents [B, K, h, w] at each horizon, and the members' spread summed, [B]."""
        model, device = self._model, self._device
        length = model.config.dynamics.context
        generator = torch.Generator(device).manual_seed(self._seed)
        rows, actions = self._clips.window(self._rows, length)
        window = self._latents[rows].to(device).float()
        scaled = model.actions.scaled(actions.to(device))
        none = torch.zeros(len(rows), device=device)
        summed, found = none.clone(), {}
        for k in range(max(HORIZONS)):
            summed += model.doubt.spread(window[:, -2], window[:, -1], scaled[:, -1])
            following = model.following(
                Condition(latents=window, actions=scaled, noise=none),
                partial(normal_like, window[:, -1], generator),
            )
            window = torch.cat([window[:, 1:], following[:, None]], dim=1)
            act = model.actions.scaled(self._clips.actions[self._rows + k + 1].to(device))
            scaled = torch.cat([scaled[:, 1:], act[:, None]], dim=1)
            if k + 1 in HORIZONS:
                found[k + 1] = following
        return found, summed


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) ** 2).flatten(1).mean(1).sqrt()


def dynamics_stage(
    accelerator: Accelerator, model: LatentWorldModel, clips: Clips, held_out: Clips, *,
    batch: int, unroll: int, seed: int, on_export: Export | None = None,
) -> tuple[Stage, Rollouts]:
    """Return the stage that fits dynamics and heads in place, and its held-out rollouts.

    Args:
        accelerator: see `Stage`.
        model: on the accelerator's device, its autoencoder fitted.
        clips: to train on.
        held_out: to measure on.
        batch: windows a step, all processes together; divided by the steps unrolled.
        unroll: steps unrolled in the second half of the training.
        seed: of everything drawn.
        on_export: see `Stage`.
    """
    device = accelerator.device
    latents = encoded(model, clips, device)
    rollouts = Rollouts(model, held_out, encoded(model, held_out, device), device)
    length = model.config.dynamics.context
    spread, mean = model.proprio_spread.cpu(), model.proprio_mean.cpu()
    joints = (clips.proprioception - mean) / spread
    pools = {ahead: clips.rows(ahead) for ahead in (1, unroll)}

    def ahead_at(progress: float) -> int:
        return unroll if progress >= UNROLL_FROM else 1

    def draw(generator: torch.Generator, progress: float) -> Tensor:
        pool = pools[ahead_at(progress)]
        count = max(accelerator.num_processes, batch // ahead_at(progress))
        return pool[torch.randint(len(pool), (count,), generator=generator)]

    def windows(
        rows: Tensor, generator: torch.Generator, step: int, progress: float
    ) -> tuple[object, ...]:
        ahead = ahead_at(progress)
        past, acted = clips.window(rows, length)
        following = rows[:, None] + torch.arange(1, ahead + 1)
        actions = torch.cat([acted, clips.actions[following[:, :-1]]], dim=1)
        return (
            latents[past].to(device).float(), model.actions.scaled(actions.to(device)),
            latents[following].to(device).float(), joints[following].to(device),
            clips.progress_labels[following].to(device),
            clips.success_labels[following].to(device), generator, progress,
        )

    stage = Stage(
        accelerator, DynamicsLosses(model), batch=windows, draw=draw,
        rates=[(model.dynamics, RATE), (model.outcome, HEAD_RATE), (model.doubt, HEAD_RATE)],
        seed=seed, measure=rollouts.scores, on_export=on_export,
    )
    return stage, rollouts
