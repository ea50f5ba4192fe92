"""Paths given by users: `~` and `~name` mean home folders everywhere.

What no file system call would accept is refused here, before a command starts to work.
"""

import argparse
import errno
import os
from pathlib import Path

from hiwm_core.errors import ConfigError

# Whatever exists there, or may be written there.
_NEVER = (errno.ELOOP, errno.ENAMETOOLONG)
_SHOWN = 200  # characters of a path in a message


def user_path(text: str | Path) -> Path:
    """Return a path with its home folder expanded.

    Raises:
        ConfigError: unknown user, no home folder, a name that is too long or has a null character,
            or links that lead to each other.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(
            "the home folder is unknown", where=str(text),
            remedy="set HOME, or give the full path",
        ) from None
    try:
        os.stat(path)
    except ValueError as error:
        raise ConfigError(
            f"cannot be a path: {error}", where=repr(str(text)), remedy="give another path"
        ) from None
    except OSError as error:
        if error.errno in _NEVER:
            raise ConfigError(
                f"cannot be used: {error.strerror}", where=_shortened(str(text)),
                remedy="give another path",
            ) from None
    return path


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def path_argument(text: str) -> Path:
    """Return a path from the command line; the argparse `type` of all path arguments."""
    try:
        return user_path(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def file_argument(text: str) -> Path:
    """Return the path of a file to write; the argparse `type` where other files are named after it.

    A folder such as `.` has no name to add a suffix to.
    """
    path = path_argument(text)
    if not path.name or path.is_dir() or text.endswith(os.sep):
        raise argparse.ArgumentTypeError(f"{text!r} is a folder: give the name of a file in it")
    return path
