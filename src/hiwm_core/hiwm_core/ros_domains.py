"""Reserves ROS domain ids that no other run on this machine uses.

Tests, benchmarks and studies start many graphs, often in several parallel processes. A process
reserves a block of domain ids with a file lock, which the system releases when the process exits.
"""

import fcntl
import os
import tempfile
from itertools import cycle
from pathlib import Path
from threading import Lock
from typing import Final

from hiwm_core.errors import HiwmError

# On Linux, ids up to 101 avoid the range of ephemeral ports.
_HIGHEST: Final = 101
# A graph may still be shutting down when the next one starts, so a process cycles through ids.
_BLOCK: Final = 10

_lock = Lock()
_ids: "cycle[int] | None" = None
_owner = 0
_held: list[int] = []  # descriptors of the locks, open until the process exits


def domain_id() -> int:
    """Return the next domain id of this process's block, 1..101.

    Raises:
        HiwmError: other processes hold all blocks.
    """
    global _ids, _owner
    with _lock:
        if _ids is None or _owner != os.getpid():  # a forked child reserves its own block
            _ids, _owner = cycle(_claimed_block()), os.getpid()
        return next(_ids)


def _claimed_block() -> range:
    folder = Path(tempfile.gettempdir()) / f"hiwm_ros_domains_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for first in range(1, _HIGHEST - _BLOCK + 2, _BLOCK):
        descriptor = os.open(folder / f"{first}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        _held.append(descriptor)
        return range(first, first + _BLOCK)
    raise HiwmError(
        "other test runs, benchmarks or studies use all ROS domain ids",
        where=str(folder), remedy="stop some of them",
    )
