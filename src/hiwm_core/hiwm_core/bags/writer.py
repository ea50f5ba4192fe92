"""Writing bags: one small interface, rosbag2_py where ROS is installed and rosbags elsewhere.

Both write rosbag2 folders with MCAP storage in zstd chunks. The recorder calls `flush` about once a
second, which ends the chunk at hand: what was flushed survives the end of the process, and
`hiwm_core.bags.recover` makes a bag of it.
"""

import importlib.util
import os
import struct
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Protocol

import yaml
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, storage_mcap
from rosbags.rosbag2.errors import WriterError

from hiwm_core.atomic_files import replace_file
from hiwm_core.bags.lineage import RECORD_NAME
from hiwm_core.bags.mcap_file import METADATA
from hiwm_core.bags.schema import recording_types
from hiwm_core.errors import BagError

METADATA_FILE = "metadata.yaml"
# Of rosbag2's metadata.yaml: the one Jazzy writes.
BAG_VERSION: Final = 9
# Chunk size of rosbag2's writer, which has no flush: a few ticks of small images.
_CHUNK_BYTES = 64 * 1024
_STATISTICS = 0x0B
_FOREVER = QosTime(0, 0)


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic as it is recorded."""

    name: str  # fully qualified, such as /hiwm/tick
    message_type: str  # such as hiwm_interfaces/msg/Tick
    latched: bool = False  # offered transient local, so that a replay latches it too


class BagFile(Protocol):
    """A bag being written. Methods raise OSError where the disk does."""

    path: Path

    def write(self, topic: Topic, time_ns: int, data: bytes) -> None:
        """Append one serialized message."""

    def flush(self) -> None:
        """Hand everything written to the system, so that it survives this process."""

    def close(self, custom_data: Mapping[str, str]) -> None:
        """Write index and metadata.yaml."""

    def abort(self) -> None:
        """Let go of the file as it is, without index or metadata.yaml."""


def open_bag(path: Path, custom_data: Mapping[str, str]) -> BagFile:
    """Create a bag folder and return its writer.

    Args:
        path: folder to create.
        custom_data: texts kept in the head of the file; `close` may give a completed version.

    Raises:
        BagError: the folder exists.
        OSError: the disk refuses.
    """
    if path.exists():
        raise BagError("bag exists", where=str(path), remedy="give the segment another name")
    if importlib.util.find_spec("rosbag2_py") is not None:
        return Rosbag2Bag(path, custom_data)
    return RosbagsBag(path, custom_data)


def write_metadata(path: Path, change: Mapping[str, str]) -> None:
    """Merge texts into custom_data of a closed bag's metadata.yaml, in one step."""
    file = path / METADATA_FILE
    data = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    information = data["rosbag2_bagfile_information"]
    information["custom_data"] = {**(information.get("custom_data") or {}), **change}
    text = yaml.dump(data, Dumper=yaml.CSafeDumper, sort_keys=False, width=1_000_000)
    replace_file(file, text)


class RosbagsBag:
    """A bag written by rosbags, with a chunk ended at every flush."""

    def __init__(self, path: Path, custom_data: Mapping[str, str]) -> None:
        self.path = path
        self._writer = Writer(path, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[Topic, Connection] = {}
        try:
            self._writer.open()
        except WriterError as error:
            raise BagError(
                str(error), where=str(path), remedy="give the segment another name"
            ) from error
        storage = self._writer.storage
        assert isinstance(storage, storage_mcap.McapWriter)
        self._storage = storage
        try:
            self._write_head(custom_data)
        except OSError:
            self.abort()
            raise

    def write(self, topic: Topic, time_ns: int, data: bytes) -> None:
        """Append one serialized message."""
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._connections[topic] = self._writer.add_connection(
                topic.name, topic.message_type, typestore=recording_types(),
                offered_qos_profiles=[_qos(topic.latched)],
            )
        self._writer.write(connection, time_ns, data)

    def flush(self) -> None:
        """End the chunk at hand and hand it to the system."""
        if self._storage.chunk.msgs:
            self._storage.close_chunk()
        self._storage.bio.flush()

    def close(self, custom_data: Mapping[str, str]) -> None:
        """Write index and metadata.yaml."""
        self.flush()
        for key, value in custom_data.items():
            self._writer.set_custom_data(key, value)
        file = self._storage.path
        self._writer.close()
        _count_head_record(file)

    def abort(self) -> None:
        """Let go of the file as it is."""
        with suppress(OSError):  # a full disk refuses the rest of the buffer once more
            self._writer.abort()

    def _write_head(self, custom_data: Mapping[str, str]) -> None:
        pairs, record = BytesIO(), BytesIO()
        for key, value in custom_data.items():
            storage_mcap.write_string(pairs, key)
            storage_mcap.write_string(pairs, value)
        storage_mcap.write_string(record, RECORD_NAME)
        storage_mcap.write_uint32(record, pairs.tell())
        record.write(pairs.getvalue())
        storage_mcap.write_record(self._storage.bio, METADATA, record)
        self._storage.bio.flush()


class Rosbag2Bag:
    """A bag written by rosbag2 itself. It ends a chunk by size, so `flush` has nothing to do."""

    def __init__(self, path: Path, custom_data: Mapping[str, str]) -> None:
        import rosbag2_py

        self.path = path
        self._rosbag2: Any = rosbag2_py
        self._writer: Any = rosbag2_py.SequentialWriter()
        self._topics: set[Topic] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
            yaml.safe_dump({"chunkSize": _CHUNK_BYTES, "compression": "Zstd"}, config)
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
        if topic not in self._topics:
            self._topics.add(topic)
            self._writer.create_topic(
                self._rosbag2.TopicMetadata(
                    id=0, name=topic.name, type=topic.message_type, serialization_format="cdr"
                )
            )
        self._writer.write(topic.name, data, time_ns)

    def flush(self) -> None:
        """Do nothing: chunks are small and go out by size."""

    def close(self, custom_data: Mapping[str, str]) -> None:
        """Write index and metadata.yaml."""
        self._writer.close()
        write_metadata(self.path, custom_data)

    def abort(self) -> None:
        """Let go of the file as it is."""
        with suppress(Exception):  # rosbag2 reports a full disk as RuntimeError
            self._writer.close()


def _qos(latched: bool) -> Qos:
    return Qos(
        QosHistory.KEEP_LAST, 1 if latched else 10, QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        _FOREVER, _FOREVER, QosLiveliness.AUTOMATIC, _FOREVER, False,
    )


def _count_head_record(file: Path) -> None:
    """Make the file's statistics count the lineage record too; rosbags counts its own alone."""
    with file.open("r+b") as stream:
        stream.seek(-(8 + 20), os.SEEK_END)
        at, after_statistics = struct.unpack("<QQ", stream.read(16))
        stream.seek(at)
        summary = stream.read(after_statistics - at)
        offset = 0
        while offset + 9 <= len(summary):
            operation, length = struct.unpack_from("<BQ", summary, offset)
            if operation == _STATISTICS:
                # u64 messages, u16 schemas, u32 channels, u32 attachments, then u32 metadata
                stream.seek(at + offset + 9 + 8 + 2 + 4 + 4)
                stream.write(struct.pack("<I", 2))
                return
            offset += 9 + length
