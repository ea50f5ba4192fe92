"""Reads MCAP files through the mcap library, one chunk at a time, closed or not.

Audit, recovery, digest and training all need the whole file, and the file of a killed recorder has
no index. One pass from front to back therefore serves all four. Memory is bounded by one chunk,
whatever the file's size. Every checksum in the file is verified: those of the chunks, of the data
section and of the summary. A damaged chunk is skipped and named, and reading continues after it.
See https://mcap.dev/spec for the layout.
"""

import os
import struct
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

import zstandard
from mcap import records
from mcap.exceptions import EndOfFile, McapError
from mcap.stream_reader import CRCValidationError, StreamReader, breakup_chunk
from mcap.writer import MCAP0_MAGIC

from hiwm_core.bags.schema import embedded_types
from hiwm_core.errors import BagError

# Limit for one record or one uncompressed chunk, bytes. Far above any message. A larger, damaged
# length must not make the reader allocate that much memory.
_MAX_BYTES: Final = 512 << 20
_FOOTER_BYTES: Final = 9 + 8 + 8 + 4
_CHUNK_HEAD: Final = struct.Struct("<BQ24xI")
# Offset of the compression's name from the start of a chunk.
_COMPRESSION_AT: Final = 9 + 8 + 8 + 8 + 4
_ZSTD: Final = b"\x04\x00\x00\x00zstd"
_CHUNK_OPCODE: Final = 6
_SEARCH_BYTES: Final = 1 << 20
# What the library raises on bytes that are not MCAP.
_UNREADABLE = (McapError, ValueError, struct.error, MemoryError, OverflowError, RuntimeError,
               zstandard.ZstdError)


class Channel(NamedTuple):
    """One topic of a file."""

    topic: str
    message_type: str
    encoding: str  # of the definition: ros2msg or ros2idl
    definition: str
    qos: str  # offered QoS profiles, YAML as rosbag2 writes it
    type_hash: str  # RIHS01


class Message(NamedTuple):
    """One serialized message."""

    channel: Channel
    time_ns: int  # log time: receipt, system clock
    data: bytes
    chunk_at: int  # byte at which its chunk starts; 0 in a file without chunks


