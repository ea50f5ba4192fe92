"""Content-addressed store of a session's states.

A world writes one state per tick and names it in the tick. The branch manager and rollback rely on
two guarantees: a state is read back byte for byte, and a name never refers to a partial state.
Large parts (frames, latents) are separate records, so neighbouring states share equal frames.
Tested by `test_blob_store.py`.

Records are appended to pack files (`hiwm_core.pack_files`), one pack per writing process: creating
a file costs ten times as much as an append, and a tick has a millisecond for all of this. A killed
process leaves whole states and at most one truncated record, which readers skip. Nothing is flushed
to the disk on the tick path: a power cut, unlike a kill, may lose the last seconds.

    <root>/<time>-<process>.pack     records: large parts, and manifests that name them
    <root>/pins/<state id>           a note: a person asked to keep this state
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import StoreError
from hiwm_core.pack_files import PackFiles, RecordKind, write_error

Array = npt.NDArray[Any]

# A smaller part costs less inside the manifest than as a separate record.
BLOB_THRESHOLD_BYTES = 4096
_NAME_BYTES = 16  # 128 bits of sha256: no collision in any session, and names stay readable
_NUMERIC_KINDS = "biufcmM"
_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class StoreSize:
    """The content of a store on disk."""

    states: int
    blobs: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class PutReport:
    """Cost of one `put_state`: bytes added on disk, bytes before sharing and packing, seconds."""

    written_bytes: int
    content_bytes: int
    seconds: float


class BlobStore:
    """Content-addressed states in one folder; several processes may read and write at once."""

    def __init__(self, root: str | os.PathLike[str], *, read_only: bool = False) -> None:
        """Open the store at `root`; create it if missing, unless `read_only`.

        Raises StoreError if the folder cannot be created, or is missing with `read_only`.
        """
        self.root = Path(root)
        self.last_put = PutReport(written_bytes=0, content_bytes=0, seconds=0.0)
        self._lock = threading.RLock()
        if read_only and not self.root.is_dir():
            raise StoreError(
                "no states are stored here",
                where=str(self.root),
                remedy="check the session folder; the world creates its states/ folder",
            )
        if not read_only:
            try:
                (self.root / "pins").mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise write_error(error, self.root) from error
        self._packs = PackFiles(self.root)

    def close(self) -> None:
        """Close the pack that this process writes, if any."""
        self._packs.close()

    def put_state(self, parts: Mapping[str, Array], meta: Mapping[str, Any]) -> str:
        """Store one state and return its id; equal content has the same id.

        `parts`: arrays of any shape with a numeric or boolean dtype. Pass every frame or latent
        that neighbouring states share as a separate part. `meta`: anything that JSON can represent
        (tuples are read back as lists). Raises StoreError if a part or the meta cannot be stored,
        the disk is full or the folder cannot be written; the store is then unchanged.
        """
        started = time.perf_counter()
        content_bytes = 0
        entries: list[dict[str, Any]] = []
        inline: list[bytes] = []
        records: list[tuple[RecordKind, bytes, bytes]] = []
        for name in sorted(parts):
            array = np.asarray(parts[name])
            if array.dtype.kind not in _NUMERIC_KINDS:
                raise StoreError(
                    f"part '{name}' has dtype {array.dtype}, which is not numeric",
                    where=str(self.root),
                    remedy="store numbers as arrays and everything else in meta",
                )
            data = array.tobytes()
            content_bytes += len(data)
            entry: dict[str, Any] = {
                "name": name,
                "dtype": array.dtype.str,
                "shape": list(array.shape),
            }
            if len(data) > BLOB_THRESHOLD_BYTES:
                digest = _digest(data)
                entry["blob"] = digest.hex()
                records.append((RecordKind.BLOB, digest, data))
            else:
                inline.append(data)
            entries.append(entry)
        text = self._canonical_text({"parts": entries, "meta": dict(meta)})
        manifest = struct.pack("<I", len(text)) + text + b"".join(inline)
        name_bytes = _digest(manifest)
        # The manifest goes last, so that a state that is found has all its parts.
        records.append((RecordKind.MANIFEST, name_bytes, manifest))
        with self._lock:
            written = self._packs.append(records)
        self.last_put = PutReport(
            written_bytes=written,
            content_bytes=content_bytes + len(text),
            seconds=time.perf_counter() - started,
        )
        return name_bytes.hex()

    def get_state(self, state_id: str) -> tuple[dict[str, Array], dict[str, Any]]:
        """Read a state: its parts, writable, with their dtype and shape, and its meta.

        Raises StoreError if the id is unknown, or a record was changed or truncated after it was
        written.
        """
        with self._lock:
            document, inline = self._manifest(state_id)
            offset = 0
            parts: dict[str, Array] = {}
            for entry in document["parts"]:
                dtype = np.dtype(entry["dtype"])
                shape = tuple(entry["shape"])
                if "blob" in entry:
                    data = self._read(RecordKind.BLOB, bytes.fromhex(entry["blob"]))
                else:
                    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
                    data = inline[offset : offset + size]
                    offset += size
                parts[entry["name"]] = np.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
            return parts, document["meta"]

    def has_state(self, state_id: str) -> bool:
        """Return whether a state with this id is stored."""
        if _NAME.fullmatch(state_id) is None:
            return False
        with self._lock:
            return self._packs.holds(RecordKind.MANIFEST, bytes.fromhex(state_id))

    def state_ids(self) -> list[str]:
        """Return the ids of all states, sorted."""
        with self._lock:
            return sorted(digest.hex() for digest in self._packs.digests(RecordKind.MANIFEST))

    def state_size(self, state_id: str) -> int:
        """Return the bytes on disk of one state; shared parts count in full."""
        with self._lock:
            document, _ = self._manifest(state_id)
            blobs = {entry["blob"] for entry in document["parts"] if "blob" in entry}
            return self._packs.stored_bytes(RecordKind.MANIFEST, bytes.fromhex(state_id)) + sum(
                self._packs.stored_bytes(RecordKind.BLOB, bytes.fromhex(b)) for b in blobs
            )

    def size(self) -> StoreSize:
        """Count states, blobs and bytes on disk."""
        with self._lock:
            return StoreSize(
                states=len(self._packs.digests(RecordKind.MANIFEST)),
                blobs=len(self._packs.digests(RecordKind.BLOB)),
                bytes=self._packs.bytes_on_disk(),
            )

    def pin(self, state_id: str, note: str = "") -> None:
        """Mark a stored state as one to keep. Raises StoreError if it is unknown."""
        if not self.has_state(_checked_id(state_id, self.root)):
            raise _unknown_state(state_id, self.root)
        path = self.root / "pins" / state_id
        try:
            replace_file(path, note)
        except OSError as error:
            raise write_error(error, path) from error

    def pins(self) -> dict[str, str]:
        """Return the pinned states and their notes."""
        return read_pins(self.root)

    def _canonical_text(self, document: dict[str, Any]) -> bytes:
        try:
            return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        except (TypeError, ValueError) as error:
            raise StoreError(
                f"meta cannot be written as JSON: {error}",
                where=str(self.root),
                remedy="use text, numbers, lists and mappings; store arrays as parts",
            ) from error

    def _manifest(self, state_id: str) -> tuple[dict[str, Any], bytes]:
        """Return a state's document and the bytes of its small parts."""
        digest = bytes.fromhex(_checked_id(state_id, self.root))
        if not self._packs.holds(RecordKind.MANIFEST, digest):
            raise _unknown_state(state_id, self.root)
        manifest = self._read(RecordKind.MANIFEST, digest)
        (length,) = struct.unpack_from("<I", manifest)
        document: dict[str, Any] = json.loads(manifest[4 : 4 + length])
        return document, manifest[4 + length :]

    def _read(self, kind: RecordKind, digest: bytes) -> bytes:
        """Return a record's content after checking it against its hash."""
        try:
            data = self._packs.read(kind, digest)
            intact = _digest(data) == digest
        except zlib.error:
            intact = False
        if not intact:
            path = self._packs.path_of(kind, digest)
            # Removed from the index, so that the next state with this content writes it again.
            self._packs.forget(kind, digest)
            raise StoreError(
                "a stored state was changed or truncated after it was written",
                where=str(path),
                remedy="restore this file from a copy, or continue from another state; "
                "the others are intact",
            )
        return data


def read_pins(root: Path) -> dict[str, str]:
    """Return pinned states and notes of the store at `root`, without indexing the store."""
    paths = sorted((root / "pins").glob("*"))
    return {
        path.name: path.read_text(errors="replace") for path in paths if _NAME.fullmatch(path.name)
    }


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_NAME_BYTES]


def _checked_id(state_id: str, root: Path) -> str:
    if _NAME.fullmatch(state_id) is None:
        raise StoreError(
            f"'{state_id}' is not a state id",
            where=str(root),
            remedy="give the 32 hex digits of a tick's state_id",
        )
    return state_id


def _unknown_state(state_id: str, root: Path) -> StoreError:
    return StoreError(
        f"no state {state_id} is stored",
        where=str(root),
        remedy="use a state id of this session (branches/list shows them)",
    )
