"""What the recorder asks of a disk, and what it says when the disk refuses."""

import errno
import os
from pathlib import Path


def free_disk_bytes(path: Path) -> int:
    """Return the bytes a process may still write on a path's disk."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def disk_refusal(error: OSError, path: Path) -> str:
    """Return what a refused write means, for people."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full while writing {path}"
    return f"cannot write {path}: {error.strerror or error}"
