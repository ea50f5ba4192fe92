"""Reading MCAP files front to back, whether or not they were ever closed.

rosbags reads closed files through their index. Audit, recovery and training want the whole file
anyway, and a file whose writer was killed has no index; so this one reader serves all three. It
understands the records rosbag2 and rosbags write and skips the rest.
See https://mcap.dev/spec for the layout.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.rosbag2 import storage_mcap

from hiwm_core.bags.schema import embedded_types
from hiwm_core.errors import BagError

MAGIC = b"\x89MCAP0\r\n"
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, METADATA, DATA_END = 2, 3, 4, 5, 6, 0x0C, 0x0F
_RECORD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQI")
_MESSAGE = struct.Struct("<HIQQ")


class Channel(NamedTuple):
    """One topic of a file."""

    topic: str
    message_type: str
    encoding: str  # of the definition: ros2msg or ros2idl
    definition: str


class Message(NamedTuple):
    """One serialized message."""

    channel: Channel
    time_ns: int
    data: memoryview


@dataclass
class McapContents:
    """What a file holds, as far as it is whole."""

    channels: dict[int, Channel] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    closed: bool = False  # the writer finished it: index and footer are there
    good_bytes: int = 0  # length up to the end of the last whole record
    size: int = 0  # length of the file


def read_mcap(path: Path) -> McapContents:
    """Return everything readable in a file; a torn tail is left out, not an error.

    Raises:
        BagError: not there, or not an MCAP file.
    """
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise BagError(
            f"cannot read: {error.strerror}", where=str(path), remedy="check the path"
        ) from error
    if bytes(data[:8]) != MAGIC:
        raise BagError(
            "not an MCAP file", where=str(path), remedy="give a bag recorded with MCAP storage"
        )
    contents = McapContents(good_bytes=8, size=len(data))
    schemas: dict[int, tuple[str, str, str]] = {}
    for operation, body, end in _records(data, 8):
        try:
            if operation == CHUNK:
                for inner, inner_body, _ in _records(_uncompressed(body), 0, whole=True):
                    _take(inner, inner_body, schemas, contents)
            else:
                _take(operation, body, schemas, contents)
        except (ValueError, struct.error, UnicodeDecodeError, KeyError, RuntimeError, MemoryError):
            # A chunk whose length was written but whose bytes never reached the disk.
            return contents
        contents.good_bytes = end
        if operation in (DATA_END, FOOTER):
            contents.closed = bytes(data[-8:]) == MAGIC
            break
    return contents


def decoded(message: Message) -> Any:
    """Return a message as an object with its fields, by the definition in its own bag.

    Raises:
        BagError: the definition cannot be parsed.
    """
    kind = message.channel.message_type
    return embedded_types(kind, message.channel.definition).deserialize_cdr(message.data, kind)


def _records(
    data: memoryview, start: int, whole: bool = False
) -> Iterator[tuple[int, memoryview, int]]:
    """Yield opcode, body and end of each whole record."""
    at, size = start, len(data)
    while at + 9 <= size:
        operation, length = _RECORD.unpack_from(data, at)
        end = at + 9 + length
        if end > size or operation == 0:
            break
        yield operation, data[at + 9 : end], end
        at = end
    if whole and at != size:
        raise ValueError("torn chunk")


def _take(
    operation: int, body: memoryview, schemas: dict[int, tuple[str, str, str]],
    contents: McapContents,
) -> None:
    if operation == MESSAGE:
        channel_id, _, time_ns, _ = _MESSAGE.unpack_from(body)
        contents.messages.append(Message(contents.channels[channel_id], time_ns, body[22:]))
    elif operation == SCHEMA:
        (schema_id,) = struct.unpack_from("<H", body)
        name, at = _string(body, 2)
        encoding, at = _string(body, at)
        definition, _ = _string(body, at)
        schemas[schema_id] = (name, encoding, definition)
    elif operation == CHANNEL:
        channel_id, schema_id = struct.unpack_from("<HH", body)
        topic, _ = _string(body, 4)
        contents.channels[channel_id] = Channel(topic, *schemas[schema_id])
    elif operation == METADATA:
        name, at = _string(body, 0)
        (length,) = struct.unpack_from("<I", body, at)
        at += 4
        end, pairs = at + length, {}
        while at < end:
            key, at = _string(body, at)
            pairs[key], at = _string(body, at)
        contents.metadata[name] = pairs


def _string(body: memoryview, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", body, at)
    end = at + 4 + length
    if end > len(body):
        raise ValueError("torn text")
    return bytes(body[at + 4 : end]).decode(), end


def _uncompressed(body: memoryview) -> memoryview:
    """Return the records of a chunk, checked against its size and checksum."""
    _, _, size, checksum = _CHUNK.unpack_from(body)
    compression, at = _string(body, _CHUNK.size)
    packed = body[at + 8 :]
    data: Any = packed
    if compression:
        try:
            data = storage_mcap.DECOMPRESSORS[compression](bytes(packed), size)
        except (KeyError, RuntimeError):
            raise
        except Exception as error:  # each codec has an error type of its own
            raise ValueError(f"torn {compression} chunk") from error
    if len(data) != size or (checksum and zlib.crc32(data) != checksum):
        raise ValueError("torn chunk")
    return memoryview(data)


