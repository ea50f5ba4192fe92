"""Writes a LeRobot data set shard by shard, so that a cut-off export continues.

A shard is one table and one video for each camera. Its journal, written last, makes it count; what
has no journal is written again. `finish` writes the data set's own metadata from the journals, with
info.json as the last file: without it, nothing takes the folder for a data set. Memory is that of
one episode's columns and one block of images.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hiwm_core.atomic_files import replace_file
from hiwm_core.bags.disk import disk_refusal
from hiwm_core.errors import BagError
from hiwm_exchange.lerobot import layout as places
from hiwm_exchange.lerobot.layout import CHUNK, INDEX_FEATURES, Layout
from hiwm_exchange.lerobot.statistics import (
    IMAGES_SAMPLED,
    ImageHistogram,
    Stats,
    column_stats,
    merged,
    without_quantiles,
)
from hiwm_exchange.lerobot.tables import image_size, is_video, schema_of, table_of, write_tasks
from hiwm_exchange.lerobot.video import VideoWriter

# Frames after which a shard of v3.0 is closed: what a cut-off export does again at most.
SHARD_FRAMES = 20_000
_JOURNAL = ".hiwm_export"
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
class _Episode:
    """One written episode, as its shard's journal has it."""

    episode_index: int
    length: int
    first_index: int
    task: str
    videos: dict[str, float]  # feature -> time of the first frame, s
    stats: dict[str, Stats]


@dataclass(kw_only=True)
class _Shard:
    number: int
    table: Any
    sidecar: Any
    videos: dict[str, VideoWriter]
    episodes: list[_Episode] = field(default_factory=list)
    frames: int = 0


