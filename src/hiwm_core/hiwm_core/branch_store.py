"""The session's tree: every state that the world was in, and the actions between them.

Nodes are saved states, edges are actions with a source. The branch manager writes the tree, in one
transaction per tick. Provenance, drawing, proposals and the console read it. They rely on these
properties, tested by `test_branch_store.py`:

- A node is named `<branch_id>:<step>`. A branch that continues a saved state starts *after* that
  node: the tick that repeats the restored state is not a second node.
- Along an edge the step increases by one, except where ticks were missed; the node's note says so.
- Rollback marks the abandoned nodes as rolled back: from the world's current node up to the target,
  but no node with a continuation that is not itself marked. Continuing from a marked node clears
  its mark and those of its ancestors. So a node is marked exactly if all its continuations are.
- Nothing is ever deleted.
- Every change of a node or a branch has a number. The newest is the tree's revision. Readers ask
  for pages of changes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from hiwm_core.branch_database import Changes, open_database, transaction
from hiwm_core.branch_reader import NO_LIMIT, SELECT_LINE, BranchReader
from hiwm_core.branch_records import (
    BranchKind,
    SessionRecord,
    TickRecord,
    later_than,
    node_name,
)
from hiwm_core.errors import StoreError


class BranchStore(BranchReader):
    """The tree of one session in one SQLite file, for its only writer."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the tree at `path`; create it if missing.

        Raises StoreError for a file that is not a branch tree or is another version's, and for a
        folder that cannot be written.
        """
        self.path = Path(path)
        self._connection = open_database(self.path, read_only=False)
        self._refused_branches: set[str] = set()

    def open_session(self, session: SessionRecord) -> None:
        """Record the world of the next ticks, unless it is the same as the last one."""
        if self.sessions()[-1:] == [session]:
            return
        with transaction(self._connection, self.path, visible=False):
            self._execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)",
                time.time_ns(),
                session.session_id,
                session.world,
                session.embodiment_hash,
                session.task_hash,
                session.checkpoint_hash,
                session.software_version,
            )

    def add_tick(self, tick: TickRecord) -> bool:
        """Add one tick; return whether the tree changed (a repeated tick changes nothing).

        Raises StoreError if another tick has its name: a restarted world reuses names of this
        session.
        """
        if tick.branch_id in self._refused_branches:
            raise self._name_taken(tick)
        node_id = node_name(tick.branch_id, tick.step)
        known = self._rows("SELECT epoch, state_id, stamp_ns FROM nodes WHERE node_id = ?", node_id)
        if known:
            epoch, state_id, stamp_ns = known[0]
            same_content = state_id == tick.state_id if state_id else stamp_ns == tick.stamp_ns
            if epoch == tick.epoch and same_content:
                return False
            self._refused_branches.add(tick.branch_id)
            raise self._name_taken(tick)
        branches = self._rows("SELECT * FROM branches WHERE branch_id = ?", tick.branch_id)
        fork_id = branches[0]["fork_node_id"] if branches else ""
        if fork_id and self.node(fork_id).step == tick.step:
            return False  # repeats the restored state
        with transaction(self._connection, self.path) as changes:
            doubt = ""
            if not branches:
                restored, doubt = self._start_unannounced(tick, changes)
                if restored:
                    return True
            parent_id, gap = self._parent_of(tick)
            begins = tick.started_from and not parent_id
            begun = f"started from {tick.started_from}" if begins else ""
            note = "; ".join(text for text in (begun, doubt, gap) if text)
            late, rolled_back = self._lateness(tick, parent_id)
            self._execute(
                "INSERT INTO nodes (node_id, parent_id, episode_id, branch_id, epoch, step, "
                "state_id, stamp_ns, source, device, action, trust, progress, success, node_note, "
                "rolled_back, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                node_id,
                parent_id,
                tick.episode_id,
                tick.branch_id,
                tick.epoch,
                tick.step,
                tick.state_id,
                tick.stamp_ns,
                int(tick.source),
                tick.device,
                np.asarray(tick.action, dtype=np.float64).tobytes(),
                tick.trust,
                tick.progress,
                tick.success,
                note,
                rolled_back,
                changes.number(),
            )
            if not late:
                self._set_head(node_id, tick.branch_id)
        return True

    def plan_branch(self, branch_id: str, node_id: str, kind: BranchKind) -> None:
        """Record a request to the world to continue from `node_id` as `branch_id`.

        `begin_branch` or the first tick of the branch confirms it; `drop_plan` withdraws it. It is
        persistent, so a restarted manager still knows the request. Raises StoreError for an unknown
        node, and for a rollback into another episode.
        """
        target = self.node(node_id)
        if kind is BranchKind.ROLLBACK and self.head_id:
            present = self.node(self.head_id).episode_id
            if present != target.episode_id:
                raise StoreError(
                    f"{node_id} is in episode {target.episode_id}, but the world is in {present}",
                    where=str(self.path),
                    remedy="fork it; rollback works only within an episode",
                )
        with transaction(self._connection, self.path, visible=False):
            self._execute(
                "INSERT OR REPLACE INTO intents VALUES (?, ?, ?, ?)",
                branch_id,
                target.episode_id,
                node_id,
                kind.value,
            )

    def drop_plan(self, branch_id: str) -> None:
        """Withdraw a planned branch that the world refused."""
        with transaction(self._connection, self.path, visible=False):
            self._execute("DELETE FROM intents WHERE branch_id = ?", branch_id)

    def begin_branch(self, branch_id: str, epoch: int) -> None:
        """Start a planned branch: the world is at its node, in `epoch`.

        A rollback marks the abandoned nodes. Does nothing if a tick has already started the branch.
        Raises StoreError if the branch was never planned.
        """
        if self._rows("SELECT 1 FROM branches WHERE branch_id = ?", branch_id):
            return
        with transaction(self._connection, self.path) as changes:
            if not self._start_planned(branch_id, epoch, changes):
                raise StoreError(
                    f"branch '{branch_id}' was never planned",
                    where=str(self.path),
                    remedy="plan it first",
                )

    def label(
        self, branch_id: str, label: str, note: str = "", who: str = "", *, after_ns: int = 0
    ) -> None:
        """Set a person's verdict on a branch; an empty one removes it.

        It counts as newer than the one that it replaces, and than one of `after_ns` beside a bag,
        also if the clock was set back. Raises StoreError for an unknown branch. The caller knows
        the task and checks the label.
        """
        before = self.branch(branch_id).labelled_ns
        stamp = later_than(max(before, after_ns))
        with transaction(self._connection, self.path) as changes:
            self._execute(
                "UPDATE branches SET label = ?, note = ?, labelled_by = ?, labelled_ns = ?, "
                "revision = ? WHERE branch_id = ?",
                str(label), note, who, stamp, changes.number(), branch_id,
            )

    def discard(self, branch_id: str, *, restore: bool = False) -> None:
        """Mark a branch as not to be used, or clear the mark. Raises for an unknown branch."""
        self.branch(branch_id)
        with transaction(self._connection, self.path) as changes:
            self._execute(
                "UPDATE branches SET discarded = ?, revision = ? WHERE branch_id = ?",
                not restore, changes.number(), branch_id,
            )

    def pin(self, state_id: str, note: str = "") -> bool:
        """Mark the nodes of a state as ones to keep; return whether any was unmarked."""
        found = self._rows(
            "SELECT node_id FROM nodes WHERE state_id = ? AND pinned = 0", state_id
        )
        if not found:
            return False
        with transaction(self._connection, self.path) as changes:
            for row in found:
                self._execute(
                    "UPDATE nodes SET pinned = 1, revision = ?, "
                    "node_note = trim(node_note || '; ' || ?, '; ') WHERE node_id = ?",
                    changes.number(), note, row["node_id"],
                )
        return True

    def mark_takeover(self, node_id: str) -> None:
        """Record that a person took control at `node_id`."""
        if not self.node(node_id).takeover:
            with transaction(self._connection, self.path) as changes:
                self._execute(
                    "UPDATE nodes SET takeover = 1, revision = ? WHERE node_id = ?",
                    changes.number(), node_id,
                )

    # -- placing a tick in the tree -------------------------------------------------------------

    def _start_unannounced(self, tick: TickRecord, changes: Changes) -> tuple[bool, str]:
        """Create the branch of a first tick.

        Returns whether the tick repeats the state that the branch continues, which is not a new
        node, and a note if that state is a guess.
        """
        if self._start_planned(tick.branch_id, tick.epoch, changes):
            fork_id = self._one(
                "SELECT fork_node_id FROM branches WHERE branch_id = ?", tick.branch_id
            )[0]
            return self.node(fork_id).step == tick.step, ""
        fork_id, kind, restored, doubt = "", BranchKind.RESET, False, ""
        if tick.step > 0:
            # Its first ticks were missed. The state id identifies the restored state. Without it,
            # the newest node of the episode below this step is the most likely parent.
            same = self._rows(
                "SELECT node_id FROM nodes WHERE state_id = ? AND state_id <> '' AND "
                "episode_id = ? AND step = ? ORDER BY rowid DESC LIMIT 1",
                tick.state_id,
                tick.episode_id,
                tick.step,
            )
            below = self._rows(
                "SELECT node_id FROM nodes WHERE episode_id = ? AND step < ? "
                "ORDER BY rowid DESC LIMIT 1",
                tick.episode_id,
                tick.step,
            )
            found = same or below
            if found:
                fork_id, kind = found[0]["node_id"], BranchKind.FORK
            restored = bool(same)
            if found and not same:
                doubt = "the first ticks of this branch were missed, its parent is a guess"
        self._insert_branch(tick.branch_id, tick.episode_id, fork_id, kind, tick.epoch, changes)
        return restored, doubt

    def _start_planned(self, branch_id: str, epoch: int, changes: Changes) -> bool:
        """Start a planned branch; return whether there was a plan."""
        plans = self._rows("SELECT * FROM intents WHERE branch_id = ?", branch_id)
        if not plans:
            return False
        plan = plans[0]
        if plan["kind"] == BranchKind.ROLLBACK:
            self._mark_rolled_back(self.head_id, plan["fork_node_id"], changes)
        self._insert_branch(
            branch_id,
            plan["episode_id"],
            plan["fork_node_id"],
            BranchKind(plan["kind"]),
            epoch,
            changes,
        )
        self._execute("DELETE FROM intents WHERE branch_id = ?", branch_id)
        return True

    def _insert_branch(
        self,
        branch_id: str,
        episode_id: str,
        fork_id: str,
        kind: BranchKind,
        epoch: int,
        changes: Changes,
    ) -> None:
        parent_branch = self.node(fork_id).branch_id if fork_id else ""
        self._execute(
            "INSERT INTO branches (branch_id, episode_id, parent_branch_id, fork_node_id, kind, "
            "epoch, revision) VALUES (?, ?, ?, ?, ?, ?, ?)",
            branch_id,
            episode_id,
            parent_branch,
            fork_id,
            kind.value,
            epoch,
            changes.number(),
        )
        if fork_id:
            marked = self._rows(
                f"{SELECT_LINE} SELECT node_id FROM line CROSS JOIN nodes ON node_id = line.id "
                "WHERE rolled_back = 1",
                node_id=fork_id,
                steps=NO_LIMIT,
            )
            for row in marked:
                self._set_rolled_back(row["node_id"], False, changes)
            self._set_head(fork_id, branch_id)

    def _parent_of(self, tick: TickRecord) -> tuple[str, str]:
        """Return the parent of a tick's node, and a note if steps between them are missing."""
        rows = self._rows(
            "SELECT node_id, step FROM nodes WHERE branch_id = ? AND step < ? "
            "ORDER BY step DESC LIMIT 1",
            tick.branch_id,
            tick.step,
        ) or self._rows(
            "SELECT nodes.node_id, nodes.step FROM nodes JOIN branches "
            "ON nodes.node_id = branches.fork_node_id "
            "WHERE branches.branch_id = ? AND nodes.step < ?",
            tick.branch_id,
            tick.step,
        )
        parent_id, below = (rows[0]["node_id"], int(rows[0]["step"])) if rows else ("", -1)
        missed = tick.step - below - 1
        return parent_id, f"gap: {missed} ticks before this one were missed" if missed else ""

    def _lateness(self, tick: TickRecord, parent_id: str) -> tuple[bool, bool]:
        """Return whether the world is in a later epoch, and whether the tick is rolled back."""
        rows = self._rows(
            "SELECT epoch FROM branches WHERE branch_id = (SELECT head_branch_id FROM meta) "
            "AND episode_id = ?",
            tick.episode_id,
        )
        late = bool(rows) and tick.epoch < int(rows[0]["epoch"])
        return late, late and bool(parent_id) and self.node(parent_id).rolled_back

    def _mark_rolled_back(self, leaf_id: str, target_id: str, changes: Changes) -> None:
        """Mark the line from `leaf_id` up to where it joins the line of `target_id`."""
        query = f"{SELECT_LINE} SELECT id FROM line"
        kept = {row["id"] for row in self._rows(query, node_id=target_id, steps=NO_LIMIT)}
        node_id = leaf_id
        while node_id and node_id not in kept:
            if self._rows(
                "SELECT 1 FROM nodes WHERE parent_id = ? AND rolled_back = 0 LIMIT 1", node_id
            ):
                return  # this node has another continuation
            self._set_rolled_back(node_id, True, changes)
            node_id = self._one("SELECT parent_id FROM nodes WHERE node_id = ?", node_id)[0]

    def _set_head(self, node_id: str, branch_id: str) -> None:
        self._execute("UPDATE meta SET head_id = ?, head_branch_id = ?", node_id, branch_id)

    def _set_rolled_back(self, node_id: str, marked: bool, changes: Changes) -> None:
        self._execute(
            "UPDATE nodes SET rolled_back = ?, revision = ? WHERE node_id = ?",
            marked, changes.number(), node_id,
        )

    def _name_taken(self, tick: TickRecord) -> StoreError:
        return StoreError(
            f"the world sends {tick.branch_id} step {tick.step} (epoch {tick.epoch}), but this "
            "session has another tick of that name; ticks of this branch are not stored",
            where=str(self.path),
            remedy="call world/reset for a new episode, or start with another session_dir:=",
        )
