"""Writes bags with rosbag2_py if ROS is installed, and with the mcap library otherwise.

Both write rosbag2 folders with MCAP storage in zstd chunks, with checksums of chunks, data section
and index. The recorder calls `flush` about once a second, which ends the current chunk. Flushed
data survives the end of the process, and `hiwm_core.bags.recover` makes a bag from it. `close`
returns when everything is on the disk.
"""

import errno
import importlib.util
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

import yaml
from mcap.writer import Writer

from hiwm_core.atomic_files import sync_folder
from hiwm_core.bags.contents import mcap_path
from hiwm_core.bags.disk import free_disk_bytes
from hiwm_core.bags.lineage import RECORD_NAME
from hiwm_core.bags.mcap_file import Channel, ends_closed
from hiwm_core.bags.metadata import (
    METADATA_FILE,
    ROSBAG2_RECORD,
    TopicCount,
    bag_information,
    embedded_information,
    write_custom_data,
    write_information,
)
from hiwm_core.bags.schema import recording_types
from hiwm_core.errors import BagError

# Bytes of a chunk before compression. A tick of three raw 640x480 cameras has 2.8 MB. Writing and
# reading need a few times this much memory.
_CHUNK_BYTES: Final = 4 << 20
# For rosbag2's writer, which has no flush: a few ticks of small images.
_ROSBAG2_CHUNK_BYTES: Final = 64 << 10
_ROSBAG2_STORAGE: Final = {
    "chunkSize": _ROSBAG2_CHUNK_BYTES, "compression": "Zstd", "noChunkCRC": False,
    "enableDataCRC": True, "noSummaryCRC": False,
}
# With less free disk space than this, rosbag2's next chunk and index may not fit.
_ROSBAG2_MIN_FREE: Final = 1 << 20
# Depths of the offered QoS, for a replay.
_DEPTH: Final = 10
_LATCHED_DEPTH: Final = 1
# An unset QoS duration.
_UNSET: Final = {"sec": 0, "nsec": 0}


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A recorded topic."""

    name: str  # fully qualified, such as /hiwm/tick
    message_type: str  # such as hiwm_interfaces/msg/Tick
    latched: bool = False  # offered as transient local, so that a replay latches it too


class BagFile(Protocol):
    """A bag being written. Methods raise OSError when the disk refuses."""

    path: Path

    def write(self, topic: Topic, time_ns: int, data: bytes) -> None:
        """Append one serialized message."""

    def flush(self) -> None:
        """Pass everything written to the operating system, so that it survives this process."""

    def close(self, custom_data: Mapping[str, str]) -> None:
        """Write index and metadata.yaml, and wait until both are on the disk."""

    def abort(self) -> None:
        """Close the file without writing index or metadata.yaml."""


def open_bag(path: Path, custom_data: Mapping[str, str]) -> BagFile:
    """Create a bag folder and return its writer.

    Args:
        path: folder to create.
        custom_data: texts for the head of the file; `close` may pass a completed version.

    Raises:
        BagError: the folder exists.
        OSError: the disk refuses.
    """
    if path.exists():
        raise BagError("the bag exists", where=str(path), remedy="give the segment another name")
    if importlib.util.find_spec("rosbag2_py") is not None:
        return Rosbag2Bag(path, custom_data)
    return McapBag(path, custom_data)


class McapBag:
    """A bag written by the mcap library; every flush ends a chunk."""

    def __init__(self, path: Path, custom_data: Mapping[str, str]) -> None:
        self.path = path
        path.mkdir(parents=True)
        self._stream = (path / f"{path.name}.mcap").open("xb")
        self._writer = Writer(self._stream, chunk_size=_CHUNK_BYTES, enable_data_crcs=True)
        self._channels: dict[str, Channel] = {}  # by topic
        self._ids: dict[str, int] = {}
        self._schemas: dict[str, int] = {}  # by type
        self._counts: Counter[str] = Counter()
        self._first_ns = self._last_ns = -1
        try:
            self._writer.start(profile="ros2")
            self._writer.add_metadata(RECORD_NAME, dict(custom_data))
            self._stream.flush()
        except OSError:
            self.abort()
            raise

    def write(self, topic: Topic, time_ns: int, data: bytes) -> None:
        """Append one serialized message."""
        channel_id = self._ids.get(topic.name)
        if channel_id is None:
            channel_id = self._add_topic(topic)
        self._writer.add_message(channel_id, time_ns, data, time_ns)
        self._counts[topic.name] += 1
        self._first_ns = time_ns if self._first_ns < 0 else min(self._first_ns, time_ns)
        self._last_ns = max(self._last_ns, time_ns)

    def flush(self) -> None:
        """End the current chunk and pass it to the operating system."""
        self._writer.flush()

    def close(self, custom_data: Mapping[str, str]) -> None:
        """Write index and metadata.yaml, and wait until both are on the disk."""
        information = bag_information(
            self._file_name, [
                TopicCount(channel, self._counts[name]) for name, channel in self._channels.items()
            ], self._first_ns, self._last_ns, custom_data,
        )
        self._writer.flush()
        # Also in the file: checksums cover it there, and it survives the loss of metadata.yaml.
        self._writer.add_metadata(ROSBAG2_RECORD, embedded_information(information))
        self._writer.finish()
        self._stream.close()
        _sync_bag(self.path)
        write_information(self.path, information)

    def abort(self) -> None:
        """Close the file without writing index or metadata.yaml."""
        with suppress(OSError):  # a full disk refuses the rest of the buffer again
            self._stream.close()

    @property
    def _file_name(self) -> str:
        return f"{self.path.name}.mcap"

    def _add_topic(self, topic: Topic) -> int:
        types, kind = recording_types(), topic.message_type
        definition, _ = types.generate_msgdef(kind, ros_version=2)
        channel = Channel(
            topic.name, kind, "ros2msg", definition, _qos(topic.latched), types.hash_rihs01(kind)
        )
        if kind not in self._schemas:
            self._schemas[kind] = self._writer.register_schema(
                kind, channel.encoding, definition.encode()
            )
        self._channels[topic.name] = channel
        self._ids[topic.name] = self._writer.register_channel(
            topic.name, "cdr", self._schemas[kind],
            {"offered_qos_profiles": channel.qos, "topic_type_hash": channel.type_hash},
        )
        return self._ids[topic.name]


class Rosbag2Bag:
    """A bag written by rosbag2 itself.

    rosbag2 reports every fault as RuntimeError, and its file layer silently drops what a full disk
    refuses. So the free space is checked before writing, and the file after closing.
    """

    def __init__(self, path: Path, custom_data: Mapping[str, str]) -> None:
        import rosbag2_py

        self.path = path
        self._rosbag2: Any = rosbag2_py
        self._writer: Any = rosbag2_py.SequentialWriter()
        self._topics: set[Topic] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.NamedTemporaryFile("w", suffix=".yaml") as config,
            _disk_errors(path),
        ):
            yaml.safe_dump(_ROSBAG2_STORAGE, config)
            config.flush()
            self._writer.open(
                rosbag2_py.StorageOptions(
                    uri=str(path), storage_id="mcap", max_cache_size=0,
                    storage_config_uri=config.name, custom_data=dict(custom_data),
                ),
                rosbag2_py.ConverterOptions("cdr", "cdr"),
            )

    def write(self, topic: Topic, time_ns: int, data: bytes) -> None:
        """Append one serialized message."""
        with _disk_errors(self.path):
            if topic not in self._topics:
                self._topics.add(topic)
                self._writer.create_topic(
                    self._rosbag2.TopicMetadata(
                        id=0, name=topic.name, type=topic.message_type, serialization_format="cdr",
                        offered_qos_profiles=[self._offered(topic.latched)],
                    )
                )
            self._writer.write(topic.name, data, time_ns)

    def _offered(self, latched: bool) -> Any:
        """Return the profile that `ros2 bag play` offers; `_qos` is the same in YAML."""
        profile = self._rosbag2._storage.QoS(_LATCHED_DEPTH if latched else _DEPTH)
        profile.reliable()
        if latched:
            profile.transient_local()
        return profile

    def flush(self) -> None:
        """Check that the disk has space for the next chunk. rosbag2 writes chunks by size."""
        if free_disk_bytes(self.path.parent) < _ROSBAG2_MIN_FREE:
            _refuse(errno.ENOSPC, self.path)

    def close(self, custom_data: Mapping[str, str]) -> None:
        """Write index and metadata.yaml, and wait until both are on the disk."""
        with _disk_errors(self.path):
            self._writer.close()
        try:
            whole = ends_closed(mcap_path(self.path)) and (self.path / METADATA_FILE).exists()
        except BagError:
            whole = False
        if not whole:
            _refuse(errno.EIO, self.path)
        _sync_bag(self.path)
        write_custom_data(self.path, custom_data)

    def abort(self) -> None:
        """Close the file without writing index or metadata.yaml."""
        with suppress(Exception):
            self._writer.close()


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn rosbag2's RuntimeError into the OSError that most likely caused it."""
    try:
        yield
    except RuntimeError as error:
        _refuse(errno.EIO, path, error)


def _refuse(number: int, path: Path, cause: Exception | None = None) -> NoReturn:
    with suppress(OSError):  # a disk that is gone: the first cause says more
        if free_disk_bytes(path if path.exists() else path.parent) < _ROSBAG2_MIN_FREE:
            number = errno.ENOSPC
    text = str(cause) if cause is not None and number == errno.EIO else ""
    raise OSError(number, text or errno.errorcode[number], str(path)) from cause


def _sync_bag(path: Path) -> None:
    for file in path.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    sync_folder(path)
    sync_folder(path.parent)


def _qos(latched: bool) -> str:
    profile = {
        "history": "keep_last", "depth": _LATCHED_DEPTH if latched else _DEPTH,
        "reliability": "reliable",
        "durability": "transient_local" if latched else "volatile", "deadline": _UNSET,
        "lifespan": _UNSET, "liveliness": "automatic", "liveliness_lease_duration": _UNSET,
        "avoid_ros_namespace_conventions": False,
    }
    return str(yaml.safe_dump([profile], sort_keys=False))