class McapFile:
    """One MCAP file, read in passes.

    The attributes describe the last pass, and are complete when it has reached the end.

    Attributes:
        metadata: text maps of the file by name; the last one of a name counts.
        channels: topics by channel id.
        counts: messages read by topic.
        first_ns: smallest log time; -1 without messages.
        last_ns: largest log time.
        closed: index and footer exist.
        checksums: chunks or data section carry checksums.
        stated: messages by topic according to the index; empty without an index. Known from the
            first message on.
        damage: faults of the file, each with its place; a missing end is not damage.
        lost_chunks: damaged chunks that were skipped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start_pass()

    def _start_pass(self) -> None:
        self.metadata: dict[str, dict[str, str]] = {}
        self.channels: dict[int, Channel] = {}
        self.counts: Counter[str] = Counter()
        self.first_ns = self.last_ns = -1
        self.closed = False
        self.checksums = False
        self.damage: list[str] = []
        self.lost_chunks = 0
        self.stated: Counter[str] = Counter()
        self._schemas: dict[int, records.Schema] = {}
        self._chunked = False
        self._data_ended = False
        self._undefined = 0
        self._search_from = len(MCAP0_MAGIC)

    def messages(self) -> Iterator[Message]:
        """Read the file from front to back and yield every whole message, in file order.

        Raises:
            BagError: missing, or not an MCAP file.
        """
        self._start_pass()
        with _opened(self.path) as source:
            if source.ends_closed():
                self._read_summary(source)
            start: int | None = 0
            while start is not None:
                start = yield from self._read_from(source, start)
        if self._undefined:
            self.damage.append(f"{self._undefined} messages whose definition is lost")
        if self.closed and not self.damage and self.stated and self.stated != self.counts:
            self.damage.append(
                f"its index counts {self.stated.total()} messages, {self.counts.total()} were read"
            )

    def chunk_messages(self, chunk_at: int) -> list[Message]:
        """Return the messages of one chunk again, after a pass.

        Args:
            chunk_at: `Message.chunk_at`, of a file with chunks.

        Raises:
            BagError: the file has changed since the pass.
        """
        with _opened(self.path) as source:
            source.seek(chunk_at)
            try:
                chunk = next(iter(_records(source)))
                if not isinstance(chunk, records.Chunk):
                    raise ValueError("no chunk")
                contents = _chunk_records(chunk)
            except (*_UNREADABLE, StopIteration) as error:
                raise BagError(
                    f"the chunk at byte {chunk_at} cannot be read again", where=str(self.path),
                    remedy="audit it with python -m hiwm_recording.audit",
                ) from error
        return [
            Message(self.channels[item.channel_id], item.log_time, item.data, chunk_at)
            for item in contents
            if isinstance(item, records.Message) and item.channel_id in self.channels
        ]

    def _read_summary(self, source: "_Source") -> None:
        """Read definitions and counts from the index, as a lost chunk may have held definitions."""
        end = source.size - len(MCAP0_MAGIC)
        try:
            source.seek(end - _FOOTER_BYTES)
            footer = next(iter(_records(source)))
            if not isinstance(footer, records.Footer):
                raise ValueError("no footer")
            begin = footer.summary_start or end - _FOOTER_BYTES
            # The checksum covers summary and footer, up to itself.
            if footer.summary_crc and source.checksum(begin, end - 4) != footer.summary_crc:
                raise ValueError("checksum mismatch")
            source.seek(begin)
            for record in _records(source):
                if isinstance(record, records.Statistics):
                    for channel_id, count in record.channel_message_counts.items():
                        if count and channel_id in self.channels:
                            self.stated[self.channels[channel_id].topic] += count
                else:
                    self._take_definition(record)
        except (*_UNREADABLE, StopIteration) as error:
            self.damage.append(f"its index cannot be read ({error})")

    def _read_from(
        self, source: "_Source", start: int
    ) -> Generator[Message, None, int | None]:
        """Read from a record's start; return where to continue after damage, None at the end."""
        source.seek(start)
        begin = start or len(MCAP0_MAGIC)
        ended = False
        try:
            for record in _records(source, checked=True):
                if begin == len(MCAP0_MAGIC) and not isinstance(record, records.Header):
                    # A wrong bit can make a message of it, or a definition.
                    self.damage.append("its first record is not a header")
                elif isinstance(record, records.Chunk):
                    yield from self._take_chunk(record, begin, source.position)
                elif isinstance(record, records.DataEnd):
                    self._data_ended = True
                    self.checksums = self.checksums or record.data_section_crc != 0
                elif not self._chunked:
                    # A file has either chunks or bare messages. A bare one among chunks is damage.
                    yield from self._take(record, 0)
                elif isinstance(record, records.Metadata):
                    self.metadata[record.name] = record.metadata
                begin = source.position
            ended = True
        except CRCValidationError:
            # This is the data section's; those of the chunks are checked one by one.
            self._data_ended = True
            self.damage.append("the checksum of its data section does not match")
            return source.position
        except _UNREADABLE:
            pass
        if ended and source.position == source.size and self._data_ended:
            self.closed = True
            return None
        found = source.find_chunk(self._search_from)
        if found is not None or ended or source.ends_closed():
            self.damage.append(f"its records from byte {begin} on cannot be read")
        elif start == 0 and not source.starts_as_mcap():
            raise _not_mcap(self.path)
        return found

    def _take_chunk(
        self, chunk: records.Chunk, begin: int, end: int
    ) -> Iterator[Message]:
        self._chunked = True
        self._search_from = begin + 1
        try:
            contents = _chunk_records(chunk)
        except _UNREADABLE as error:
            self.damage.append(f"the chunk at byte {begin} is damaged ({error})")
            self.lost_chunks += 1
            return
        self.checksums = self.checksums or chunk.uncompressed_crc != 0
        self._search_from = end
        for record in contents:
            yield from self._take(record, begin)

    def _take(self, record: records.McapRecord, chunk_at: int) -> Iterator[Message]:
        if not isinstance(record, records.Message):
            self._take_definition(record)
            return
        channel = self.channels.get(record.channel_id)
        if channel is None:
            self._undefined += 1
            return
        self.counts[channel.topic] += 1
        time_ns = record.log_time
        self.first_ns = time_ns if self.first_ns < 0 else min(self.first_ns, time_ns)
        self.last_ns = max(self.last_ns, time_ns)
        yield Message(channel, time_ns, record.data, chunk_at)

    def _take_definition(self, record: records.McapRecord) -> None:
        if isinstance(record, records.Schema):
            self._schemas[record.id] = record
        elif isinstance(record, records.Channel):
            self._take_channel(record)
        elif isinstance(record, records.Metadata):
            self.metadata[record.name] = record.metadata

    def _take_channel(self, record: records.Channel) -> None:
        schema = self._schemas.get(record.schema_id)
        try:
            definition = schema.data.decode() if schema else ""
        except UnicodeDecodeError:
            definition = ""  # not a ROS definition
        self.channels[record.id] = Channel(
            record.topic, schema.name if schema else "", schema.encoding if schema else "",
            definition, record.metadata.get("offered_qos_profiles", ""),
            record.metadata.get("topic_type_hash", ""),
        )


