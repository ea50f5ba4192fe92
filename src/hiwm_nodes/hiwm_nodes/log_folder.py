"""A folder that ROS can log into, where HOME is not set or cannot be written.

rcl refuses to start without one. Its log repeats what a node prints, so where it lies matters
little.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

_VARIABLE: Final = "ROS_LOG_DIR"


def provide_log_folder() -> None:
    """Point ROS at a temporary folder where its own choice cannot be used; before `rclpy.init`."""
    if not _usable(_chosen()):
        os.environ[_VARIABLE] = str(Path(tempfile.gettempdir(), f"hiwm_log_{os.getuid()}"))


def _chosen() -> Path | None:
    """Return the folder that rcl would use, None where it would find none.

    The order is that of rcl_logging_interface: ROS_LOG_DIR, then `log` in ROS_HOME, then
    `~/.ros/log`. It does not ask the user database for a home.
    """
    if folder := os.environ.get(_VARIABLE):
        return _expanded(folder)
    if home := os.environ.get("ROS_HOME"):
        return _expanded(home) / "log"
    return Path(home, ".ros", "log") if (home := os.environ.get("HOME")) else None


def _expanded(text: str) -> Path:
    """Return a path with a leading ~ replaced by HOME, as rcl does."""
    return Path(os.environ.get("HOME", "") + text[1:] if text.startswith("~") else text)


def _usable(folder: Path | None) -> bool:
    if folder is None:
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
