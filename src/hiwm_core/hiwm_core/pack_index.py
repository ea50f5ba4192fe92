"""A compact index of the records in a state store.

A world at full speed writes about 200 records per second. A dict of Python objects would take 300
bytes per record and cause most of the growth of a world's memory. Here, only the newest records are
in a dict; older ones are in sorted arrays with 24 bytes per record.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

# Number of records that are moved into an array at once. Fewer mean more merging, more a larger
# dict.
RUN_RECORDS = 8192
_OFFSET_BITS = 40  # a pack is far smaller than 1 TB
_NAME = struct.Struct("=QQ")

_Run = npt.NDArray[np.uint64]  # [3, N]: both halves of the name, place; sorted by the first half


class PackIndex:
    """A mapping from 16-byte names to (number of the pack, offset in it)."""

    def __init__(self) -> None:
        self._new: dict[bytes, int] = {}
        self._runs: list[_Run] = []  # newest last
        self._forgotten: set[bytes] = set()

    def __contains__(self, name: bytes) -> bool:
        """Return whether a name is in the index."""
        return self.get(name) is not None

    def get(self, name: bytes) -> tuple[int, int] | None:
        """Return number of the pack and offset; None if the name is unknown."""
        place = self._new.get(name)
        if place is None and name not in self._forgotten:
            place = self._old(name)
        return None if place is None else (place >> _OFFSET_BITS, place & (1 << _OFFSET_BITS) - 1)

    def add(self, name: bytes, pack: int, offset: int) -> None:
        """Add a name to the index; the latest place replaces earlier ones."""
        self._new[name] = pack << _OFFSET_BITS | offset
        if len(self._new) >= RUN_RECORDS:
            halves = np.frombuffer(b"".join(self._new), np.uint64).reshape(-1, 2).T
            places = np.fromiter(self._new.values(), np.uint64, len(self._new))
            run = _sorted(np.vstack([halves, places]))
            # Merged so that a lookup searches few runs: at most one of each size 1, 2, 4, ...
            # remains.
            while self._runs and self._runs[-1].shape[1] <= run.shape[1]:
                run = _sorted(np.hstack([run, self._runs.pop()]))
            self._runs.append(run)
            self._forgotten -= self._new.keys()
            self._new = {}

    def forget(self, name: bytes) -> None:
        """Remove a name from the index."""
        self._new.pop(name, None)
        self._forgotten.add(name)

    def names(self) -> set[bytes]:
        """Return every name in the index."""
        old = {
            bytes(name) for run in self._runs for name in np.ascontiguousarray(run[:2].T)
        }
        return (old - self._forgotten) | set(self._new)

    def _old(self, name: bytes) -> int | None:
        first, second = _NAME.unpack(name)
        for run in reversed(self._runs):
            at = int(np.searchsorted(run[0], np.uint64(first)))
            while at < run.shape[1] and run[0, at] == first:
                if run[1, at] == second:
                    return int(run[2, at])
                at += 1
        return None


def _sorted(run: _Run) -> _Run:
    """Return a sorted run; equal names keep their order."""
    return run[:, np.argsort(run[0], kind="stable")]
