"""Free disk space, and messages for refused writes."""

import errno
import os
from pathlib import Path


def free_disk_bytes(path: Path) -> int:
    """Return the bytes that a process may still write to the disk of a path."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def disk_refusal(error: OSError, path: Path) -> str:
    """Return a readable message for a refused write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full while writing {path}"
    return f"cannot write {path}: {error.strerror or error}"
