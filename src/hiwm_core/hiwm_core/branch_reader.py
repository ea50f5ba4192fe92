"""Reads the session's tree, for provenance, drawing, proposals and the console.

`BranchReader` opens the file of `branch_store` read-only, also while the branch manager writes it.
The guarantees of the tree are documented in `branch_store`.
"""

from __future__ import annotations

import math
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from hiwm_core.branch_database import database_error, open_database
from hiwm_core.branch_records import Branch, BranchKind, Node, SessionRecord, TreePage
from hiwm_core.errors import StoreError

_SELECT_NODE = """
SELECT n.*, b.label, b.note AS branch_note, b.discarded
FROM nodes AS n JOIN branches AS b USING (branch_id)
"""
# Depth counts from the node upwards: 0 is the node itself.
SELECT_LINE = """
WITH RECURSIVE line (id, depth) AS (
    VALUES (:node_id, 0)
    UNION ALL
    SELECT nodes.parent_id, depth + 1 FROM line JOIN nodes ON nodes.node_id = line.id
    WHERE nodes.parent_id <> '' AND depth < :steps
)
"""
NO_LIMIT = 2**62


class BranchReader:
    """The tree of one session, read-only. The file may grow while it is open."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the tree at `path`.

        Raises StoreError for a missing file, one that is not a branch tree, or another version's.
        """
        self.path = Path(path)
        self._connection = open_database(self.path, read_only=True)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The open database."""
        return self._connection

    @property
    def revision(self) -> int:
        """Number of the newest change."""
        return int(self._one("SELECT revision FROM meta")[0])

    @property
    def head_id(self) -> str:
        """Current node of the world; empty before the first tick."""
        return str(self._one("SELECT head_id FROM meta")[0])

    @property
    def head_branch_id(self) -> str:
        """Branch of the world's next step; empty before the first tick."""
        return str(self._one("SELECT head_branch_id FROM meta")[0])

    def node(self, node_id: str) -> Node:
        """Return a node. Raises StoreError for an unknown id."""
        rows = self._rows(f"{_SELECT_NODE} WHERE node_id = ?", node_id)
        if not rows:
            raise StoreError(
                f"there is no node '{node_id}' in this session",
                where=str(self.path),
                remedy="branches/list shows the nodes; their ids are <branch_id>:<step>",
            )
        return _node(rows[0])

    def branch(self, branch_id: str) -> Branch:
        """Return a branch. Raises StoreError for an unknown id."""
        rows = self._rows("SELECT * FROM branches WHERE branch_id = ?", branch_id)
        if not rows:
            raise StoreError(
                f"there is no branch '{branch_id}' in this session",
                where=str(self.path),
                remedy="branches/list shows the branches",
            )
        return _branch(rows[0])

    def branches(self) -> list[Branch]:
        """Return all branches, in the order of their start."""
        return [_branch(row) for row in self._rows("SELECT * FROM branches ORDER BY rowid")]

    def sessions(self) -> list[SessionRecord]:
        """Return the worlds that supplied ticks to this tree, in order."""
        rows = self._rows("SELECT * FROM sessions ORDER BY rowid")
        return [
            SessionRecord(**{key: row[key] for key in row.keys() if key != "opened_ns"})  # noqa: SIM118
            for row in rows
        ]

    def tree(self, *, include_discarded: bool = True) -> list[Node]:
        """Return all nodes, parents before children."""
        condition = "" if include_discarded else "WHERE b.discarded = 0"
        return [_node(row) for row in self._rows(f"{_SELECT_NODE} {condition} ORDER BY n.rowid")]

    def newest(self, count: int) -> list[Node]:
        """Return the nodes that were added last, parents before children."""
        rows = self._rows(f"{_SELECT_NODE} ORDER BY n.rowid DESC LIMIT ?", count)
        return [_node(row) for row in reversed(rows)]

    def present_episode(self, limit: int) -> TreePage:
        """Return the branches of the world's episode and its `limit` newest nodes.

        A reader that shows them at once may fetch the pages of a large tree afterwards.
        """
        with self._snapshot():
            latest, head_id = self.revision, self.head_id
            of_head = "episode_id = (SELECT episode_id FROM nodes WHERE node_id = ?)"
            nodes = self._rows(
                f"{_SELECT_NODE} WHERE n.{of_head} ORDER BY n.rowid DESC LIMIT ?", head_id, limit
            )
            branches = self._rows(
                f"SELECT * FROM branches WHERE {of_head} ORDER BY rowid", head_id
            )
        return TreePage(
            since=0, revision=0, latest=latest, head_id=head_id,
            branches=[_branch(row) for row in branches],
            nodes=[_node(row) for row in reversed(nodes)],
        )

    def page(self, since: int, limit: int) -> TreePage:
        """Return the first `limit` nodes and branches that changed after `since`.

        The last change of each has a number of its own, so pages have no gaps and no overlap. A
        node that changes while a reader asks for pages appears again at the end.
        """
        with self._snapshot():
            latest, head_id = self.revision, self.head_id
            nodes = self._rows(
                f"{_SELECT_NODE} WHERE n.revision > ? ORDER BY n.revision LIMIT ?",
                since, limit + 1,
            )
            branches = self._rows(
                "SELECT * FROM branches WHERE revision > ? ORDER BY revision LIMIT ?",
                since, limit + 1,
            )
        numbers = sorted(row["revision"] for row in (*nodes, *branches))
        revision = numbers[limit - 1] if len(numbers) > limit else max(latest, since)
        return TreePage(
            since=since, revision=revision, latest=max(latest, since), head_id=head_id,
            branches=[_branch(row) for row in branches if row["revision"] <= revision],
            nodes=[_node(row) for row in nodes if row["revision"] <= revision],
        )

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Let several queries see one state of the file, while another process writes it."""
        self._rows("BEGIN")
        try:
            yield
        finally:
            self._rows("COMMIT")

    def line(self, node_id: str) -> list[Node]:
        """Return the nodes from the root to `node_id`, both included, across branches."""
        self.node(node_id)
        # CROSS JOIN keeps SQLite from scanning all nodes.
        query = (
            f"{SELECT_LINE} SELECT n.*, b.label, b.note AS branch_note, b.discarded "
            "FROM line CROSS JOIN nodes AS n ON n.node_id = line.id "
            "JOIN branches AS b USING (branch_id) ORDER BY line.depth DESC"
        )
        return [_node(row) for row in self._rows(query, node_id=node_id, steps=NO_LIMIT)]

    def ancestors(self, node_id: str) -> list[Node]:
        """Return the nodes above `node_id`, nearest first."""
        return self.line(node_id)[-2::-1]

    def node_steps_back(self, node_id: str, steps: int) -> Node:
        """Return the node `steps` edges above `node_id`, across forks.

        Raises StoreError, with the number of existing steps, if that is above the root.
        """
        self.node(node_id)
        query = f"{SELECT_LINE} SELECT id FROM line WHERE depth = :steps"
        rows = self._rows(query, node_id=node_id, steps=steps)
        if not rows:
            existing = len(self.line(node_id)) - 1
            raise StoreError(
                f"{steps} steps back were requested, but only {existing} exist before {node_id}",
                where=str(self.path),
                remedy=f"request 1 to {existing} steps"
                if existing
                else "run some steps first; this is the first state of its episode",
            )
        return self.node(rows[0]["id"])

    def next_branch_id(self, episode_id: str) -> str:
        """Return the name of the next branch of an episode: `<episode_id>-bNNN`."""
        rows = self._rows(
            "SELECT branch_id FROM branches WHERE episode_id = :id "
            "UNION SELECT branch_id FROM intents WHERE episode_id = :id",
            id=episode_id,
        )
        numbers = [re.fullmatch(r".*-b(\d+)", row["branch_id"]) for row in rows]
        return f"{episode_id}-b{1 + max((int(m[1]) for m in numbers if m), default=-1):03d}"

    def _execute(self, query: str, *values: object, **named: object) -> sqlite3.Cursor:
        parameters: dict[str, object] | tuple[object, ...] = named or values
        return self._connection.execute(query, parameters)

    def _rows(self, query: str, *values: object, **named: object) -> list[sqlite3.Row]:
        try:
            return self._execute(query, *values, **named).fetchall()
        except sqlite3.Error as error:
            raise database_error(error, self.path) from error

    def _one(self, query: str, *values: object) -> sqlite3.Row:
        return self._rows(query, *values)[0]


def _node(row: sqlite3.Row) -> Node:
    notes = [text for text in (row["branch_note"], row["node_note"]) if text]
    return Node(
        node_id=row["node_id"],
        parent_id=row["parent_id"],
        episode_id=row["episode_id"],
        branch_id=row["branch_id"],
        epoch=row["epoch"],
        step=row["step"],
        state_id=row["state_id"],
        stamp_ns=row["stamp_ns"],
        source=row["source"],
        device=row["device"],
        action=tuple(np.frombuffer(row["action"], dtype=np.float64).tolist()),
        trust=_number(row["trust"]),
        progress=_number(row["progress"]),
        success=_number(row["success"]),
        label=row["label"],
        note="; ".join(notes),
        node_note=row["node_note"],
        pinned=bool(row["pinned"]),
        rolled_back=bool(row["rolled_back"]),
        discarded=bool(row["discarded"]),
        takeover=bool(row["takeover"]),
    )


def _branch(row: sqlite3.Row) -> Branch:
    return Branch(
        branch_id=row["branch_id"],
        episode_id=row["episode_id"],
        parent_branch_id=row["parent_branch_id"],
        fork_node_id=row["fork_node_id"],
        kind=BranchKind(row["kind"]),
        epoch=row["epoch"],
        label=row["label"],
        note=row["note"],
        labelled_by=row["labelled_by"],
        labelled_ns=row["labelled_ns"],
        discarded=bool(row["discarded"]),
    )


def _number(value: float | None) -> float:
    """Return a value from SQLite, which stores NaN as NULL."""
    return math.nan if value is None else value