def decoded(message: Message) -> Any:
    """Return a message as an object with its fields, using the definition in its bag.

    Raises:
        BagError: the definition cannot be parsed, or the message does not fit it.
    """
    kind = message.channel.message_type
    types = embedded_types(kind, message.channel.definition)
    try:
        return types.deserialize_cdr(message.data, kind)
    except Exception as error:  # the deserializer raises any type
        raise BagError(
            f"a message of {message.channel.topic} is not a {kind}",
            remedy="the bag is damaged, or was not written by ROS 2",
        ) from error


def ends_closed(path: Path) -> bool:
    """Return whether a file ends like a closed one. Reads only its last bytes.

    Raises:
        BagError: it cannot be read.
    """
    with _opened(path) as source:
        return source.ends_closed()


def _records(source: "_Source", *, checked: bool = False) -> Iterator[records.McapRecord]:
    """Yield the records from the current position; chunks are not split.

    Args:
        source: the file.
        checked: verify the data section's checksum, if the position is the start of the file.
    """
    yield from StreamReader(
        cast(Any, source), skip_magic=source.position > 0, emit_chunks=True, validate_crcs=checked,
        record_size_limit=_MAX_BYTES,
    ).records


def _chunk_records(chunk: records.Chunk) -> list[records.McapRecord]:
    """Return the records of a chunk.

    Raises:
        one of `_UNREADABLE`: the chunk is damaged.
    """
    size = chunk.uncompressed_size
    if chunk.compression == "zstd" and zstandard.frame_content_size(chunk.data) not in (-1, size):
        raise ValueError("its sizes differ")
    if size > _MAX_BYTES:
        raise ValueError(f"{size} bytes")
    return list(breakup_chunk(chunk, validate_crc=True))


class _Source:
    """A file that refuses to read past its end, where a plain file returns a shorter result."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        self.position = 0

    def seek(self, position: int) -> None:
        self._file.seek(position)
        self.position = position

    def read(self, length: int) -> bytes:
        if not 0 <= length <= min(self.size - self.position, _MAX_BYTES):
            raise EndOfFile
        data = self._file.read(length)
        self.position += length
        if len(data) != length:
            raise EndOfFile  # truncated during the read
        return data

    def checksum(self, begin: int, end: int) -> int:
        self.seek(begin)
        crc = 0
        while self.position < end:
            crc = zlib.crc32(self.read(min(_SEARCH_BYTES, end - self.position)), crc)
        return crc

    def ends_closed(self) -> bool:
        if self.size < 2 * len(MCAP0_MAGIC):
            return False
        self.seek(self.size - len(MCAP0_MAGIC))
        return bool(self.read(len(MCAP0_MAGIC)) == MCAP0_MAGIC)

    def starts_as_mcap(self) -> bool:
        self.seek(0)
        return bool(self.read(len(MCAP0_MAGIC)) == MCAP0_MAGIC)

    def find_chunk(self, begin: int) -> int | None:
        """Return where the next zstd chunk starts, in the form that both our writers use."""
        at = begin
        while at + _COMPRESSION_AT < self.size:
            self.seek(at)
            piece = self.read(min(_SEARCH_BYTES, self.size - at))
            found = piece.find(_ZSTD, _COMPRESSION_AT)
            while found >= 0:
                if self._is_chunk(at + found - _COMPRESSION_AT):
                    return at + found - _COMPRESSION_AT
                found = piece.find(_ZSTD, found + 1)
            # The next piece overlaps by the length of a match.
            at += max(1, len(piece) - _COMPRESSION_AT - len(_ZSTD))
        return None

    def _is_chunk(self, at: int) -> bool:
        data_at = at + _COMPRESSION_AT + len(_ZSTD)
        if data_at + 8 > self.size:
            return False
        self.seek(at)
        opcode, length, _ = _CHUNK_HEAD.unpack(self.read(_CHUNK_HEAD.size))
        self.seek(data_at)
        (data_length,) = struct.unpack("<Q", self.read(8))
        return bool(
            opcode == _CHUNK_OPCODE and length == data_at + 8 + data_length - (at + 9)
            and at + 9 + length <= self.size
        )


@contextmanager
def _opened(path: Path) -> Iterator[_Source]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise BagError(
            f"cannot read: {error.strerror}", where=str(path), remedy="check the path"
        ) from error
    with file:
        source = _Source(file)
        if source.size < len(MCAP0_MAGIC):
            raise _not_mcap(path)
        try:
            yield source
        except OSError as error:
            raise BagError(
                f"cannot read: {error.strerror}", where=str(path), remedy="check the disk"
            ) from error


def _not_mcap(path: Path) -> BagError:
    return BagError(
        "not an MCAP file", where=str(path), remedy="give a bag recorded with MCAP storage"
    )
