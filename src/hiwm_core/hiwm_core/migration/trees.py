"""A session's tree.sqlite of an earlier version, as a new one."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hiwm_core.branch_database import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    Changes,
    database_error,
    stored_version,
    transaction,
)
from hiwm_core.branch_store import BranchStore
from hiwm_core.errors import StoreError
from hiwm_core.migration.messages import LABELS
from hiwm_core.migration.texts import Texts

_NODE_COLUMNS = (
    "node_id", "parent_id", "episode_id", "branch_id", "epoch", "step", "state_id", "stamp_ns",
    "source", "device", "action", "trust", "progress", "success", "node_note", "pinned",
    "rolled_back", "takeover",
)
_BRANCH_COLUMNS = (
    "branch_id", "episode_id", "parent_branch_id", "fork_node_id", "kind", "epoch", "label",
    "note", "discarded",
)


def is_earlier_tree(path: Path) -> bool:
    """Return whether a file is a branch tree of an earlier version. Changes nothing."""
    log = path.with_name(path.name + "-wal")
    if stored_version(path) or not (log.exists() and log.stat().st_size):
        return 0 < stored_version(path) < SCHEMA_VERSION
    try:
        with _copied(path) as old:
            version = int(old.execute("PRAGMA user_version").fetchone()[0])
            ours = old.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    except sqlite3.Error:
        return False
    return ours and 0 < version < SCHEMA_VERSION


def migrate_tree(source: Path, target: Path, texts: Texts) -> None:
    """Write a branch tree of an earlier version as a new file.

    Raises:
        StoreError: the tree is damaged, or the disk refuses.
    """
    try:
        with _copied(source) as old, BranchStore(target) as new:
            _copy(old, new, texts)
    except sqlite3.Error as error:
        raise database_error(error, source) from error


@contextmanager
def _copied(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy: SQLite writes beside a file to read its newest changes."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                shutil.copy(part, Path(folder) / part.name)
        connection = sqlite3.connect(Path(folder) / path.name)
        connection.row_factory = sqlite3.Row
        try:
            yield connection
        finally:
            connection.close()


def _copy(old: sqlite3.Connection, new: BranchStore, texts: Texts) -> None:
    write = new.connection
    with transaction(write, new.path) as changes:
        for row in old.execute("SELECT * FROM sessions ORDER BY rowid"):
            values = dict(row)
            for key in ("embodiment_hash", "task_hash", "checkpoint_hash"):
                values[key] = texts.hash(values[key])
            _insert(write, "sessions", values)
        for row in old.execute("SELECT * FROM intents"):
            _insert(write, "intents", dict(row))
        branches = {
            row["branch_id"]: row for row in old.execute("SELECT * FROM branches ORDER BY rowid")
        }
        for row in old.execute("SELECT * FROM nodes ORDER BY rowid"):
            if branch := branches.pop(row["branch_id"], None):
                _insert_branch(write, branch, changes)
            values = {name: row[name] for name in _NODE_COLUMNS}
            _insert(write, "nodes", {**values, "revision": changes.number()})
        for branch in branches.values():
            _insert_branch(write, branch, changes)
        head = old.execute("SELECT head_id, head_branch_id FROM meta").fetchone()
        if head is None:
            raise StoreError("the tree has no head", where=str(new.path), remedy="it is damaged")
        write.execute("UPDATE meta SET head_id = ?, head_branch_id = ?", tuple(head))


def _insert_branch(write: sqlite3.Connection, row: sqlite3.Row, changes: Changes) -> None:
    values = {name: row[name] for name in _BRANCH_COLUMNS}
    _insert(write, "branches", {
        **values, "label": LABELS[row["label"]], "revision": changes.number(),
    })


def _insert(write: sqlite3.Connection, table: str, values: dict[str, object]) -> None:
    marks = ", ".join("?" * len(values))
    write.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
    )
