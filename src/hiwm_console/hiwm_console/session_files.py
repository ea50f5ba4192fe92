"""A session folder's contents for a page: the tree, and the frame of any node in it.

Everything is only read, while branch manager and world keep writing. `SessionFiles` is not
thread-safe: one thread uses it. A node's frame comes from the saved state, from a recorded bag, or,
if there is neither, from the live pictures kept in memory.
"""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

from hiwm_console.pictures import picture
from hiwm_console.protocol import is_node_name
from hiwm_console.tree_columns import tree_columns
from hiwm_core.bag_digest import BagDigest, read_digest
from hiwm_core.bags import session_bags
from hiwm_core.blob_store import BlobStore
from hiwm_core.branch_reader import BranchReader
from hiwm_core.errors import HiwmError, StoreError

TREE_FILE = "tree.sqlite"
# Nodes and branches in one message to a page: about 50 KB.
PAGE = 4000
# Number of bags kept open; one has a branch of some hundred frames of 27 KB.
_MAX_BAGS = 4
# Limit on kept live pictures of worlds that save no states.
_REMEMBERED_BYTES = 64_000_000


class SessionFiles:
    """Reads one session folder, which may not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reader: BranchReader | None = None
        self._states: BlobStore | None = None
        self._bags: OrderedDict[Path, BagDigest] = OrderedDict()
        self._seen: OrderedDict[str, bytes] = OrderedDict()
        self._seen_bytes = 0

    def close(self) -> None:
        """Close the tree."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def description(self) -> dict[str, Any]:
        """Return the contents of session.json; empty if there is none."""
        try:
            found = json.loads((self.folder / "session.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def tree(self, since: int) -> tuple[str, int]:
        """Return the next page of the tree's changes after a revision, as a JSON message.

        The second value is the revision that the page reaches; the message has the newest.

        Raises:
            StoreError: no tree exists yet, or it cannot be read.
        """
        page = self._tree().page(since, PAGE)
        text = json.dumps(tree_columns(page), separators=(",", ":"), allow_nan=False)
        return text, page.revision

    def present(self) -> str:
        """Return the world's episode as a JSON message; empty if a page holds the whole tree.

        Raises:
            StoreError: as `tree`.
        """
        if self._tree().revision <= PAGE:
            return ""
        columns = tree_columns(self._tree().present_episode(PAGE)) | {"type": "present"}
        return json.dumps(columns, separators=(",", ":"), allow_nan=False)

    def revision(self) -> int:
        """Return the tree's revision; 0 if there is no tree yet."""
        try:
            return self._tree().revision
        except StoreError:
            return 0

    def remember(self, node_id: str, data: bytes) -> None:
        """Keep a live picture of a world that saves no states."""
        if node_id in self._seen:
            return
        self._seen[node_id] = data
        self._seen_bytes += len(data)
        while self._seen_bytes > _REMEMBERED_BYTES:
            self._seen_bytes -= len(self._seen.popitem(last=False)[1])

    def frame(self, node_id: str) -> bytes:
        """Return the first camera's picture of a node.

        Raises:
            HiwmError: unknown node, or no picture of it.
        """
        if not is_node_name(node_id):
            raise StoreError("not a node id", remedy="use <branch>:<step>")
        if node_id in self._seen:
            return self._seen[node_id]
        node = self._tree().node(node_id)
        if node.state_id:
            try:
                parts, _ = self._store().get_state(node.state_id)
                return picture(parts["frame"])
            except (HiwmError, KeyError):
                pass  # the states may have been deleted to save space; the bags remain
        for bag in session_bags(self.folder):
            if bag.name.startswith(f"{node.branch_id}_e"):
                digest = self._digest(bag)
                for tick in digest.ticks:
                    if tick.step == node.step:
                        frame = digest.frame(tick)
                        if frame is not None:
                            return picture(frame)
        raise StoreError(
            f"no picture of {node_id} is stored", where=str(self.folder),
            remedy="restore the session's states/ folder or its bags",
        )

    def _tree(self) -> BranchReader:
        if self._reader is None:
            self._reader = BranchReader(self.folder / TREE_FILE)
        return self._reader

    def _store(self) -> BlobStore:
        if self._states is None:
            self._states = BlobStore(self.folder / "states", read_only=True)
        return self._states

    def _digest(self, bag: Path) -> BagDigest:
        if bag not in self._bags:
            self._bags[bag] = read_digest(bag)
            while len(self._bags) > _MAX_BAGS:
                self._bags.popitem(last=False)
        self._bags.move_to_end(bag)
        return self._bags[bag]
