"""Paths as people give them: `~` and `~name` mean home folders everywhere."""

import argparse
from pathlib import Path

from hiwm_core.errors import ConfigError


def user_path(text: str | Path) -> Path:
    """Return a path with its home folder expanded.

    Raises:
        ConfigError: no such user, or no home folder is known.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(
            "the home folder is unknown", where=str(text),
            remedy="set HOME, or write the path in full",
        ) from None


def path_argument(text: str) -> Path:
    """Return a path given on a command line; the `type` of every such argument."""
    try:
        return user_path(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
