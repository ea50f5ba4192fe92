"""Reads labels, discarded branches and rollback marks of bags from their session's tree."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hiwm_core.bags.metadata import METADATA_FILE
from hiwm_core.branch_reader import BranchReader
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.provenance import Provenance, tree_provenance

TREE_FILE = "tree.sqlite"
_TREE_TOPIC = "/branches/tree"


@dataclass(frozen=True, kw_only=True)
class SessionTree:
    """Contents of a session's tree; empty if no branch manager ran."""

    provenance: Mapping[str, Provenance] = field(default_factory=dict)  # by node id
    discarded: frozenset[str] = frozenset()  # branches
    labels: Mapping[str, int] = field(default_factory=dict)  # by branch


class SessionTrees:
    """The trees of the bags' sessions, each read once.

    Args:
        without: use the bags of a session whose tree is lost, as if nothing was marked.
        write: receives a line for everything that a training set lacks.
    """

    def __init__(self, *, without: bool, write: Callable[[str], None]) -> None:
        self._without, self._write = without, write
        self._trees: dict[Path, SessionTree] = {}
        self._unknown: set[tuple[Path, str]] = set()
        self.missing: list[str] = []  # what the training set lacks, one line each

    def of(self, bag: Path, branch_id: str) -> SessionTree:
        """Return the tree of a bag's session.

        Raises:
            BagError: the session's tree is missing or cannot be read.
        """
        session = bag.parent.parent
        if session not in self._trees:
            self._trees[session] = self._read(session, bag.parent)
        tree = self._trees[session]
        if tree.labels and branch_id not in tree.labels:
            if (session, branch_id) not in self._unknown:
                self._report(f"{session / TREE_FILE} does not contain branch {branch_id}: its "
                             "labels, discards and rollback marks are unknown")
            self._unknown.add((session, branch_id))
        return tree

    def _read(self, session: Path, bags: Path) -> SessionTree:
        path = session / TREE_FILE
        try:
            if not path.exists():
                if not any(_saw_tree(bag) for bag in sorted(bags.iterdir())):
                    return SessionTree()  # no branch manager ran
                raise BagError("the session's tree is missing", where=str(path))
            with BranchReader(path) as reader:
                nodes = reader.tree()
        except HiwmError as error:
            if not self._without:
                raise BagError(
                    f"labels, discards and rollback marks are lost: {error.what}",
                    where=str(path),
                    remedy="restore the file from a copy, or leave this session out; "
                    "scripts/build_dataset --without-tree uses its bags without them",
                ) from error
            self._report(f"{session}: without labels, discards and rollback marks: {error.what}")
            return SessionTree()
        return SessionTree(
            provenance=tree_provenance(nodes),
            discarded=frozenset(node.branch_id for node in nodes if node.discarded),
            labels={node.branch_id: int(node.label) for node in nodes},
        )

    def _report(self, line: str) -> None:
        self.missing.append(line)
        self._write(line)


def _saw_tree(bag: Path) -> bool:
    """Return whether a bag contains a branch manager's tree, or its branch has a parent.

    False for a bag with unreadable metadata; the bag's reader reports it.
    """
    try:
        data = yaml.load((bag / METADATA_FILE).read_text(), Loader=yaml.CSafeLoader)
        information = data["rosbag2_bagfile_information"]
        recorded = any(
            entry["topic_metadata"]["name"].endswith(_TREE_TOPIC) and entry["message_count"]
            for entry in information["topics_with_message_count"]
        )
        custom = information.get("custom_data") or {}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return False
    return recorded or bool(custom.get("hiwm.parent_branch_id"))
