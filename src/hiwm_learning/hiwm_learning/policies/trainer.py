"""Trains a policy of any backbone: optimiser, moving average, held-out scores, checkpoints."""

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hiwm_core.control_period import alike
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_learning.checkpoints import (
    Checkpoint,
    CheckpointInfo,
    halved,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from hiwm_learning.datasets import Episodes
from hiwm_learning.model_card import write_card
from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.policies.backbones import backbone_of, config_from_checkpoint
from hiwm_learning.policies.chunk_policy import ChunkPolicy, PolicyConfig
from hiwm_learning.policies.samples import Sampling, split_samples
from hiwm_learning.training_loop import rate_factor

BATCH = 64  # observations in a step
WEIGHT_DECAY = 1e-4
GRADIENT_NORM = 1.0
AVERAGE_DECAY = 0.999
HELD_OUT_SAMPLES = 256
# Held-out error of action entries, by their unit: name of the score, factor, format in the card.
_ERRORS = {
    "m": ("held_out_mm", 1000.0, "{:.2f} mm"), "rad": ("held_out_rad", 1.0, "{:.4f} rad"),
    "1": ("held_out_ratio", 1.0, "{:.4f} (ratio)"),
}
# First words of the seeds; different from those in `samples`.
_STEP, _HELD_OUT = 2, 4


class PolicyTrainer:
    """A `Trainable` policy.

    Args:
        episodes: the training set; its embodiment is the policy's.
        config: the network, and with it the backbone.
        weights: of each frame's action, [N], not below 0.
        data: origin of the weights, JSON values only; stored in checkpoint and card.
        seed: of initial weights, order, augmentation, noise and held-out split.
        output: the checkpoint to write; the card is written next to it.
        name: the policy's name.
        device: where to train.
        sampling: how the weights are applied; see `Sampling`.
        start_from: checkpoint with the initial weights and scales; random weights when None.
        team: the processes that train together. A step's batch has `BATCH` samples for each part.

    Raises:
        BagError: all weights are 0.
        ConfigError: fewer samples than parts.
        CheckpointError: `start_from` is of another kind, network or embodiment.
    """

    def __init__(
        self, episodes: Episodes, config: PolicyConfig, *, weights: NDArray[np.float32],
        data: Mapping[str, Any], seed: int, output: Path, name: str, device: str = "cpu",
        sampling: Sampling = "uniform", start_from: Path | None = None, team: Team = ALONE,
    ) -> None:
        self._episodes = episodes
        self._team = team
        self._config = config
        self._seed = seed
        self._output = output
        self._name = name
        self._device = torch.device(device)
        self._train, self._held_out = split_samples(
            episodes, weights, config, sampling=sampling, seed=seed, size=BATCH * team.parts
        )
        if len(self._train) < team.parts:
            raise ConfigError(
                f"{len(self._train)} samples for {team.parts} parts", where="training set",
                remedy="use fewer processes or parts",
            )
        torch.manual_seed(seed)
        policy = backbone_of(config).build(config)
        start = None
        if start_from is None:
            policy.fit_scales(*self._train.states())
        else:
            start = _fitting_checkpoint(start_from, config, episodes)
            load_weights(policy, start)
            policy.widen_bounds(*self._train.states())
        # Must be equal in a run and the one that it resumes.
        self._identity = {
            "seed": seed, "data": episodes.fingerprint(), "config": config.to_dict(),
            "weights": hashlib.sha256(np.ascontiguousarray(weights).tobytes()).hexdigest(),
            "sampling": sampling, "start": start.hash if start else "", "parts": team.parts,
        }
        self._data = {
            **episodes.summary(), "weights": dict(data), "sampling": sampling,
            "started_from": start.label if start else "",
            "episodes_trained": self._train.episodes, "samples": len(self._train),
            "episodes_held_out": self._held_out.episodes, "held_out_samples": len(self._held_out),
        }
        self._policy = policy.to(self._device)
        team.share(self._policy)
        self._average = copy.deepcopy(self._policy).requires_grad_(False).eval()
        self._optimiser = torch.optim.AdamW(
            self._policy.parameters(), lr=config.learning_rate, weight_decay=WEIGHT_DECAY
        )

    @property
    def policy(self) -> ChunkPolicy:
        """The policy with the moving average of the weights; checkpoints contain it."""
        return self._average

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps per pass over the samples."""
        return self._train.steps_per_epoch

    @property
    def samples(self) -> int:
        """Number of training samples."""
        return len(self._train)

    def train_step(self, step: int, progress: float) -> dict[str, float]:
        """Take one optimiser step; its randomness follows from seed, step and part."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._config.learning_rate * rate_factor(progress, step)
        self._policy.train()
        self._optimiser.zero_grad(set_to_none=True)
        drawn, parts = self._train.drawn(step), self._team.parts
        for part in self._team.mine:
            rng = np.random.default_rng((self._seed, _STEP, step, *([part] if part else ())))
            torch.manual_seed(int(rng.integers(2**63)))  # dropout
            batch = self._train.batch(drawn[part::parts], self._device, rng)
            losses = self._policy.loss(batch, rng)
            (losses["loss"] / parts).backward()
        self._team.sum_gradients(self._policy.parameters())
        torch.nn.utils.clip_grad_norm_(self._policy.parameters(), GRADIENT_NORM)
        self._optimiser.step()
        decay = min(AVERAGE_DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self._average.parameters()), list(self._policy.parameters()), 1.0 - decay
            )
        return {name: float(value.detach()) for name, value in losses.items()}

    def held_out(self) -> dict[str, float]:
        """Return the loss, and the distance of sampled chunks, on held-out episodes.

        Samples are drawn uniformly, however training draws them. The distance is between sampled
        and recorded target of the last executed action, averaged over the entries of each unit:
        held_out_mm, held_out_rad and held_out_ratio, for the units that the embodiment has. It
        does not reach 0, since several chunks may be right.
        """
        if not len(self._held_out):
            return {}
        rng = np.random.default_rng((self._seed, _HELD_OUT))
        count = min(HELD_OUT_SAMPLES, len(self._held_out))
        chosen = rng.choice(len(self._held_out), count, replace=False)
        losses, distances = [], []
        generator = torch.Generator().manual_seed(self._seed)
        last = self._config.execute_horizon - 1
        for part in np.array_split(chosen, max(1, count // BATCH)):
            batch = self._held_out.batch(part, self._device)
            with torch.no_grad():
                losses.append(float(self._average.loss(batch, rng)["loss"]))
            sampled = self._average.sample(batch.images, batch.proprio, generator)
            distances.append((sampled - batch.actions)[:, last].abs().mean(dim=0).cpu().numpy())
        scores = {"held_out_loss": float(np.mean(losses))}
        distance = np.mean(distances, axis=0)
        units = np.array([entry.unit for entry in self._episodes.embodiment.actions])
        for unit, (name, factor, _) in _ERRORS.items():
            if (units == unit).any():
                scores[name] = float(distance[units == unit].mean()) * factor
        return scores

    def state(self) -> dict[str, Any]:
        """Return weights, moving average and optimiser state."""
        return {
            "policy": self._policy.state_dict(), "average": self._average.state_dict(),
            "optimiser": self._optimiser.state_dict(), **self._identity,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a state; raises CheckpointError if it is of another run."""
        for what, mine in self._identity.items():
            if state.get(what) != mine:
                raise CheckpointError(
                    f"the run to resume had {what} {state.get(what)!r}, this one has {mine!r}",
                    where="training state", remedy="use the same options, or leave out --resume",
                )
        self._policy.load_state_dict(state["policy"])
        self._average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._team.share(self._policy)
        self._team.share(self._average)

    def export(self, step: int, elapsed_s: float, scores: dict[str, float]) -> None:
        """Write the checkpoint of the moving average, and its card."""
        embodiment, first = self._episodes.embodiment, self._episodes.infos[0]
        info = CheckpointInfo(
            kind=self._config.kind, name=self._name, config=self._config.to_dict(),
            embodiment=embodiment.name, embodiment_hash=embodiment.hash,
            embodiment_text=embodiment.text, task=first.task, task_hash=first.task_hash,
            data=self._data, steps=step, seed=self._seed, minutes=round(elapsed_s / 60.0, 2),
            scores=scores, period_s=self._episodes.period_s,
        )
        content_hash = save_checkpoint(self._output, info, halved(self._average.state_dict()))
        title = backbone_of(self._config).title
        parameters = sum(p.numel() for p in self._average.parameters())
        write_card(
            self._output, info, content_hash, title=f"{self._name}: {title}",
            paragraphs=[
                f"{title.capitalize()} on {_cameras(self._config)} and proprioception. It sees "
                f"{self._config.observation_steps} steps and plans {self._config.horizon} actions, "
                f"of which {self._config.execute_horizon} are executed.",
            ],
            numbers={
                "Trained on": f"{self._train.episodes} episodes, {len(self._train)} samples; "
                f"{self._held_out.episodes} episodes held out",
                "Started from": self._data["started_from"] or "random weights",
                "Parameters": f"{parameters / 1e6:.2f} M",
                "Epochs": f"{step / self.steps_per_epoch:.1f}",
                "Held-out loss": f"{scores.get('held_out_loss', float('nan')):.4f}",
                "Held-out distance of the last executed target": ", ".join(
                    text.format(scores.get(name, float("nan")))
                    for unit, (name, _, text) in _ERRORS.items()
                    if unit in {entry.unit for entry in embodiment.actions}
                ),
            },
        )


def _cameras(config: PolicyConfig) -> str:
    count = len(config.cameras)
    return "one camera" if count == 1 else f"{count} cameras"


def _fitting_checkpoint(path: Path, config: PolicyConfig, episodes: Episodes) -> Checkpoint:
    checkpoint = load_checkpoint(
        path, kind=config.kind, embodiment_hash=episodes.embodiment.hash
    )
    trained_s = checkpoint.info.control_period_s
    if not alike(trained_s, episodes.period_s):
        raise CheckpointError(
            f"the checkpoint has a control period of {trained_s:.3g} s, the training set "
            f"{episodes.period_s:.3g} s", where=str(path),
            remedy=f"build the training set with --resample-to {1.0 / trained_s:.3g}, or train "
            "without --start-from",
        )
    differences = config_from_checkpoint(checkpoint).differences(config)
    if differences:
        raise CheckpointError(
            f"the checkpoint's network has {', '.join(differences)}", where=str(path),
            remedy="start from one of the same size, or train without --start-from",
        )
    return checkpoint
