"""Training sets: built from bags alone, kept as zarr, read as arrays.

    build_dataset       bags to a store             (also python -m hiwm_learning.datasets.build)
    load_episodes       a store as arrays in memory
    provenance_weights  how much each action counts
    chunk_windows       which frames and actions make one training sample
"""

from hiwm_learning.datasets.build import build_dataset
from hiwm_learning.datasets.episodes import EpisodeInfo, Episodes, load_episodes
from hiwm_learning.datasets.windows import (
    BASE_WEIGHTS,
    CORRECTION_WEIGHTS,
    ChunkWindows,
    chunk_windows,
    provenance_weights,
)

__all__ = [
    "BASE_WEIGHTS", "CORRECTION_WEIGHTS", "ChunkWindows", "EpisodeInfo", "Episodes",
    "build_dataset", "chunk_windows", "load_episodes", "provenance_weights",
]
