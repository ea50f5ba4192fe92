"""Training samples: sampling order, and augmentation of position and light.

All randomness follows from seed and step, so that a resumed run equals an uninterrupted one.
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hiwm_core.errors import BagError
from hiwm_learning.datasets import ChunkWindows, Episodes, chunk_windows
from hiwm_learning.policies.augmentation import (
    largest_shift,
    metres_per_pixel,
    shifted_images,
    varied_light,
)
from hiwm_learning.policies.chunk_policy import Batch, PolicyConfig

# uniform: every sample once per epoch; the loss weights each action.
# weighted: samples are drawn with probability proportional to the weight of their first action; in
# the loss, all weights above 0 are equal. If weights differ much, a step then learns from all
# samples of its batch, not only from the few with large weights.
Sampling = Literal["uniform", "weighted"]

# Fraction of samples with a hidden history: the newest step replaces older ones, as in the first
# plan of an epoch. Without it the policy learns that an arm at rest stays at rest, because
# demonstrations end at rest, and does not move after a rollback.
HIDDEN_HISTORY = 0.5
HELD_OUT_SHARE = 0.08  # of the episodes
# Scales are fitted to this many samples: more would change them by less than their rounding, and a
# set on disk must not be in memory all at once.
MOST_STATES = 200_000
# First words of the seeds, so that no two random streams are equal.
_ORDER, _SPLIT = 1, 3


class Samples:
    """M samples of a training set for one backbone.

    Args:
        episodes: the training set.
        windows: the samples.
        config: the policy's inputs.
        sampling: see `Sampling`.
        seed: of the order.
        size: samples in a step.
    """

    def __init__(
        self, episodes: Episodes, windows: ChunkWindows, config: PolicyConfig, *,
        sampling: Sampling, seed: int, size: int,
    ) -> None:
        self._episodes = episodes
        self._windows = windows
        self._frames = [episodes.images[camera.name] for camera in config.cameras]
        self._seed, self._size = seed, size
        cameras = [episodes.embodiment.camera(camera.name) for camera in config.cameras]
        self._shifts = [largest_shift(camera, alone=len(cameras) == 1) for camera in cameras]
        self._proprio_shift = metres_per_pixel(episodes.embodiment.proprioception, cameras[0])
        self._action_shift = metres_per_pixel(episodes.embodiment.actions, cameras[0])
        self._mass: NDArray[np.float64] | None = None  # cumulative, including each sample
        if sampling == "weighted" and len(windows):
            self._mass = np.cumsum(windows.frame_weights[windows.newest], dtype=np.float64)
        self._order_of = -1
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """Return M."""
        return len(self._windows)

    @property
    def episodes(self) -> int:
        """Number of episodes among the samples."""
        return len(np.unique(self._windows.episodes))

    @property
    def steps_per_epoch(self) -> int:
        """Steps that draw M samples."""
        return max(1, len(self) // self._size)

    def states(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the newest proprioception [M, P] and the chunk [M, K, A] of every sample.

        Of more than `MOST_STATES` samples, as many, evenly spaced.
        """
        chosen = np.arange(len(self))
        if len(self) > MOST_STATES:
            chosen = np.linspace(0, len(self) - 1, MOST_STATES).astype(np.int64)
        newest = self._windows.newest[chosen]
        return (
            np.asarray(self._episodes.proprio[newest]),
            np.asarray(self._episodes.actions[self._windows.actions(chosen)]),
        )

    def drawn(self, step: int) -> NDArray[np.int64]:
        """Return the samples of a step, [size]; all samples if there are fewer."""
        if self._mass is not None:
            rng = np.random.default_rng((self._seed, _ORDER, step))
            places = rng.random(self._size) * self._mass[-1]
            found: NDArray[np.int64] = np.searchsorted(self._mass, places, side="right")
            return np.minimum(found, len(self) - 1)
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._order_of:
            rng = np.random.default_rng((self._seed, _ORDER, epoch))
            self._order, self._order_of = rng.permutation(len(self)), epoch
        return self._order[place * self._size : (place + 1) * self._size]

    def batch(
        self, chosen: NDArray[np.int64], device: torch.device,
        rng: np.random.Generator | None = None,
    ) -> Batch:
        """Return samples [N] as tensors, augmented if `rng` is given."""
        observed, acted = self._windows.observations(chosen), self._windows.actions(chosen)
        actions, light = np.asarray(self._episodes.actions[acted]), None
        weights = self._windows.weights(chosen)
        if self._mass is not None:
            weights = (weights > 0).astype(np.float32)
        if rng is None:
            images = [np.asarray(frames[observed]) for frames in self._frames]
            proprio = np.asarray(self._episodes.proprio[observed])
        else:
            hidden = rng.random((len(chosen), 1)) < HIDDEN_HISTORY
            observed = np.where(hidden, observed[:, -1:], observed)
            shifts = [
                rng.integers(-most, most + 1, (len(chosen), 2)) for most in self._shifts
            ]
            images = [
                shifted_images(frames, observed, shift)
                for frames, shift in zip(self._frames, shifts, strict=True)
            ]
            moved = shifts[0].astype(np.float32)
            proprio = self._episodes.proprio[observed] + (moved @ self._proprio_shift.T)[:, None]
            actions = actions + (moved @ self._action_shift.T)[:, None]
            light = torch.from_numpy(varied_light(len(chosen), rng)).to(device)
        return Batch(
            images=tuple(torch.from_numpy(image).to(device) for image in images),
            proprio=torch.from_numpy(proprio).to(device),
            actions=torch.from_numpy(actions).to(device),
            weights=torch.from_numpy(weights).to(device), light=light,
        )


def split_samples(
    episodes: Episodes, weights: NDArray[np.float32], config: PolicyConfig, *,
    sampling: Sampling, seed: int, size: int,
) -> tuple[Samples, Samples]:
    """Return training and held-out samples, split by episode; a single episode is all training.

    Args:
        episodes: the training set.
        weights: [N], of each frame's action.
        config: the policy's inputs.
        sampling: see `Sampling`.
        seed: of split and order.
        size: samples in a step.

    Raises:
        BagError: all weights are 0.
        ValueError: weights of another length, below 0 or not finite.
    """
    if len(weights) != len(episodes.actions) or not (weights >= 0).all():
        raise ValueError("weights must be one number per frame, 0 or above")
    windows = chunk_windows(episodes, weights, config.observation_steps, config.horizon)
    if not len(windows):
        raise BagError(
            "no action has a weight above 0", where="training set",
            remedy="give weights above 0 to some of its frames; it has "
            f"{episodes.summary()['frames_by_provenance']}",
        )
    numbers = np.unique(windows.episodes)
    count = round(len(numbers) * HELD_OUT_SHARE)
    if len(numbers) > 1:
        count = max(1, count)
    left_out = np.random.default_rng((seed, _SPLIT)).permutation(numbers)[:count]
    held = np.isin(windows.episodes, left_out)
    train, held_out = (
        Samples(episodes, windows.take(mask), config, sampling=sampling, seed=seed, size=size)
        for mask in (~held, held)
    )
    return train, held_out