class DatasetWriter:
    """Writes episodes in the order of a plan.

    Args:
        folder: of the data set, claimed by the caller.
        layout: of the wanted version.
        spec: features, rate and robot.
        shard_frames: see `SHARD_FRAMES`.

    Attributes:
        next_entry: first entry of the plan that is not yet written.
        episodes: number of episodes written.
        frames: number of frames written.
    """

    def __init__(
        self, folder: Path, layout: Layout, spec: SetSpec, shard_frames: int = SHARD_FRAMES
    ) -> None:
        self._folder, self._layout, self._spec = folder, layout, spec
        self._per_episode = layout.version == "v2.1"
        self._shard_frames = shard_frames
        self._features = {**spec.features, **INDEX_FEATURES}
        self._sidecar_features = {
            **spec.sidecar,
            **{name: INDEX_FEATURES[name] for name in ("frame_index", "episode_index", "index")},
        } if spec.sidecar else {}
        self._shard: _Shard | None = None
        self._tasks: list[str] = []
        self.next_entry = self.episodes = self.frames = self._shards = 0
        for journal in self._journals():
            self._count(journal)

    def add(self, entry: int, pieces: Iterable[Piece], task: str, copies: int = 1) -> None:
        """Write an episode.

        Args:
            entry: its number in the plan.
            pieces: its frames, at least one; read one by one.
            task: what is done, in words.
            copies: how often it counts; the videos of v3.0 are shared.

        Raises:
            BagError: the disk refuses. What was finished stays.
        """
        with self._disk_errors():
            shard = self._shard or self._open(self._shards)
            self._shard = shard
            begun = {key: video.frames for key, video in shard.videos.items()}
            parts: list[Rows] = []
            histograms = {key: ImageHistogram() for key in shard.videos}
            for piece in pieces:
                parts.append(piece.rows)
                for key, video in shard.videos.items():
                    images = piece.images[key]
                    video.append(images)
                    histograms[key].take(images, max(1, len(images) // IMAGES_SAMPLED))
            rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            stats = {key: found.stats() for key, found in histograms.items()}
            starts = {key: frame / self._spec.fps for key, frame in begun.items()}
            self._add_copies(shard, rows, stats, starts, task, copies, entry)
            if self._shard is not None and self._shard.frames >= self._shard_frames:
                self._commit([self._shard], entry + 1)

    def finish(self, description: Mapping[str, Any], entries: int) -> None:
        """Write the metadata of the data set.

        Args:
            description: JSON values for `meta/hiwm.json`.
            entries: number of entries of the plan.

        Raises:
            BagError: no episode was written, or the disk refuses.
        """
        with self._disk_errors():
            if self._shard is not None:
                self._commit([self._shard], entries)
            if not self.episodes:
                raise BagError(
                    "no episode was written", where=str(self._folder),
                    remedy="give sessions with usable bags",
                )
            stats: dict[str, Stats] = {}
            for number, episodes in self._finished():
                for episode in episodes:
                    for name, found in episode.stats.items():
                        stats[name] = merged(stats.get(name), found)
                if not self._per_episode:
                    self._write_episodes(number, episodes)
            if self._per_episode:
                stats = without_quantiles(stats)
                self._write_line_files()
            else:
                write_tasks(self._folder / places.TASKS_TABLE, self._tasks)
            _write_json(self._folder / places.STATS, stats)
            _write_json(self._folder / places.HIWM, description)
            _write_json(self._folder / places.INFO, self._info())
            shutil.rmtree(self._folder / _JOURNAL, ignore_errors=True)

    def abandon(self) -> None:
        """Close the files of an unfinished shard; finished ones stay for the next run."""
        if self._shard is not None:
            self.episodes -= len(self._shard.episodes)
            self.frames -= self._shard.frames
            _close(self._shard)
            self._shard = None

    # -- shards ----------------------------------------------------------------------------------

    def _open(self, number: int, *, with_videos: bool = True) -> _Shard:
        table = self._file(self._layout.data_file(number))
        sidecar = None
        if self._sidecar_features:
            sidecar = pq.ParquetWriter(
                str(self._file(self._layout.sidecar_file(number))),
                schema_of(self._sidecar_features),
            )
        videos = {}
        for key, feature in self._spec.videos.items() if with_videos else ():
            height, width = image_size(feature)
            videos[key] = VideoWriter(
                self._file(self._layout.video_file(key, number)), fps=self._spec.fps,
                width=width, height=height, codec=str(feature["info"]["video.codec"]),
                pix_fmt=str(feature["info"]["video.pix_fmt"]),
            )
        return _Shard(
            number=number, table=pq.ParquetWriter(str(table), schema_of(self._features)),
            sidecar=sidecar, videos=videos,
        )

    def _add_copies(
        self, shard: _Shard, rows: Rows, stats: dict[str, Stats], starts: dict[str, float],
        task: str, copies: int, entry: int,
    ) -> None:
        """Write the tables of an episode, once for each copy."""
        if task not in self._tasks:
            self._tasks.append(task)
        stats = stats | {
            name: column_stats(rows[name]) for name, feature in self._spec.features.items()
            if not is_video(feature) and feature["dtype"] != "string"
        }
        self._write_rows(shard, rows, stats, starts, task)
        if not self._per_episode:
            for _ in range(copies - 1):
                self._write_rows(shard, rows, stats, starts, task)
            return
        done = [shard]
        _close(shard)
        for copy in range(1, copies):
            other = self._open(shard.number + copy, with_videos=False)
            for key in shard.videos:
                shutil.copyfile(
                    self._folder / self._layout.video_file(key, shard.number),
                    self._file(self._layout.video_file(key, other.number)),
                )
            self._write_rows(other, rows, stats, starts, task)
            _close(other)
            done.append(other)
        self._commit(done, entry + 1)

    def _write_rows(
        self, shard: _Shard, rows: Rows, stats: dict[str, Stats], starts: dict[str, float],
        task: str,
    ) -> None:
        """Append one episode to a shard's tables."""
        length = len(next(iter(rows.values())))
        frames = np.arange(length)
        index: Rows = {
            "timestamp": (frames / self._spec.fps).astype(np.float32),
            "frame_index": frames, "episode_index": np.full(length, self.episodes),
            "index": self.frames + frames,
            "task_index": np.full(length, self._tasks.index(task)),
        }
        shard.table.write_table(table_of(self._features, rows | index))
        if shard.sidecar is not None:
            shard.sidecar.write_table(table_of(self._sidecar_features, rows | index))
        shard.episodes.append(_Episode(
            episode_index=self.episodes, length=length, first_index=self.frames, task=task,
            videos=starts,
            stats=stats | {name: column_stats(values) for name, values in index.items()},
        ))
        shard.frames += length
        self.episodes += 1
        self.frames += length

    def _commit(self, shards: list[_Shard], next_entry: int) -> None:
        """Close shards and make them count; the last one's journal says where the plan goes on."""
        for shard in shards:
            _close(shard)
            _write_json(self._folder / _JOURNAL / f"shard-{shard.number:06d}.json", {
                "shard": shard.number, "episodes": [asdict(one) for one in shard.episodes],
                "tasks": self._tasks, "next_entry": next_entry if shard is shards[-1] else None,
            })
            self._shards = shard.number + 1
        self.next_entry = next_entry
        self._shard = None

    # -- journals --------------------------------------------------------------------------------

    def _journals(self) -> Iterator[dict[str, Any]]:
        """Yield the journals up to the last one that ends with a whole entry of the plan."""
        files = sorted((self._folder / _JOURNAL).glob("shard-*.json"))
        last = len(files)
        while last and json.loads(files[last - 1].read_text("utf-8"))["next_entry"] is None:
            last -= 1
        for file in files[last:]:
            file.unlink()
        for file in files[:last]:
            yield json.loads(file.read_text("utf-8"))

    def _finished(self) -> Iterator[tuple[int, list[_Episode]]]:
        """Yield number and episodes of each finished shard."""
        for journal in self._journals():
            yield int(journal["shard"]), [_Episode(**one) for one in journal["episodes"]]

    def _count(self, journal: Mapping[str, Any]) -> None:
        self._shards = int(journal["shard"]) + 1
        self._tasks = list(journal["tasks"])
        self.episodes += len(journal["episodes"])
        self.frames += sum(int(one["length"]) for one in journal["episodes"])
        if journal["next_entry"] is not None:
            self.next_entry = int(journal["next_entry"])

    # -- metadata --------------------------------------------------------------------------------

    def _write_episodes(self, shard: int, episodes: list[_Episode]) -> None:
        """Write a shard's table of episodes, of v3.0."""
        chunk, file = shard // CHUNK, shard % CHUNK
        lines = []
        for one in episodes:
            line: dict[str, Any] = {
                "episode_index": one.episode_index, "tasks": [one.task], "length": one.length,
                "data/chunk_index": chunk, "data/file_index": file,
                "dataset_from_index": one.first_index,
                "dataset_to_index": one.first_index + one.length,
                "meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file,
            }
            for key, start in one.videos.items():
                line |= {
                    f"videos/{key}/chunk_index": chunk, f"videos/{key}/file_index": file,
                    f"videos/{key}/from_timestamp": start,
                    f"videos/{key}/to_timestamp": start + one.length / self._spec.fps,
                }
            for name, stats in one.stats.items():
                line |= {f"stats/{name}/{stat}": value for stat, value in stats.items()}
            lines.append(line)
        path = self._file(self._layout.episodes_file(shard))
        pq.write_table(pa.Table.from_pylist(lines), str(path))

    def _write_line_files(self) -> None:
        """Write the lists of episodes and tasks of v2.1."""
        _write_lines(self._folder / places.EPISODES_LINES, (
            {"episode_index": one.episode_index, "tasks": [one.task], "length": one.length}
            for _, episodes in self._finished() for one in episodes
        ))
        _write_lines(self._folder / places.EPISODE_STATS_LINES, (
            {"episode_index": one.episode_index, "stats": without_quantiles(one.stats)}
            for _, episodes in self._finished() for one in episodes
        ))
        _write_lines(self._folder / places.TASKS_LINES, (
            {"task_index": i, "task": task} for i, task in enumerate(self._tasks)
        ))

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = {
            "codebase_version": self._layout.version, "robot_type": self._spec.robot_type,
            "total_episodes": self.episodes, "total_frames": self.frames,
            "total_tasks": len(self._tasks), "chunks_size": CHUNK, "fps": self._spec.fps,
            "splits": {"train": f"0:{self.episodes}"}, "data_path": self._layout.data_path,
            "video_path": self._layout.video_path if self._spec.videos else None,
            "features": self._features,
        }
        if self._per_episode:
            return info | {
                "total_videos": self.episodes * len(self._spec.videos),
                "total_chunks": -(-self.episodes // CHUNK),
            }
        return info | {"data_files_size_in_mb": 100, "video_files_size_in_mb": 200}

    def _file(self, place: str) -> Path:
        path = self._folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # also those of FFmpeg that have a number of the system
            raise BagError(
                disk_refusal(error, self._folder), where=str(self._folder),
                remedy="make room there and run the command again: it continues",
            ) from error
        except av.FFmpegError as error:
            raise BagError(
                f"the video cannot be encoded: {error}", where=str(self._folder),
                remedy="another --codec into a new folder, or other image sizes, may fit",
            ) from error


def _close(shard: _Shard) -> None:
    """Close a shard's files; a second call does nothing."""
    if shard.table is None:
        return
    shard.table.close()
    shard.table = None
    if shard.sidecar is not None:
        shard.sidecar.close()
    for video in shard.videos.values():
        video.close()


def _write_json(path: Path, value: Any) -> None:
    replace_file(path, json.dumps(value, indent=1) + "\n")


def _write_lines(path: Path, values: Iterable[Any]) -> None:
    def write(file: BinaryIO) -> None:
        file.writelines(json.dumps(value).encode() + b"\n" for value in values)

    replace_file(path, write)
