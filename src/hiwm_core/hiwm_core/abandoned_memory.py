"""Removes shared memory that killed processes have left behind.

Fast DDS keeps its segments and ports as files in /dev/shm. A process killed -9 leaves its own
files, half a megabyte each, until the memory is full. One killed while creating a port leaves a
file that is not initialised. Every later node that opens this port blocks: it neither starts nor
exits.

The owner of a file locks a second file, named like it with the ending ``_el``. A port that only
senders have open is not locked. Senders keep a dead reader's port mapped and would not follow a new
one, so mapped files are kept, unless never initialised. Port names are reused by nodes that are
just starting, so a port is removed only while holding the semaphore that Fast DDS takes to open it.
A killed process may leave this semaphore taken. Fast DDS replaces such a semaphore after a
time-out; this module then removes it with the port.
"""

import ctypes
import fcntl
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = Path("/dev/shm")
# A process locks its segments right after it has created them.
YOUNG_S = 10.0
# The system stamps files by a clock of some milliseconds.
_CLOCK_S = 0.05
# Opening a port takes milliseconds; after this time its semaphore belongs to a dead process, or to
# one that waits for a port that is never initialised.
PATIENCE_S = 1.5
_SEGMENT = re.compile(r"fastrtps_[0-9a-f]{16}")
_PORT = re.compile(r"fastrtps_port\d+")


def remove_abandoned(
    folder: Path = FOLDER, young_s: float = YOUNG_S, patience_s: float = PATIENCE_S
) -> int:
    """Remove this user's segments and ports whose process has died, and return their number.

    Args:
        folder: of the shared memory; nothing happens where there is none.
        young_s: segments, and ports whose semaphore is taken, are kept if they are newer.
        patience_s: how long a port's semaphore must be taken to count as abandoned, s.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return 0
    now = time.time()
    created, old = now - _CLOCK_S, now - young_s
    free = [
        name for name in names
        if (_SEGMENT.fullmatch(name) or _PORT.fullmatch(name)) and _is_free(folder / name, created)
    ]
    mapped = _mapped(folder) if free else set()
    unused = [name for name in free if name not in mapped or not _is_initialised(folder / name)]
    count = sum(_removed(folder / name, old) for name in unused if _SEGMENT.fullmatch(name))
    taken = []
    for name in filter(_PORT.fullmatch, unused):
        with _semaphore(name) as ours:
            if ours:
                count += _removed(folder / name, created)
            else:
                taken.append(name)
    if taken:
        time.sleep(patience_s)
    for name in taken:
        with _semaphore(name) as ours:
            if _removed(folder / name, old):
                count += 1
                if not ours:
                    with suppress(OSError):
                        (folder / f"sem.{name}_mutex").unlink()
    return count


def _is_initialised(file: Path) -> bool:
    """Return whether Boost, whose memory it is, has marked it as complete: 2 in its first word."""
    try:
        with file.open("rb") as opened:
            return opened.read(4) == (2).to_bytes(4, sys.byteorder)
    except OSError:
        return False


def _mapped(folder: Path) -> set[str]:
    """Return the names of the folder's files that a process has in its memory."""
    start = f" {folder}/".encode()
    names: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            for line in (process / "maps").read_bytes().splitlines():
                _, found, name = line.partition(start)
                if found:
                    names.add(os.fsdecode(name))
    return names


def _is_free(file: Path, newest: float) -> bool:
    """Return whether a file is this user's, not young, and not locked by an owner."""
    with _lock_of(file, newest) as ours:
        return ours


def _removed(file: Path, newest: float) -> bool:
    """Remove a file that `_is_free`; return whether it was."""
    with _lock_of(file, newest) as ours:
        if ours:
            try:
                file.unlink()
                file.with_name(f"{file.name}_el").unlink(missing_ok=True)
            except OSError:  # another process has just removed it
                return False
        return ours


@contextmanager
def _lock_of(file: Path, newest: float) -> Iterator[bool]:
    """Hold the owner's lock of a file; yield whether it was free."""
    descriptor = -1
    try:
        found = file.stat()
        free = found.st_uid == os.getuid() and found.st_mtime <= newest
        if free:
            with suppress(FileNotFoundError):  # its process died before it locked it
                descriptor = os.open(
                    file.with_name(f"{file.name}_el"), os.O_RDWR | os.O_CLOEXEC
                )
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked, or gone
        free = False
    try:
        yield free
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def _semaphore(port: str) -> Iterator[bool]:
    """Hold the semaphore of a port's name; yield whether it was free."""
    system = ctypes.CDLL(None, use_errno=True)
    system.sem_open.restype = ctypes.c_void_p
    found = system.sem_open(f"/{port}_mutex".encode(), os.O_CREAT, 0o666, 1)
    if not found:
        yield False
        return
    pointer = ctypes.c_void_p(found)
    ours = system.sem_trywait(pointer) == 0
    try:
        yield ours
    finally:
        if ours:
            system.sem_post(pointer)
        system.sem_close(pointer)
