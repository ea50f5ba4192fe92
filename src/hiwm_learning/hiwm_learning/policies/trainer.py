"""Training a diffusion policy: batches, optimiser, moving average, held-out numbers."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiwm_core.errors import BagError, CheckpointError
from hiwm_learning.checkpoints import CheckpointInfo, save_checkpoint
from hiwm_learning.datasets import ChunkWindows, Episodes, chunk_windows, provenance_weights
from hiwm_learning.model_card import write_card
from hiwm_learning.policies.augmentation import (
    SHIFT_PX,
    metres_per_pixel,
    shifted_images,
    varied_light,
)
from hiwm_learning.policies.diffusion_policy import KIND, DiffusionPolicy, DiffusionPolicyConfig
from hiwm_learning.training_loop import rate_factor

BATCH = 64  # observations in a step
NOISE_REPEATS = 8  # noise levels tried on each encoded observation
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-4
GRADIENT_NORM = 1.0
AVERAGE_DECAY = 0.999
# Share of samples whose history is hidden: the newest step stands in for older ones, as in the
# first plan of an epoch. Otherwise the policy learns that an arm at rest stays at rest, since
# demonstrations rest when they are done, and does nothing after a rollback.
HIDDEN_HISTORY = 0.5
HELD_OUT_SHARE = 0.08  # of the episodes
HELD_OUT_SAMPLES = 256
# First words of the seeds, so that no two uses of randomness share a stream.
_ORDER, _STEP, _SPLIT, _HELD_OUT = 1, 2, 3, 4


class DiffusionTrainer:
    """A `Trainable` diffusion policy.

    Args:
        episodes: the training set; its embodiment is the policy's.
        config: the network.
        weights: provenance to how much its actions count.
        seed: of initial weights, order, augmentation, noise and held-out split.
        output: the checkpoint to write; the card goes beside it.
        name: the policy's name.
        device: where to train.
        most_episodes: learn from the first so many episodes that count; from all when None.

    Raises:
        BagError: no action in the training set counts.
    """

    def __init__(
        self, episodes: Episodes, config: DiffusionPolicyConfig, *,
        weights: Mapping[str, float], seed: int, output: Path, name: str, device: str = "cpu",
        most_episodes: int | None = None,
    ) -> None:
        self._episodes = episodes
        self._config = config
        self._seed = seed
        self._output = output
        self._name = name
        self._device = torch.device(device)
        self._weights = dict(weights)
        windows = chunk_windows(
            episodes, provenance_weights(episodes, weights), config.observation_steps,
            config.horizon,
        )
        if not len(windows):
            raise BagError(
                f"no action of provenance {', '.join(weights)}", where="training set",
                remedy=f"it holds {episodes.summary()['frames_by_provenance']}",
            )
        if most_episodes is not None:
            used = np.unique(windows.episodes)[:most_episodes]
            windows = windows.take(np.isin(windows.episodes, used))
        self._train, self._held_out = _split(windows, seed)
        camera = episodes.embodiment.camera(config.camera)
        self._proprio_shift = metres_per_pixel(episodes.embodiment.proprioception, camera)
        self._action_shift = metres_per_pixel(episodes.embodiment.actions, camera)
        torch.manual_seed(seed)
        policy = DiffusionPolicy(config)
        proprio, actions = self._states(self._train)
        anchor = policy.anchor(torch.from_numpy(proprio[:, -1])).numpy()
        policy.fit_scales(proprio[:, -1], actions - anchor[:, None])
        self._policy = policy.to(self._device)
        self._average = copy.deepcopy(self._policy).requires_grad_(False)
        self._optimiser = torch.optim.AdamW(
            self._policy.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        self._order_of = -1
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)

    @property
    def policy(self) -> DiffusionPolicy:
        """The moving average of the weights, which is what gets used."""
        return self._average

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in which every sample is seen once."""
        return max(1, len(self._train) // BATCH)

    @property
    def samples(self) -> int:
        """Training samples."""
        return len(self._train)

    def train_step(self, step: int, progress: float) -> dict[str, float]:
        """Take one optimiser step; everything random in it follows from seed and step."""
        rng = np.random.default_rng((self._seed, _STEP, step))
        for group in self._optimiser.param_groups:
            group["lr"] = LEARNING_RATE * rate_factor(progress, step)
        batch = self._batch(self._train, self._chosen(step), rng)
        noise, level = self._noise(len(batch[0]), rng)
        self._policy.train()
        light = torch.from_numpy(varied_light(len(batch[0]), rng)).to(self._device)
        loss = self._policy.loss(*batch, noise, level, light)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._policy.parameters(), GRADIENT_NORM)
        self._optimiser.step()
        decay = min(AVERAGE_DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self._average.parameters()), list(self._policy.parameters()), 1.0 - decay
            )
        return {"loss": float(loss.detach())}

    def held_out(self) -> dict[str, float]:
        """Return loss and distance of sampled chunks on episodes left out of training.

        The distance is between the sampled and the recorded target of the last action that gets
        executed, in mm, averaged over arms. Several chunks may be right, so it does not go to 0.
        """
        if not len(self._held_out):
            return {}
        rng = np.random.default_rng((self._seed, _HELD_OUT))
        count = min(HELD_OUT_SAMPLES, len(self._held_out))
        chosen = rng.choice(len(self._held_out), count, replace=False)
        losses, distances = [], []
        generator = torch.Generator().manual_seed(self._seed)
        self._average.eval()
        for part in np.array_split(chosen, max(1, count // BATCH)):
            batch = self._batch(self._held_out, part, None)
            noise, level = self._noise(len(part), rng)
            with torch.no_grad():
                losses.append(float(self._average.loss(*batch, noise, level)))
            images, proprio, actions, _ = batch
            sampled = self._average.sample(images, proprio, generator)
            last = self._config.execute_horizon - 1
            distances.append(float((sampled - actions)[:, last].abs().mean()) * 1000.0)
        return {
            "held_out_loss": float(np.mean(losses)), "held_out_mm": float(np.mean(distances)),
        }

    def state(self) -> dict[str, Any]:
        """Return weights, moving average and optimiser state."""
        return {
            "policy": self._policy.state_dict(), "average": self._average.state_dict(),
            "optimiser": self._optimiser.state_dict(), "seed": self._seed,
            "data": self._episodes.fingerprint(), "config": self._config.to_dict(),
            "samples": len(self._train),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a state; raises CheckpointError where seed, data or network differ."""
        for what, mine in (
            ("seed", self._seed), ("data", self._episodes.fingerprint()),
            ("config", self._config.to_dict()), ("samples", len(self._train)),
        ):
            if state[what] != mine:
                raise CheckpointError(
                    f"the run to resume had {what} {state[what]!r}, this one has {mine!r}",
                    where="training state", remedy="give the same options, or leave out --resume",
                )
        self._policy.load_state_dict(state["policy"])
        self._average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])

    def export(self, step: int, elapsed_s: float, scores: dict[str, float]) -> None:
        """Write the moving average as a checkpoint, with its card."""
        embodiment, first = self._episodes.embodiment, self._episodes.infos[0]
        info = CheckpointInfo(
            kind=KIND, name=self._name, config=self._config.to_dict(),
            embodiment=embodiment.name, embodiment_hash=embodiment.hash,
            embodiment_text=embodiment.text, task=first.task, task_hash=first.task_hash,
            data={
                **self._episodes.summary(), "weights": self._weights,
                "episodes_trained": len(np.unique(self._train.episodes)),
                "episodes_held_out": len(np.unique(self._held_out.episodes)),
                "samples": len(self._train), "held_out_samples": len(self._held_out),
            },
            steps=step, seed=self._seed, minutes=round(elapsed_s / 60.0, 2), scores=scores,
        )
        content_hash = save_checkpoint(self._output, info, self._average.state_dict())
        parameters = sum(p.numel() for p in self._average.parameters())
        write_card(
            self._output, info, content_hash, title=f"{self._name}: diffusion policy",
            paragraphs=[
                "A small Diffusion Policy on one camera and proprioception. It sees "
                f"{self._config.observation_steps} steps and plans {self._config.horizon} actions, "
                f"of which {self._config.execute_horizon} are meant to run.",
            ],
            numbers={
                "Trained on": f"{len(np.unique(self._train.episodes))} episodes, "
                f"{len(self._train)} samples; {len(np.unique(self._held_out.episodes))} episodes "
                "held out",
                "Parameters": f"{parameters / 1e6:.2f} M",
                "Epochs": f"{step / self.steps_per_epoch:.1f}",
                "Held-out loss": f"{scores.get('held_out_loss', float('nan')):.4f}",
                "Held-out distance of the last executed target":
                    f"{scores.get('held_out_mm', float('nan')):.2f} mm",
            },
        )

    def _chosen(self, step: int) -> NDArray[np.int64]:
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._order_of:
            self._order = np.random.default_rng((self._seed, _ORDER, epoch)).permutation(
                len(self._train)
            )
            self._order_of = epoch
        return self._order[place * BATCH : (place + 1) * BATCH]

    def _states(self, windows: ChunkWindows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._episodes.proprio[windows.observations], self._episodes.actions[windows.actions]

    def _batch(
        self, windows: ChunkWindows, chosen: NDArray[np.int64], rng: np.random.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return images, proprioception, actions and weights, augmented where rng is given."""
        observed, acted = windows.observations[chosen], windows.actions[chosen]
        frames, actions = self._episodes.images[self._config.camera], self._episodes.actions[acted]
        if rng is None:
            images, proprio = frames[observed], self._episodes.proprio[observed]
        else:
            hidden = rng.random((len(chosen), 1)) < HIDDEN_HISTORY
            observed = np.where(hidden, observed[:, -1:], observed)
            shift = rng.integers(-SHIFT_PX, SHIFT_PX + 1, (len(chosen), 2))
            images = shifted_images(frames, observed, shift)
            moved = shift.astype(np.float32)
            proprio = self._episodes.proprio[observed] + (moved @ self._proprio_shift.T)[:, None]
            actions = actions + (moved @ self._action_shift.T)[:, None]
        arrays = (images, proprio, actions, windows.weights[chosen])
        first, second, third, fourth = (
            torch.from_numpy(array).to(self._device) for array in arrays
        )
        return first, second, third, fourth

    def _noise(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        rows = count * NOISE_REPEATS
        size = self._config.horizon * self._config.action_dim
        noise = torch.from_numpy(rng.standard_normal((rows, size), dtype=np.float32))
        level = torch.from_numpy(rng.integers(0, self._config.noise_levels, rows))
        return noise.to(self._device), level.to(self._device)


def _split(windows: ChunkWindows, seed: int) -> tuple[ChunkWindows, ChunkWindows]:
    """Return training and held-out samples, split by episode; a single episode is all training."""
    numbers = np.unique(windows.episodes)
    count = round(len(numbers) * HELD_OUT_SHARE)
    if len(numbers) > 1:
        count = max(1, count)
    left_out = np.random.default_rng((seed, _SPLIT)).permutation(numbers)[:count]
    held = np.isin(windows.episodes, left_out)
    return windows.take(~held), windows.take(held)
