"""The origin of a session's data in its folder, and the counters of its epochs and episodes."""

import contextlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import StoreError


def software_version() -> str:
    """Return the version of the installed workspace."""
    with contextlib.suppress(PackageNotFoundError):
        return version("hiwm_core")
    return "unknown"


def write_session(folder: Path, lineage: Mapping[str, Any]) -> bool:
    """Write session.json unless it exists; return whether it was written.

    Raises:
        StoreError: the folder cannot be written.
    """
    path = folder / "session.json"
    if path.exists():
        return False
    _write(path, lineage)
    return True


def session_heads(folder: Path) -> tuple[str, ...] | None:
    """Return the trained heads of a session's world model; None if session.json lists none.

    Sessions on a robot and sessions that predate the list have none.
    """
    try:
        heads = json.loads((folder / "session.json").read_text()).get("heads")
    except (OSError, ValueError, AttributeError):
        return None
    return tuple(str(name) for name in heads) if isinstance(heads, list) else None


class EpisodeCounter:
    """The last epoch and episode of a session, so that a restarted world continues the count.

    Args:
        folder: the session folder; None saves nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "world_counters.json" if folder else None

    def read(self) -> tuple[int, int]:
        """Return epoch and episode; zeros at the start of a session."""
        if self._path is None or not self._path.exists():
            return 0, 0
        try:
            data = json.loads(self._path.read_text())
            return int(data["epoch"]), int(data["episode"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"cannot read the episode counters: {error}", where=str(self._path),
                remedy="restore the file from a copy, or start with another session_dir:= (without "
                "it, new epochs and episodes would clash with those recorded)",
            ) from None

    def write(self, epoch: int, episode: int) -> None:
        """Save epoch and episode."""
        if self._path is not None:
            _write(self._path, {"epoch": epoch, "episode": episode})


def _write(path: Path, data: Mapping[str, Any]) -> None:
    try:
        replace_file(path, json.dumps(dict(data), indent=2) + "\n")
    except OSError as error:
        raise StoreError(
            f"cannot write: {error.strerror}", where=str(path),
            remedy="free disk space, check the folder's permissions, or start with another "
            "session_dir:=",
        ) from None
