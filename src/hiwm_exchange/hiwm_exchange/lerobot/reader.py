"""Reads LeRobot data sets of version 3.0 and 2.1, one episode at a time."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from hiwm_core.errors import BagError
from hiwm_exchange.foreign import ForeignEpisode
from hiwm_exchange.lerobot import layout as places
from hiwm_exchange.lerobot.info import SetInfo, read_info
from hiwm_exchange.lerobot.layout import CHUNK, INDEX_FEATURES
from hiwm_exchange.lerobot.tables import column_array, entry_names, read_tasks
from hiwm_exchange.lerobot.video import read_frames

# A timestamp may differ from frame / fps by this, s; LeRobot's own tolerance.
_TOLERANCE_S = 1e-4


class LeRobotReader:
    """The episodes of a data set. Memory is that of one episode and one table.

    Args:
        folder: of the data set.

    Raises:
        BagError: see `read_info`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info: SetInfo = read_info(folder)
        self.description: Mapping[str, Any] = _description(folder / places.HIWM)
        self._tasks = self._read_tasks()
        self._episodes = self._read_episodes()
        self._table: tuple[Path, Any] | None = None
        self.names = {
            name: entry_names(feature) for name, feature in self.info.features.items()
        }
        self.cameras = tuple(
            name for name, feature in self.info.features.items()
            if feature["dtype"] in ("video", "image")
        )

    def __len__(self) -> int:
        """Return the number of episodes."""
        return self.info.episodes

    def episode(self, number: int) -> ForeignEpisode:
        """Return an episode; its images are read on request.

        Raises:
            BagError: a file is missing or damaged, or the timestamps are not those of the rate.
        """
        if number not in self._episodes:
            raise BagError(
                f"episode {number} is missing, of {len(self)}",
                where=f"{self.folder}: meta/episodes",
                remedy="download the data set again",
            )
        entry = self._episodes[number]
        path = self.folder / self._data_place(number, entry)
        rows = self._rows(path, number)
        where = f"{path}: episode {number}"
        columns = {
            name: column_array(rows[name]) for name in rows.column_names
            if name not in self.cameras
        }
        length = rows.num_rows
        if length != entry["length"] or not length:
            raise BagError(
                f"{length} frames, the metadata say {entry['length']}", where=where,
                remedy="download the data set again",
            )
        times = np.asarray(columns["timestamp"], np.float64)
        apart = np.abs(times - times[0] - np.arange(length) / self.info.fps)
        if apart.max(initial=0.0) > _TOLERANCE_S:
            frame = int(apart.argmax())
            raise BagError(
                f"unequal periods: frame {frame} is at {times[frame] - times[0]:.4f} s, at "
                f"{self.info.fps:g} fps it belongs to {frame / self.info.fps:.4f} s",
                where=f"{where}: timestamp",
                remedy="record or convert the set again at one rate",
            )
        tasks = columns.get("task_index", np.zeros(length, np.int64))
        return ForeignEpisode(
            where=where, number=number, times_s=np.arange(length) / self.info.fps,
            columns={name: values for name, values in columns.items()
                     if name not in INDEX_FEATURES},
            names=self.names, cameras=self.cameras,
            images=lambda feature: self._images(feature, number, entry, rows),
            task=self._task(int(tasks[0]), where), description=self.description,
        )

    # -- images ----------------------------------------------------------------------------------

    def _images(
        self, feature: str, number: int, entry: Mapping[str, Any], rows: Any
    ) -> NDArray[np.uint8]:
        shape = self.info.features[feature]["shape"]
        if self.info.features[feature]["dtype"] == "image":
            return np.stack([
                np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB"))
                for cell in rows[feature].to_pylist()
            ])
        if self.info.version == "v3.0":
            start = float(entry[f"videos/{feature}/from_timestamp"])
            place = self.info.video_path.format(
                video_key=feature, chunk_index=entry[f"videos/{feature}/chunk_index"],
                file_index=entry[f"videos/{feature}/file_index"],
            )
        else:
            start = 0.0
            place = self.info.video_path.format(
                video_key=feature, episode_chunk=number // CHUNK, episode_index=number
            )
        count = rows.num_rows
        images: NDArray[np.uint8] | None = None
        path = self.folder / place
        for i, frame in enumerate(read_frames(path, start, count, self.info.fps)):
            if images is None:
                if sorted(frame.shape) != sorted(shape):
                    raise BagError(
                        f"frames of {frame.shape[1]}x{frame.shape[0]}, {feature} has the shape "
                        f"{shape}", where=str(path), remedy="download the data set again",
                    )
                images = np.empty((count, *frame.shape), np.uint8)
            images[i] = frame
        assert images is not None
        return images

    # -- tables ----------------------------------------------------------------------------------

    def _data_place(self, number: int, entry: Mapping[str, Any]) -> str:
        if self.info.version == "v3.0":
            return self.info.data_path.format(
                chunk_index=entry["data/chunk_index"], file_index=entry["data/file_index"]
            )
        return self.info.data_path.format(episode_chunk=number // CHUNK, episode_index=number)

    def _rows(self, path: Path, number: int) -> Any:
        """Return an episode's rows; a table of several episodes is kept."""
        if self._table is None or self._table[0] != path:
            self._table = path, _read_table(path)
        table = self._table[1]
        missing = {"timestamp", "episode_index"} - set(table.column_names)
        lost = {
            name for name, feature in self.info.features.items() if feature["dtype"] != "video"
        } - set(table.column_names)
        if missing | lost:
            raise BagError(
                f"no column {', '.join(sorted(missing | lost))}", where=str(path),
                remedy="download the data set again",
            )
        return table.filter(pc.equal(table["episode_index"], number))

    def _read_episodes(self) -> dict[int, dict[str, Any]]:
        if self.info.version == "v2.1":
            return {
                int(line["episode_index"]): line
                for line in _lines(self.folder / places.EPISODES_LINES)
            }
        found: dict[int, dict[str, Any]] = {}
        for path in sorted((self.folder / "meta" / "episodes").glob("*/*.parquet")):
            with _damage(path):
                names = [
                    name for name in pq.read_schema(str(path)).names
                    if not name.startswith("stats/")
                ]
                for line in pq.read_table(str(path), columns=names).to_pylist():
                    found[int(line["episode_index"])] = line
        return found

    def _read_tasks(self) -> list[str]:
        if self.info.version == "v2.1":
            lines = _lines(self.folder / places.TASKS_LINES)
            return [str(line["task"]) for line in sorted(lines, key=lambda one: one["task_index"])]
        path = self.folder / places.TASKS_TABLE
        if not path.is_file():
            return []
        with _damage(path):
            return read_tasks(path)

    def _task(self, index: int, where: str) -> str:
        if not self._tasks:
            return ""
        if not 0 <= index < len(self._tasks):
            raise BagError(
                f"task {index}, of {len(self._tasks)}", where=f"{where}: task_index",
                remedy="download the data set again",
            )
        return self._tasks[index]


def _read_table(path: Path) -> Any:
    if not path.is_file():
        raise BagError(
            "the table is missing", where=str(path), remedy="download the whole data set"
        )
    with _damage(path):
        return pq.read_table(str(path))


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Raise BagError in place of what a damaged table raises."""
    try:
        yield
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
        raise BagError(
            f"the table cannot be read: {error}", where=str(path),
            remedy="download it again; files of git lfs may be pointers (git lfs pull)",
        ) from None


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        raise BagError(
            f"cannot be read: {error}", where=str(path), remedy="download the data set again"
        ) from None


def _description(path: Path) -> Mapping[str, Any]:
    """Return our own description of a set; empty for the sets of others."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
