"""Append-only files of records named by a hash: the disk layer of `blob_store`.

Every writing process appends to its own pack, so writers never conflict. Readers index the packs by
scanning the record headers, and scan newly appended records when a name is unknown. A record that
was truncated by a kill is the last of its pack and is ignored. After a damaged header, the reader
searches for the next whole one.
"""

from __future__ import annotations

import enum
import errno
import os
import struct
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from hiwm_core.errors import StoreError
from hiwm_core.pack_index import PackIndex

# A pack is copied, checked and lost as a whole: large enough for few packs, small enough to handle.
PACK_LIMIT_BYTES = 256 * 1024 * 1024
_MAGIC = b"HWR1"
# magic, crc32 of the rest, kind, codec, name, bytes stored, bytes after decoding
_HEADER = struct.Struct("<4sIBBxx16sQQ")
_CRC_FROM = 8
_RAW, _ZLIB = 0, 1
# Noise such as float latents is not worth compressing. A sample decides.
_SAMPLE_BYTES = 1024
_WORTHWHILE_RATIO = 0.9
_SEARCH_BYTES = 1 << 20


class RecordKind(enum.IntEnum):
    """The content of a record."""

    BLOB = 1
    MANIFEST = 2


class PackFiles:
    """The packs of one folder, with an index of their records."""

    def __init__(self, root: Path) -> None:
        """Index the packs at `root`; only `append` writes to the folder."""
        self._root = root
        self._paths: list[Path] = []
        self._scanned: list[int] = []  # bytes of each pack already in the index
        self._places = {kind: PackIndex() for kind in RecordKind}
        self._descriptor: int | None = None
        self._pack = -1  # number of the pack that this process writes
        self._refresh()

    def append(self, records: Sequence[tuple[RecordKind, bytes, bytes]]) -> int:
        """Write the new ones of the records (kind, 16-byte name, content); return bytes written.

        All are written at once, in order. On StoreError the pack is unchanged.
        """
        chunks: list[bytes] = []
        offsets: list[tuple[RecordKind, bytes, int]] = []
        length = 0
        for kind, name, content in records:
            if name in self._places[kind] or any(o[:2] == (kind, name) for o in offsets):
                continue
            body, codec = _packed(content)
            tail = struct.pack("<BBxx16sQQ", kind, codec, name, len(body), len(content))
            chunks += [_MAGIC, struct.pack("<I", zlib.crc32(tail)), tail, body]
            offsets.append((kind, name, length))
            length += _HEADER.size + len(body)
        if not chunks:
            return 0
        descriptor = self._writable()
        start = self._scanned[self._pack]
        try:
            written = os.write(descriptor, b"".join(chunks))
            if written < length:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.ftruncate(descriptor, start)
            raise write_error(error, self._paths[self._pack]) from error
        for kind, name, offset in offsets:
            self._places[kind].add(name, self._pack, start + offset)
        self._scanned[self._pack] = start + length
        return length

    def holds(self, kind: RecordKind, name: bytes) -> bool:
        """Return whether a record exists, after a scan for new ones if it is unknown."""
        if name not in self._places[kind]:
            self._refresh()
        return name in self._places[kind]

    def read(self, kind: RecordKind, name: bytes) -> bytes:
        """Return a record's content. Raises StoreError if missing, zlib.error if damaged."""
        path, offset = self._place(kind, name)
        try:
            with path.open("rb", buffering=0) as file:
                _, _, _, codec, found, stored, _ = _HEADER.unpack(
                    os.pread(file.fileno(), _HEADER.size, offset)
                )
                body = os.pread(file.fileno(), stored, offset + _HEADER.size)
        except (struct.error, OverflowError) as error:
            raise zlib.error("damaged header") from error
        except OSError as error:
            raise StoreError(
                f"a stored state cannot be read: {error.strerror}",
                where=str(path),
                remedy="check that the file exists and that the session folder is readable",
            ) from error
        if found != name:
            raise zlib.error("damaged header")
        return zlib.decompress(body) if codec == _ZLIB else body

    def path_of(self, kind: RecordKind, name: bytes) -> Path:
        """Return the pack that contains a record. Raises StoreError if none does."""
        return self._place(kind, name)[0]

    def _place(self, kind: RecordKind, name: bytes) -> tuple[Path, int]:
        """Return the pack that contains a record, and the record's offset in it."""
        if not self.holds(kind, name):
            raise StoreError(
                f"part {name.hex()} of a state is missing",
                where=str(self._root),
                remedy="restore the missing or damaged .pack file of this folder from a copy",
            )
        place = self._places[kind].get(name)
        assert place is not None
        return self._paths[place[0]], place[1]

    def stored_bytes(self, kind: RecordKind, name: bytes) -> int:
        """Return the size of a record on disk, bytes, including its header."""
        path, offset = self._place(kind, name)
        with path.open("rb", buffering=0) as file:
            header = os.pread(file.fileno(), _HEADER.size, offset)
        return _HEADER.size + int(_HEADER.unpack(header)[5])

    def digests(self, kind: RecordKind) -> list[bytes]:
        """Return the names of all records of a kind."""
        self._refresh()
        return list(self._places[kind].names())

    def bytes_on_disk(self) -> int:
        """Return the size of all packs, bytes."""
        self._refresh()
        return sum(path.stat().st_size for path in self._paths if path.exists())

    def forget(self, kind: RecordKind, name: bytes) -> None:
        """Drop a damaged record from the index."""
        self._places[kind].forget(name)

    def close(self) -> None:
        """Close the pack that this process writes."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _writable(self) -> int:
        """Return the descriptor of the pack to append to; create one if needed."""
        if self._descriptor is not None and self._scanned[self._pack] < PACK_LIMIT_BYTES:
            return self._descriptor
        self.close()
        path = self._root / f"{time.time_ns():016x}-{os.getpid()}.pack"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            raise write_error(error, path) from error
        self._paths.append(path)
        self._scanned.append(0)
        self._pack = len(self._paths) - 1
        return self._descriptor

    def _refresh(self) -> None:
        """Index the records appended since the last scan, in old and new packs."""
        known = set(self._paths)
        for path in sorted(self._root.glob("*.pack")):
            if path not in known:
                self._paths.append(path)
                self._scanned.append(0)
        for number in range(len(self._paths)):
            self._scan(number)

    def _scan(self, number: int) -> None:
        try:
            file = self._paths[number].open("rb", buffering=0)
        except OSError:
            return  # its records stay in the index; reading one reports the file
        with file:
            descriptor = file.fileno()
            size = os.fstat(descriptor).st_size
            offset = self._scanned[number]
            while offset + _HEADER.size <= size:
                header = os.pread(descriptor, _HEADER.size, offset)
                magic, checksum, kind, _, name, stored, _ = _HEADER.unpack(header)
                if magic != _MAGIC or checksum != zlib.crc32(header[_CRC_FROM:]):
                    offset = _next_record(descriptor, offset + 1, size)
                    continue
                end = offset + _HEADER.size + stored
                if end > size:
                    break  # still being written, or truncated by a kill
                self._places[RecordKind(kind)].add(name, number, offset)
                offset = end
            self._scanned[number] = offset


def write_error(error: OSError, path: Path) -> StoreError:
    """Return our error for a session file that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            "the state cannot be saved: the disk is full",
            where=str(path),
            remedy="free space there, or start the session with session_dir:= on another disk",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(
            "the state cannot be saved: the folder is read-only for this user",
            where=str(path),
            remedy="make the folder writable, or choose another session_dir:=",
        )
    return StoreError(
        f"the state cannot be saved: {error.strerror or error}",
        where=str(path),
        remedy="check that session_dir:= is a folder on a working disk",
    )


def _packed(content: bytes) -> tuple[bytes, int]:
    """Return the stored content and its codec: compressed if that is smaller."""
    middle = max(0, (len(content) - _SAMPLE_BYTES) // 2)
    sample = content[middle : middle + _SAMPLE_BYTES]
    if len(zlib.compress(sample, 1)) <= _WORTHWHILE_RATIO * len(sample):
        body = zlib.compress(content, 1)
        if len(body) < len(content):
            return body, _ZLIB
    return content, _RAW


def _next_record(descriptor: int, offset: int, size: int) -> int:
    """Return the offset of the next magic from `offset` on, or the last possible one."""
    while offset < size:
        found = os.pread(descriptor, _SEARCH_BYTES, offset).find(_MAGIC)
        if found >= 0:
            return offset + found
        offset += _SEARCH_BYTES - len(_MAGIC) + 1
    return max(0, size - len(_MAGIC) + 1)
