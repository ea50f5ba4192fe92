"""Training sets: built from bags only, stored as zarr, read as arrays.

    build.build_dataset     converts bags to a store; not imported here: training reads no bags
    load_episodes           reads a store into memory as arrays
    demonstration_weights   weights of the actions when a policy learns from demonstrations
    chunk_windows           the frames and actions of each training sample
"""

from hiwm_learning.datasets.episodes import EpisodeInfo, Episodes, load_episodes
from hiwm_learning.datasets.windows import ChunkWindows, chunk_windows, demonstration_weights

__all__ = [
    "ChunkWindows", "EpisodeInfo", "Episodes", "chunk_windows", "demonstration_weights",
    "load_episodes",
]
