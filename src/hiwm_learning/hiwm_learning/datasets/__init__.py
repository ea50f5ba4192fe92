"""Training sets: built from bags alone, kept as zarr, read as arrays.

    build.build_dataset bags to a store; not imported here, since training reads no bags
    load_episodes       a store as arrays in memory
    provenance_weights  how much each action counts
    chunk_windows       which frames and actions make one training sample
"""

from hiwm_learning.datasets.episodes import EpisodeInfo, Episodes, load_episodes
from hiwm_learning.datasets.windows import (
    BASE_WEIGHTS,
    CORRECTION_WEIGHTS,
    ChunkWindows,
    chunk_windows,
    provenance_weights,
    weights_of_first_episodes,
)

__all__ = [
    "BASE_WEIGHTS", "CORRECTION_WEIGHTS", "ChunkWindows", "EpisodeInfo", "Episodes",
    "chunk_windows", "load_episodes", "provenance_weights", "weights_of_first_episodes",
]
