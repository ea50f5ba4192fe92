"""The frames, actions and weights of each training sample."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hiwm_core.branch_records import Label
from hiwm_core.provenance import Provenance
from hiwm_learning.datasets.episodes import Episodes

_BLOCK = 65536  # frames


@dataclass(frozen=True, kw_only=True)
class ChunkWindows:
    """M training samples of an `Episodes` of N frames; indices are computed when asked for.

    History and chunk stay within one episode. The first frame is repeated for the history before
    it, as in the policy node at the start of an epoch. The last known action is repeated after the
    end, which holds the arms still.
    """

    newest: NDArray[np.int64]  # [M] newest frame of each sample, whose action is the first
    ends: NDArray[np.int64]  # [E] one past the last frame of each episode
    # [N] newest frame with a known action, up to each frame of its episode
    answered: NDArray[np.int32]
    frame_weights: NDArray[np.float32]  # [N] of each frame's action
    observation_steps: int  # frames in a policy's input, S
    horizon: int  # actions in a chunk, K

    def __len__(self) -> int:
        """Return M."""
        return len(self.newest)

    @property
    def episodes(self) -> NDArray[np.int64]:
        """Episode of each sample, [M]."""
        return np.searchsorted(self.ends, self.newest, side="right")

    def observations(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the frames [B, S] of samples [B], newest last."""
        newest = self.newest[chosen]
        starts = np.concatenate(([0], self.ends))[self._owner(newest)]
        past = newest[:, None] - np.arange(self.observation_steps - 1, -1, -1)
        frames: NDArray[np.int64] = np.maximum(past, starts[:, None])
        return frames

    def actions(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the frames [B, K] whose actions are the chunks of samples [B]."""
        newest = self.newest[chosen]
        last = self.ends[self._owner(newest)] - 1
        ahead = np.minimum(newest[:, None] + np.arange(self.horizon), last[:, None])
        frames: NDArray[np.int64] = self.answered[ahead].astype(np.int64)
        return frames

    def weights(self, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the weights [B, K] of the actions of samples [B]."""
        return self.frame_weights[self.actions(chosen)]

    def take(self, chosen: NDArray[np.bool_]) -> "ChunkWindows":
        """Return the samples that a mask [M] selects."""
        return replace(self, newest=self.newest[chosen])

    def _owner(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self.ends, frames, side="right")


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

    Args:
        episodes: the training set.
        weights: [N], of each frame's action; 0 is used where the action is unknown.
        observation_steps: frames in a policy's input, S.
        horizon: actions in a chunk, K.
    """
    known = _known(episodes)
    frame_weights = np.where(known, weights, np.float32(0.0)).astype(np.float32)
    # Before the first known action of an episode there is no sample that could ask.
    numbers = np.where(known, np.arange(len(known), dtype=np.int32), np.int32(0))
    return ChunkWindows(
        newest=np.flatnonzero(frame_weights > 0), ends=episodes.ends,
        answered=np.maximum.accumulate(numbers), frame_weights=frame_weights,
        observation_steps=observation_steps, horizon=horizon,
    )


def _known(episodes: Episodes) -> NDArray[np.bool_]:
    # By blocks: a set on disk must not be in memory all at once.
    blocks = range(0, len(episodes.actions), _BLOCK)
    return np.concatenate([
        np.isfinite(episodes.actions[start : start + _BLOCK]).all(axis=1) for start in blocks
    ] or [np.zeros(0, np.bool_)])
