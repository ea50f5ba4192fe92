"""Ensures one writer per role of a session, and that all writers belong to one launch.

    python -m hiwm_core.session_lock SESSION

prints the processes that write a session now; the exit code is 1 if there are any.

Each role (recorder, branch_manager, world, evaluator and so on) is a file in `<session>/locks`,
locked by the process that has the role. The operating system releases the lock when that process
exits for any reason. A file without a lock is stale, and the next process takes it over. The file
names its owner. A tool that writes into a session, such as `hiwm_recording.recover`, takes a role
too.

The locks are open-file-description locks (fcntl(2)). They can be queried without being taken,
queries work in read-only folders, and network file systems support them.
"""

import argparse
import errno
import fcntl
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from hiwm_core.errors import BusyError, StoreError
from hiwm_core.launch_identity import launch_id, process_id
from hiwm_core.user_paths import path_argument

LOCKS_FOLDER: Final = "locks"
RECORDER: Final = "recorder"
_SUFFIX: Final = ".lock"
# Held while taking a role, so that two launches cannot both find the session free.
_GUARD: Final = "guard"
_GUARD_WAIT_S: Final = 10.0
_GUARD_POLL_S: Final = 0.02
# struct flock: type, whence, start, length (0: the whole file), pid (0 for this kind of lock).
_FLOCK: Final = struct.Struct("hhqqi4x")
_WHOLE_FILE: Final = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_HELD: Final = (errno.EAGAIN, errno.EACCES)
_UNSUPPORTED: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The process that holds a role."""

    role: str
    pid: int = 0
    host: str = ""
    launch: str = ""
    since: str = ""  # local date and time

    @property
    def process(self) -> str:
        """Process and host, as text."""
        where = f"pid {self.pid}" if self.pid else "an unknown process"
        where += f" on {self.host}" if self.host else ""
        return where + (f" since {self.since}" if self.since else "")

    def __str__(self) -> str:
        """Return the role with its process."""
        return f"{self.role}, {self.process}"


class SessionLock:
    """A role of a session, held until `release` or until this process exits.

    Args:
        session: the session folder; created if missing.
        role: file name in the folder's `locks`.
        launch: id shared by all holders in the session; by default that of this launch.

    Raises:
        BusyError: another process holds the role, or another launch writes the session.
        StoreError: the folder is not writable, or its file system does not support locks.
    """

    def __init__(self, session: Path, role: str, launch: str | None = None) -> None:
        self.owner = Owner(
            role=role, pid=os.getpid(), host=socket.gethostname(), launch=launch or launch_id(),
            since=time.strftime("%Y-%m-%d %H:%M:%S"),
        )
        self._descriptor: int | None = None
        folder = session / LOCKS_FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _guard(folder):
                others = owners(session)
                if any(o.role == role or o.launch != self.owner.launch for o in others):
                    raise _busy(session, role, others)
                self._descriptor = _take(folder / f"{role}{_SUFFIX}", self.owner)
        except OSError as error:
            raise _unlockable(folder / f"{role}{_SUFFIX}", error) from error

    def release(self) -> None:
        """Release the role; the file stays, as another process may be waiting for it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Return the lock, which is already held."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Release the role."""
        self.release()


def tool_lock(session: Path, role: str) -> SessionLock:
    """Take a role for a command outside any launch; no other process may write the session.

    Raises:
        BusyError, StoreError: see `SessionLock`.
    """
    return SessionLock(session, role, launch=process_id(os.getpid()))


def hold_until_end(path: Path, owner: Owner) -> Owner | None:
    """Lock a file until this process exits; return the owner if another process holds it.

    Raises:
        StoreError: the file is not writable, or its file system does not support locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _take(path, owner)
    except BlockingIOError:
        return _owner(path) or Owner(role="another process")
    except OSError as error:
        raise _unlockable(path, error) from error
    return None


def owners(session: Path) -> list[Owner]:
    """Return the processes that write a session now. Changes nothing."""
    folder = session / LOCKS_FOLDER
    if not folder.is_dir():
        return []
    found = (_owner(path) for path in sorted(folder.glob(f"*{_SUFFIX}")))
    return [owner for owner in found if owner is not None]


def recording_owner(session: Path) -> Owner | None:
    """Return the process that records a session now; None if there is none."""
    return _owner(session / LOCKS_FOLDER / f"{RECORDER}{_SUFFIX}")


def _owner(path: Path) -> Owner | None:
    """Return the owner of a lock file; None if it is missing or not locked."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WHOLE_FILE)
        if _FLOCK.unpack(answer)[0] == fcntl.F_UNLCK:
            return None
        text = os.read(descriptor, 1 << 16).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    try:
        return Owner(**json.loads(text))
    except (ValueError, TypeError):  # locked, but not yet written
        return Owner(role=path.name.removesuffix(_SUFFIX))


def _take(path: Path, owner: Owner) -> int:
    """Lock a file and write its owner into it; raises BlockingIOError if it is locked."""
    descriptor = _locked(path)
    if descriptor is None:
        raise BlockingIOError(errno.EAGAIN, "another process holds it")
    try:
        text = json.dumps(asdict(owner)).encode() + b"\n"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _locked(path: Path) -> int | None:
    """Return a descriptor that holds a file's lock; None if another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _HELD:
            return None
        if error.errno in _UNSUPPORTED:
            raise StoreError(
                f"the file system does not support locks ({error.strerror})", where=str(path),
                remedy="use a session_dir on a local disk, or mount this one with locking",
            ) from error
        raise
    return descriptor


@contextmanager
def _guard(folder: Path) -> Iterator[None]:
    deadline = time.monotonic() + _GUARD_WAIT_S
    while (descriptor := _locked(folder / _GUARD)) is None:
        if time.monotonic() > deadline:
            raise StoreError(
                f"another process has been taking a role for {_GUARD_WAIT_S:g} s",
                where=str(folder / _GUARD), remedy="end it (it may be suspended), then retry",
            )
        time.sleep(_GUARD_POLL_S)
    try:
        yield
    finally:
        os.close(descriptor)


def _unlockable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot hold the lock {path.name}: {error.strerror}", where=str(path.parent),
        remedy="make the folder writable, free disk space, or choose another folder: "
        "session_dir for a session's locks, TMPDIR for a graph's",
    )


def _busy(session: Path, role: str, others: list[Owner]) -> BusyError:
    recorder = next((owner for owner in others if owner.role == RECORDER), None)
    if recorder is not None:
        what = f"the session is being recorded by {recorder.process}"
        others = [owner for owner in others if owner is not recorder]
        what += "".join(f"; {owner}" for owner in others)
    else:
        what = f"the session is in use by {'; '.join(map(str, others))}"
    return BusyError(
        what, where=f"{role} of {session}",
        remedy="end that launch, or its processes if the launcher is gone; or use another "
        "session_dir. Nodes started one by one need the same HIWM_LAUNCH_ID",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the processes that write a session; return 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m hiwm_core.session_lock")
    parser.add_argument("session", type=path_argument, help="session folder")
    options = parser.parse_args(arguments)
    found = owners(options.session)
    for owner in found:
        print(f"{options.session} is being written by {owner}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
