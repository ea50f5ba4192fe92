"""ROS domain ids that no other run on this machine uses.

Tests, benchmarks and studies start many graphs, often in several processes side by side. A process
holds a block of domain ids through a file lock, which the system releases when the process ends.
"""

import fcntl
import os
import tempfile
from itertools import cycle
from pathlib import Path
from threading import Lock
from typing import Final

from hiwm_core.errors import HiwmError

# On Linux, ids up to 101 keep clear of the ports that the system hands out by itself.
_HIGHEST: Final = 101
# A test's graph may still be ending when the next one starts, so a process takes turns.
_BLOCK: Final = 10

_lock = Lock()
_ids: "cycle[int] | None" = None
_owner = 0
_held: list[int] = []  # descriptors of the locks, open until the process ends


def domain_id() -> int:
    """Return a domain id of this process's own block, 1..101, in turn.

    Raises:
        HiwmError: other processes hold every block.
    """
    global _ids, _owner
    with _lock:
        if _ids is None or _owner != os.getpid():  # a forked child takes a block of its own
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
        "every ROS domain id is taken by other test runs, benchmarks or studies",
        where=str(folder), remedy="end some of them",
    )
