"""Writes files and folders atomically.

Code that replaces a file or a folder writes the new one beside it and renames it. After a crash,
and for concurrent readers, there is either the old one or the new one, never a part. Disk errors
are raised as `OSError`; the caller adds what they mean.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

Content = str | bytes | Callable[[BinaryIO], object]

# Seconds after its last change for which an unfinished folder is kept even if it is not locked: the
# lock of a living run on another computer may not be visible here.
_KEPT_S = 24 * 3600.0
# Attempts to remove a folder that other threads still fill, and the time in which each may do so.
_REMOVALS = 40
_BETWEEN_REMOVALS_S = 0.05
_NAME_KEPT = 50  # characters of the name in the temporary name, which must stay below 255 bytes
_AT_FDCWD = -100  # <fcntl.h>: paths are relative to the working folder
_RENAME_EXCHANGE = 2  # <linux/fs.h>


def replace_file(
    path: Path, content: Content, *, durable: bool = True, overwrite: bool = True
) -> None:
    """Write a file so that readers see the old one or the new one.

    Args:
        path: path of the file; its folder is created if missing. A link stays a link: the file
            that it points to is replaced.
        content: text (written as UTF-8), bytes, or a function that writes to an open binary file.
        durable: whether the file must survive an immediate power cut. If False, the write does not
            wait for the disk; use this for files that are rewritten soon.
        overwrite: whether an existing file may be replaced.

    Raises:
        FileExistsError: the file exists and `overwrite` is False.
        OSError: the disk refuses; the old file is unchanged.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    _make_folder(path.parent)
    part = _part_of(path)
    try:
        with _open_new(part) as file:
            if isinstance(content, str):
                file.write(content.encode())
            elif isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            if durable:
                # Some file systems report a full disk only here.
                os.fsync(file.fileno())
        if overwrite:
            part.replace(path)
        else:
            os.link(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, and replace `path` with it when the block ends.

    An error in the block leaves the old folder unchanged and removes the new one. Unfinished
    folders of killed runs beside `path` are removed first if they are older than a day. The caller
    must have checked that the old folder may be deleted (`output_folders.check_output_folder`).

    Raises:
        OSError: the disk refuses; the old folder is unchanged.
    """
    path = Path(os.path.realpath(path))
    _make_folder(path.parent)
    _remove_abandoned(path)
    part, lock = _new_part_folder(path)
    try:
        yield part
        _sync_tree(part)
        if path.exists():
            _exchange(part, path)
        else:
            part.rename(path)
        sync_folder(path.parent)
    except BaseException:
        _remove_while_written(part)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(lock)


def _remove_while_written(folder: Path) -> None:
    """Remove a folder into which threads of a failed writer, such as zarr's, still write.

    They may add a file while the folder is removed, or create the folder again.
    """
    for _ in range(_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_BETWEEN_REMOVALS_S)
        if not os.path.lexists(folder):
            return


def sync_file(path: Path) -> None:
    """Make a file that was written without waiting for the disk survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new and renamed entries of a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        # To callers with overwrite=False, FileExistsError means the file itself.
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name[:_NAME_KEPT]}.{secrets.token_hex(4)}.part")


def _new_part_folder(path: Path) -> tuple[Path, int]:
    """Make a locked folder; return it and the descriptor that holds its lock.

    The lock tells other runs that this one is alive. Until it is taken, another run may take the
    folder for abandoned and remove it; then a new one is made.
    """
    while True:
        part = _part_of(path)
        part.mkdir()
        try:
            lock = os.open(part, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another run is about to remove it
            os.close(lock)
            continue
        except OSError:
            pass  # without locks, nothing is removed
        if part.is_dir():
            return part, lock
        os.close(lock)


def _open_new(part: Path) -> BinaryIO:
    # Unlike those of tempfile, these permissions follow the user's umask.
    return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb")


def _sync_tree(folder: Path) -> None:
    """Make a folder and its content survive a power cut after the rename."""
    for root, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(root, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(root))


def _exchange(part: Path, path: Path) -> None:
    """Swap two folders, in one step if the file system can, else in two."""
    libc = ctypes.CDLL(None, use_errno=True)
    with contextlib.suppress(AttributeError):  # C libraries before glibc 2.28
        if not libc.renameat2(
            _AT_FDCWD, os.fsencode(part), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE
        ):
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(number, os.strerror(number), str(path))
    aside = _part_of(path).with_suffix(".old")
    path.rename(aside)
    try:
        part.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    aside.rename(part)


def _remove_abandoned(path: Path) -> None:
    """Remove the unfinished folders whose writers died more than a day ago."""
    named = re.compile(re.escape(f".{path.name[:_NAME_KEPT]}.") + r"[0-9a-f]{8}\.part")
    for part in path.parent.iterdir():
        if not named.fullmatch(part.name) or part.is_symlink() or not part.is_dir():
            continue
        try:
            if time.time() - part.stat().st_mtime < _KEPT_S:
                continue
            lock = os.open(part, os.O_RDONLY)
        except FileNotFoundError:  # its run has just ended
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(part, ignore_errors=True)
        finally:
            os.close(lock)
