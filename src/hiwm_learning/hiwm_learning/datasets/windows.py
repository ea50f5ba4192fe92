"""Which frames and actions make one training sample, and how much each counts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.branch_records import Label
from hiwm_core.provenance import Provenance
from hiwm_learning.datasets.episodes import Episodes


@dataclass(frozen=True, kw_only=True)
class ChunkWindows:
    """M training samples as indices into an `Episodes`."""

    observations: NDArray[np.int64]  # [M, S], newest last; an episode's first frame is repeated
    actions: NDArray[np.int64]  # [M, K], first = answer to the newest frame; last one is repeated
    weights: NDArray[np.float32]  # [M, K]
    episodes: NDArray[np.int64]  # [M]

    def __len__(self) -> int:
        """Return M."""
        return len(self.observations)

    def take(self, chosen: NDArray[np.bool_]) -> "ChunkWindows":
        """Return the samples where a mask [M] holds."""
        return ChunkWindows(
            observations=self.observations[chosen], actions=self.actions[chosen],
            weights=self.weights[chosen], episodes=self.episodes[chosen],
        )


def demonstration_weights(episodes: Episodes, first: int | None = None) -> NDArray[np.float32]:
    """Return how much each frame's action counts, [N]: 1 where it was demonstrated, else 0.

    Demonstrations labelled a failure do not count.

    Args:
        episodes: the training set.
        first: only so many episodes with demonstrations count, in their order; all when None.
    """
    names = np.array(episodes.provenance_names)
    counts = (names == Provenance.DEMONSTRATION)[episodes.provenance] & _known(episodes)
    owner = episodes.episode_of
    counts &= ~np.array([info.label == Label.FAILURE for info in episodes.infos], bool)[owner]
    if first is not None:
        counts &= np.isin(owner, np.unique(owner[counts])[:first])
    weights: NDArray[np.float32] = counts.astype(np.float32)
    return weights


def chunk_windows(
    episodes: Episodes, weights: NDArray[np.float32], observation_steps: int, horizon: int
) -> ChunkWindows:
    """Return one sample for each frame whose own action counts.

    History and chunk never cross into another episode. Before an episode's first frame that frame
    is repeated, as the policy node does after an epoch began; after its last known action that
    action is repeated, which holds the arms still.

    Args:
        episodes: the training set.
        weights: [N], how much each frame's action counts; those of unknown actions do not.
        observation_steps: frames a policy sees, S.
        horizon: actions in a chunk, K.
    """
    known = _known(episodes)
    weights = np.where(known, weights, np.float32(0.0)).astype(np.float32)
    observations, actions, owners = [], [], []
    for number, (start, end) in enumerate(zip(episodes.starts, episodes.ends, strict=True)):
        index = np.arange(start, end)
        answered = index[known[start:end]]
        if not len(answered):
            continue
        begins = index[weights[start:end] > 0]
        past = begins[:, None] - np.arange(observation_steps - 1, -1, -1)
        ahead = begins[:, None] + np.arange(horizon)
        observations.append(np.maximum(past, start))
        # The newest known action at or before each place; `begins` are known themselves.
        actions.append(answered[np.searchsorted(answered, ahead, side="right") - 1])
        owners.append(np.full(len(begins), number))
    if not owners:
        empty = np.zeros((0, 0), np.int64)
        return ChunkWindows(
            observations=empty, actions=empty, weights=empty.astype(np.float32),
            episodes=np.zeros(0, np.int64),
        )
    chosen = np.concatenate(actions)
    return ChunkWindows(
        observations=np.concatenate(observations), actions=chosen, weights=weights[chosen],
        episodes=np.concatenate(owners),
    )


def _known(episodes: Episodes) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(episodes.actions).all(axis=1))
