"""Names and places of a LeRobot data set's files, for versions 3.0 and 2.1."""

from dataclasses import dataclass
from typing import Any, Literal

Version = Literal["v3.0", "v2.1"]

INFO, STATS = "meta/info.json", "meta/stats.json"
TASKS_TABLE = "meta/tasks.parquet"  # v3.0
TASKS_LINES = "meta/tasks.jsonl"  # v2.1, and the next two
EPISODES_LINES = "meta/episodes.jsonl"
EPISODE_STATS_LINES = "meta/episodes_stats.jsonl"
# Our description: the embodiment's and the task's text, so that an import needs no mapping.
HIWM = "meta/hiwm.json"
CHUNK = 1000  # files of a folder
STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
# Columns of every set, in this order behind the features.
INDEX_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}


@dataclass(frozen=True)
class Layout:
    """The places of a version's files. A shard is a file: v2.1 has one for each episode."""

    version: Version

    @property
    def data_path(self) -> str:
        """Template of the tables' places, as info.json has it."""
        if self.version == "v3.0":
            return "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        return "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"

    @property
    def video_path(self) -> str:
        """Template of the videos' places, as info.json has it."""
        if self.version == "v3.0":
            return "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        return "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"

    def data_file(self, shard: int) -> str:
        """Return the place of a shard's table."""
        return self.data_path.format(**_numbers(shard))

    def video_file(self, key: str, shard: int) -> str:
        """Return the place of a camera's video of a shard."""
        return self.video_path.format(video_key=key, **_numbers(shard))

    def episodes_file(self, shard: int) -> str:
        """Return the place of a shard's table of episodes, of v3.0."""
        return "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet".format(
            **_numbers(shard)
        )

    def sidecar_file(self, shard: int) -> str:
        """Return the place of our own columns, beside a set with another's features."""
        return "hiwm/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet".format(
            **_numbers(shard)
        )


def _numbers(shard: int) -> dict[str, int]:
    return {
        "chunk_index": shard // CHUNK, "file_index": shard % CHUNK,
        "episode_chunk": shard // CHUNK, "episode_index": shard,
    }
