"""Training sets: built from bags alone, kept as zarr, read as arrays.

    build.build_dataset     bags to a store; not imported here, since training reads no bags
    load_episodes           a store as arrays in memory
    demonstration_weights   which actions count for a policy that learns from demonstrations
    chunk_windows           which frames and actions make one training sample
"""

from hiwm_learning.datasets.episodes import EpisodeInfo, Episodes, load_episodes
from hiwm_learning.datasets.windows import ChunkWindows, chunk_windows, demonstration_weights

__all__ = [
    "ChunkWindows", "EpisodeInfo", "Episodes", "chunk_windows", "demonstration_weights",
    "load_episodes",
]
