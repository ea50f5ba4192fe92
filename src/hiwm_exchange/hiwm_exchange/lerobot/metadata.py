"""The metadata of a data set, from the journals of its shards; info.json comes last.

Without info.json, nothing takes a folder for a data set.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from hiwm_core.atomic_files import replace_file
from hiwm_exchange.lerobot import layout as places
from hiwm_exchange.lerobot.episodes import SetSpec, WrittenEpisode
from hiwm_exchange.lerobot.journals import Journals
from hiwm_exchange.lerobot.layout import CHUNK, INDEX_FEATURES, Layout
from hiwm_exchange.lerobot.statistics import Stats, merged, without_quantiles
from hiwm_exchange.lerobot.tables import write_tasks


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a data set has in all."""

    episodes: int
    frames: int
    tasks: Sequence[str]  # in words, by index


def write_metadata(
    folder: Path, layout: Layout, spec: SetSpec, totals: Totals, description: Mapping[str, Any]
) -> None:
    """Write all metadata of a data set whose shards are finished.

    Args:
        folder: of the data set, with the journals.
        layout: of the version.
        spec: features, rate and robot.
        totals: numbers and tasks.
        description: JSON values for `meta/hiwm.json`.
    """
    stats: dict[str, Stats] = {}
    for journal in Journals(folder).finished():
        for episode in journal.episodes:
            for name, found in episode.stats.items():
                stats[name] = merged(stats.get(name), found)
        if layout.version == "v3.0":
            path = folder / layout.episodes_file(journal.shard)
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [_line(one, journal.shard, spec.fps) for one in journal.episodes]
            pq.write_table(pa.Table.from_pylist(lines), str(path))
    if layout.version == "v3.0":
        write_tasks(folder / places.TASKS_TABLE, list(totals.tasks))
    else:
        stats = without_quantiles(stats)
        _write_line_files(folder, totals)
    _write_json(folder / places.STATS, stats)
    _write_json(folder / places.HIWM, description)
    _write_json(folder / places.INFO, _info(layout, spec, totals))


def _line(episode: WrittenEpisode, shard: int, fps: int) -> dict[str, Any]:
    """Return an episode's line in its shard's table of episodes, of v3.0."""
    chunk, file = shard // CHUNK, shard % CHUNK
    line: dict[str, Any] = {
        "episode_index": episode.episode_index, "tasks": [episode.task],
        "length": episode.length, "data/chunk_index": chunk, "data/file_index": file,
        "dataset_from_index": episode.first_index,
        "dataset_to_index": episode.first_index + episode.length,
        "meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file,
    }
    for key, start in episode.videos.items():
        line |= {
            f"videos/{key}/chunk_index": chunk, f"videos/{key}/file_index": file,
            f"videos/{key}/from_timestamp": start,
            f"videos/{key}/to_timestamp": start + episode.length / fps,
        }
    for name, stats in episode.stats.items():
        line |= {f"stats/{name}/{stat}": value for stat, value in stats.items()}
    return line


def _write_line_files(folder: Path, totals: Totals) -> None:
    """Write the lists of episodes and tasks of v2.1."""
    def episodes() -> Iterable[WrittenEpisode]:
        return (one for journal in Journals(folder).finished() for one in journal.episodes)

    _write_lines(folder / places.EPISODES_LINES, (
        {"episode_index": one.episode_index, "tasks": [one.task], "length": one.length}
        for one in episodes()
    ))
    _write_lines(folder / places.EPISODE_STATS_LINES, (
        {"episode_index": one.episode_index, "stats": without_quantiles(one.stats)}
        for one in episodes()
    ))
    _write_lines(folder / places.TASKS_LINES, (
        {"task_index": i, "task": task} for i, task in enumerate(totals.tasks)
    ))


def _info(layout: Layout, spec: SetSpec, totals: Totals) -> dict[str, Any]:
    info: dict[str, Any] = {
        "codebase_version": layout.version, "robot_type": spec.robot_type,
        "total_episodes": totals.episodes, "total_frames": totals.frames,
        "total_tasks": len(totals.tasks), "chunks_size": CHUNK, "fps": spec.fps,
        "splits": {"train": f"0:{totals.episodes}"}, "data_path": layout.data_path,
        "video_path": layout.video_path if spec.videos else None,
        "features": {**spec.features, **INDEX_FEATURES},
    }
    if layout.version == "v2.1":
        return info | {
            "total_videos": totals.episodes * len(spec.videos),
            "total_chunks": -(-totals.episodes // CHUNK),
        }
    return info | {"data_files_size_in_mb": 100, "video_files_size_in_mb": 200}


def _write_json(path: Path, value: Any) -> None:
    replace_file(path, json.dumps(value, indent=1) + "\n")


def _write_lines(path: Path, values: Iterable[Any]) -> None:
    def write(file: BinaryIO) -> None:
        file.writelines(json.dumps(value).encode() + b"\n" for value in values)

    replace_file(path, write)
