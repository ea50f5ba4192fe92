"""A session's id, the origin of its data, and the counters of its epochs and episodes."""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hiwm_core.atomic_files import replace_file, sync_file
from hiwm_core.errors import StoreError

_SESSION_FILE, _ID_FILE = "session.json", "session_id"
# Another node writes the id right after creating its file.
_WRITING_S = 1.0


def software_version() -> str:
    """Return the version of the installed workspace."""
    with contextlib.suppress(PackageNotFoundError):
        return version("hiwm_core")
    return "unknown"


def session_id(folder: Path) -> str:
    """Return the id of a session: the folder's name and a random suffix.

    The first node that asks writes it. Sessions in folders of equal names so differ in training
    sets. A session that an earlier version began keeps its id.

    Raises:
        StoreError: the folder cannot be written.
    """
    path = folder / _ID_FILE
    if not path.exists() and (begun := _id_of_lineage(folder)):
        return begun
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return _written_id(path)
    except OSError as error:
        raise _not_written(path, error) from None
    with os.fdopen(descriptor, "w") as file:
        name = f"{folder.absolute().name}-{secrets.token_hex(4)}"
        file.write(name)
    return name


def _id_of_lineage(folder: Path) -> str:
    try:
        return str(json.loads((folder / _SESSION_FILE).read_text())["session_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _written_id(path: Path) -> str:
    """Return the id that another node has created the file for."""
    deadline = time.monotonic() + _WRITING_S
    while not (content := _content(path)):
        if time.monotonic() > deadline:
            raise StoreError(
                "the session's id is empty", where=str(path), remedy="delete the file"
            )
        time.sleep(0.01)
    name = content.decode(errors="replace").strip()  # an editor adds a line's end
    # After a power cut, a file may have zeros in place of what was written.
    if not name.isprintable() or "\ufffd" in name:
        raise StoreError(
            f"the session's id is damaged: {name[:80]!r}", where=str(path),
            remedy="write the session_id of its bags' metadata.yaml into the file; without bags, "
            "delete it",
        )
    return name


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"cannot read the session's id: {error.strerror}", where=str(path),
            remedy="make the file readable",
        ) from None


def write_session(folder: Path, lineage: Mapping[str, Any]) -> bool:
    """Write session.json unless it exists; return whether it was written.

    Raises:
        StoreError: the folder cannot be written.
    """
    path = folder / _SESSION_FILE
    if path.exists():
        return False
    _write(path, lineage)
    return True


def session_heads(folder: Path) -> tuple[str, ...] | None:
    """Return the trained heads of a session's world model; None if session.json lists none.

    Sessions on a robot and sessions that predate the list have none.
    """
    try:
        heads = json.loads((folder / _SESSION_FILE).read_text()).get("heads")
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
        self._disk = ThreadPoolExecutor(1, "episode counter")
        self._syncing: Future[None] | None = None

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
        """Save epoch and episode.

        They survive a killed process at once, and a power cut as soon as the disk has them: a
        rollback does not wait for that.
        """
        if self._path is None:
            return
        _write(self._path, {"epoch": epoch, "episode": episode}, durable=False)
        waits = self._syncing and not self._syncing.running() and not self._syncing.done()
        if not waits:  # one that waits syncs this as well
            self._syncing = self._disk.submit(_sync, self._path)


def _sync(path: Path) -> None:
    # What the disk refuses later, the next write reports.
    with contextlib.suppress(OSError):
        sync_file(path)


def _write(path: Path, data: Mapping[str, Any], *, durable: bool = True) -> None:
    try:
        replace_file(path, json.dumps(dict(data), indent=2) + "\n", durable=durable)
    except OSError as error:
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot write: {error.strerror}", where=str(path),
        remedy="free disk space, check the folder's permissions, or start with another "
        "session_dir:=",
    )
