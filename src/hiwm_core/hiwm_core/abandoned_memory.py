"""Removes shared memory that killed processes have left behind.

Fast DDS keeps its segments and ports as files in /dev/shm. A process killed -9 leaves its own: half
a megabyte each, until the memory is full. One killed while it creates a port leaves a file that is
not initialised, and every later node that opens this port waits for it for ever: it neither starts
nor exits. Live files are locked through a file of the same name with the ending ``_el``.
"""

import fcntl
import os
import re
import time
from pathlib import Path

FOLDER = Path("/dev/shm")
# A process locks its files right after it has created them.
YOUNG_S = 10.0
_SEGMENT = re.compile(r"fastrtps_(port\d+|[0-9a-f]{16})")


def remove_abandoned(folder: Path = FOLDER, young_s: float = YOUNG_S) -> int:
    """Remove this user's segments and ports whose process has died, and return their number.

    Args:
        folder: of the shared memory; nothing happens where there is none.
        young_s: files that were written in the last seconds are kept.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return 0
    newest = time.time() - young_s
    return sum(
        _removed(folder / name, newest) for name in names if _SEGMENT.fullmatch(name)
    )


def _removed(segment: Path, newest: float) -> bool:
    """Remove a segment unless it is in use, young or another user's; return whether it was."""
    lock = segment.with_name(f"{segment.name}_el")
    descriptor = -1
    try:
        found = segment.stat()
        if found.st_uid != os.getuid() or found.st_mtime > newest:
            return False
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            pass  # a port whose process died while it created it
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        segment.unlink()
        lock.unlink(missing_ok=True)
    except OSError:  # in use, or another process has just removed it
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True
