"""Writes a LeRobot data set shard by shard, so that a cut-off export continues.

A shard is one table and one video for each camera. Its journal, written last, makes it count; what
has no journal is written again. `finish` writes the data set's own metadata from the journals.
Memory is that of one episode's columns and one block of images.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq

from hiwm_core.bags.disk import disk_refusal
from hiwm_core.errors import BagError
from hiwm_exchange.lerobot.episodes import Piece, Rows, SetSpec, WrittenEpisode
from hiwm_exchange.lerobot.journals import Journal, Journals
from hiwm_exchange.lerobot.layout import INDEX_FEATURES, Layout
from hiwm_exchange.lerobot.metadata import Totals, write_metadata
from hiwm_exchange.lerobot.statistics import (
    IMAGES_SAMPLED,
    ImageHistogram,
    Stats,
    column_stats,
)
from hiwm_exchange.lerobot.tables import image_size, is_video, schema_of, table_of
from hiwm_exchange.lerobot.video import VideoWriter

# Frames after which a shard of v3.0 is closed: what a cut-off export does again at most.
SHARD_FRAMES = 20_000


@dataclass(kw_only=True)
class _Shard:
    number: int
    table: Any
    sidecar: Any
    videos: dict[str, VideoWriter]
    episodes: list[WrittenEpisode] = field(default_factory=list)
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
        self._journals = Journals(folder)
        for journal in self._journals.finished():
            self._shards, self._tasks = journal.shard + 1, list(journal.tasks)
            self.episodes += len(journal.episodes)
            self.frames += sum(one.length for one in journal.episodes)
            if journal.next_entry is not None:
                self.next_entry = journal.next_entry

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
            write_metadata(
                self._folder, self._layout, self._spec,
                Totals(episodes=self.episodes, frames=self.frames, tasks=self._tasks), description,
            )
            self._journals.remove()

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
        shard.episodes.append(WrittenEpisode(
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
            self._journals.write(Journal(
                shard=shard.number, episodes=shard.episodes, tasks=self._tasks,
                next_entry=next_entry if shard is shards[-1] else None,
            ))
            self._shards = shard.number + 1
        self.next_entry = next_entry
        self._shard = None

    # -- files -----------------------------------------------------------------------------------

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
