"""The SQLite file under `branch_store`: schema, opening, and transactions that raise our errors.

The journal is in WAL mode, so readers in other processes never wait for the writer. It is flushed
only at checkpoints: committed data survives a killed process, but a power cut may lose the last
seconds. The file has an application id and a schema version, so that a file of another application
or a newer schema is refused before anything is written.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hiwm_core.errors import StoreError
from hiwm_core.formats import MIGRATE

APPLICATION_ID = 0x6869776D  # "hiwm", where `file` and sqlite3 look for it
SCHEMA_VERSION = 2
_BUSY_TIMEOUT_S = 5.0
# A checkpoint flushes to the disk in about 10 ms: every few hundred ticks, not every few dozen.
_CHECKPOINT_PAGES = 4000

_SCHEMA = """
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL,
    head_id TEXT NOT NULL,
    head_branch_id TEXT NOT NULL
);
INSERT INTO meta VALUES (1, 0, '', '');
CREATE TABLE sessions (
    opened_ns INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    world TEXT NOT NULL,
    embodiment_hash TEXT NOT NULL,
    task_hash TEXT NOT NULL,
    checkpoint_hash TEXT NOT NULL,
    software_version TEXT NOT NULL
);
CREATE TABLE branches (
    branch_id TEXT PRIMARY KEY,
    episode_id TEXT NOT NULL,
    parent_branch_id TEXT NOT NULL,
    fork_node_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    label TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '',
    labelled_by TEXT NOT NULL DEFAULT '',
    labelled_ns INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL
);
CREATE INDEX branches_of_episode ON branches (episode_id);
CREATE UNIQUE INDEX branches_by_revision ON branches (revision);
-- Branches requested from the world and not yet confirmed: a restarted manager continues from them.
CREATE TABLE intents (
    branch_id TEXT PRIMARY KEY,
    episode_id TEXT NOT NULL,
    fork_node_id TEXT NOT NULL,
    kind TEXT NOT NULL
);
CREATE TABLE nodes (
    node_id TEXT PRIMARY KEY,
    parent_id TEXT NOT NULL,
    episode_id TEXT NOT NULL,
    branch_id TEXT NOT NULL REFERENCES branches (branch_id),
    epoch INTEGER NOT NULL,
    step INTEGER NOT NULL,
    state_id TEXT NOT NULL,
    stamp_ns INTEGER NOT NULL,
    source INTEGER NOT NULL,
    device TEXT NOT NULL,
    action BLOB NOT NULL,
    trust REAL,
    progress REAL,
    success REAL,
    node_note TEXT NOT NULL DEFAULT '',
    pinned INTEGER NOT NULL DEFAULT 0,
    rolled_back INTEGER NOT NULL DEFAULT 0,
    takeover INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL
);
CREATE INDEX nodes_of_branch ON nodes (branch_id, step);
CREATE INDEX nodes_of_parent ON nodes (parent_id);
CREATE INDEX nodes_of_state ON nodes (state_id);
CREATE UNIQUE INDEX nodes_by_revision ON nodes (revision);
CREATE INDEX nodes_of_episode ON nodes (episode_id, step);
"""


def open_database(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open or create the tree at `path`.

    Raises StoreError for a missing file with `read_only`, a file that is not a branch tree, a tree
    of an earlier or later version, and a folder that cannot be written.
    """
    if read_only and not path.exists():
        raise StoreError(
            "there is no branch tree here",
            where=str(path),
            remedy="check the session folder; the branch manager creates tree.sqlite",
        )
    _refuse_earlier(stored_version(path), path)  # before SQLite writes anything beside the file
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{_mode(path) if read_only else 'mode=rwc'}",
            uri=True,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
        )
    except (OSError, sqlite3.Error) as error:
        raise database_error(error, path) from error
    connection.row_factory = sqlite3.Row
    try:
        _prepare(connection, path, read_only=read_only)
    except sqlite3.Error as error:
        connection.close()
        raise database_error(error, path) from error
    except StoreError:
        connection.close()
        raise
    return connection


def stored_version(path: Path) -> int:
    """Return the schema version in the head of a branch tree's file; 0 for any other file.

    After a session that was killed early, it may be only in the file's `-wal`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError:
        return 0
    # https://www.sqlite.org/fileformat.html: user_version and application_id, big-endian.
    if len(head) < 100 or int.from_bytes(head[68:72], "big") != APPLICATION_ID:
        return 0
    return int.from_bytes(head[60:64], "big")


def _mode(path: Path) -> str:
    """Return the URI options for reading; SQLite cannot create an index in a read-only folder.

    Raises StoreError if the newest changes cannot be read there.
    """
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    if os.access(path.parent, os.W_OK) or index.exists():
        return "mode=ro"
    if log.exists() and log.stat().st_size:
        raise StoreError(
            "the newest changes of this branch tree cannot be read in a read-only folder",
            where=str(path), remedy="copy the session to a writable folder, and open the copy",
        )
    return "mode=ro&immutable=1"


def _prepare(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    """Check that the file is a branch tree; create the tables in a new one."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application_id != APPLICATION_ID and (tables or read_only):
        raise StoreError(
            "this SQLite file is not a branch tree",
            where=str(path),
            remedy="move it away, or choose another session_dir:=",
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"this branch tree has schema {version}, newer than the supported {SCHEMA_VERSION}",
            where=str(path),
            remedy="open it with the hiwm version that wrote it, or a later one",
        )
    _refuse_earlier(version, path)
    if read_only:
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    if version == 0:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )


def _refuse_earlier(version: int, path: Path) -> None:
    if 0 < version < SCHEMA_VERSION:
        raise StoreError(
            f"this branch tree has schema {version}, of an earlier version of hiwm",
            where=str(path), remedy=MIGRATE,
        )


class Changes:
    """Numbers the changes of one transaction; no two changes of a tree share a number."""

    def __init__(self, revision: int) -> None:
        self.revision = revision

    def number(self) -> int:
        """Return the number of the next change of a node or a branch."""
        self.revision += 1
        return self.revision


@contextmanager
def transaction(
    connection: sqlite3.Connection, path: Path, *, visible: bool = True
) -> Iterator[Changes]:
    """Write all or nothing; the object yielded numbers the changes.

    `visible`: whether the change is visible to readers, so that the revision increases by at least
    one. Raises StoreError if the file is locked for too long, read-only or damaged, or the disk is
    full.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            before = int(connection.execute("SELECT revision FROM meta").fetchone()[0])
            changes = Changes(before)
            yield changes
            if visible:
                after = max(before + 1, changes.revision)
                connection.execute("UPDATE meta SET revision = ?", (after,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise database_error(error, path) from error


def database_error(error: Exception, path: Path) -> StoreError:
    """Return our error for a tree that cannot be used."""
    text = str(error)
    remedies = {
        "not a database": "it is not a branch tree; move it away, or choose another session_dir:=",
        "malformed": "the file is damaged; restore it from a copy, or start with another "
        "session_dir:=; bags and states of this session are intact",
        "full": "free space on that disk; the data stored before is intact",
        "locked": "another process writes to it; stop the other branch manager of this session",
        "readonly": "make the file and its folder writable, or choose another session_dir:=",
        "unable to open": "check that session_dir:= is a writable folder",
    }
    remedy = next(
        (remedy for words, remedy in remedies.items() if words in text),
        "check that session_dir:= is a folder on a working disk",
    )
    return StoreError(f"the branch tree cannot be used: {text}", where=str(path), remedy=remedy)
