"""The parts of a data set that is being written: what all episodes share, and one episode."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_exchange.lerobot.statistics import Stats
from hiwm_exchange.lerobot.tables import is_video

Rows = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class SetSpec:
    """What all episodes of a data set have in common."""

    features: dict[str, dict[str, Any]]  # without those of `INDEX_FEATURES`
    fps: int
    robot_type: str
    sidecar: dict[str, dict[str, Any]] = field(default_factory=dict)  # columns beside the set

    @property
    def videos(self) -> dict[str, dict[str, Any]]:
        """The features that are videos."""
        return {name: feature for name, feature in self.features.items() if is_video(feature)}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Consecutive frames of an episode."""

    rows: Rows  # feature -> [T] or [T, N]
    images: dict[str, NDArray[np.uint8]]  # feature -> [T, H, W, 3] rgb


@dataclass(kw_only=True)
class WrittenEpisode:
    """One written episode, as its shard's journal has it."""

    episode_index: int
    length: int
    first_index: int
    task: str
    videos: dict[str, float]  # feature -> time of the first frame, s
    stats: dict[str, Stats]
