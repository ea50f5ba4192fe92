"""The frames, actions and weights of each training sample."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.branch_records import Label
from hiwm_core.provenance import Provenance
from hiwm_learning.datasets.episodes import Episodes


@dataclass(frozen=True, kw_only=True)
class ChunkWindows:
    """M training samples as indices into an `Episodes`."""

    observations: NDArray[np.int64]  # [M, S], newest last; padded with the episode's first frame
    actions: NDArray[np.int64]  # [M, K], first = after the newest frame; padded with the last
    weights: NDArray[np.float32]  # [M, K]
    episodes: NDArray[np.int64]  # [M]

    def __len__(self) -> int:
        """Return M."""
        return len(self.observations)

    def take(self, chosen: NDArray[np.bool_]) -> "ChunkWindows":
        """Return the samples that a mask [M] selects."""
        return ChunkWindows(
            observations=self.observations[chosen], actions=self.actions[chosen],
            weights=self.weights[chosen], episodes=self.episodes[chosen],
        )


def demonstration_weights(episodes: Episodes, first: int | None = None) -> NDArray[np.float32]:
    """Return the weight of each frame's action, [N]: 1 if demonstrated, else 0.

    The weight is 0 in demonstrations labelled a failure.

    Args:
        episodes: the training set.
        first: how many episodes with demonstrations count, from the first; all when None.
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
    """Return one sample for each frame whose action has a weight above 0.

    History and chunk stay within one episode. The first frame is repeated for the history before
    it, as in the policy node at the start of an epoch. The last known action is repeated after the
    end, which holds the arms still.

    Args:
        episodes: the training set.
        weights: [N], of each frame's action; 0 is used where the action is unknown.
        observation_steps: frames in a policy's input, S.
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
        starts = index[weights[start:end] > 0]
        past = starts[:, None] - np.arange(observation_steps - 1, -1, -1)
        ahead = starts[:, None] + np.arange(horizon)
        observations.append(np.maximum(past, start))
        # The newest known action at or before each step; the actions at `starts` are known.
        actions.append(answered[np.searchsorted(answered, ahead, side="right") - 1])
        owners.append(np.full(len(starts), number))
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
