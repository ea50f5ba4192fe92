"""Paths given by users: `~` and `~name` mean home folders everywhere."""

import argparse
from pathlib import Path

from hiwm_core.errors import ConfigError


def user_path(text: str | Path) -> Path:
    """Return a path with its home folder expanded.

    Raises:
        ConfigError: unknown user, or no home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(
            "the home folder is unknown", where=str(text),
            remedy="set HOME, or give the full path",
        ) from None


def path_argument(text: str) -> Path:
    """Return a path from the command line; the argparse `type` of all path arguments."""
    try:
        return user_path(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
