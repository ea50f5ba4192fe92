"""Reads labels, discarded branches and rollback marks of bags: the session's tree and labels."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hiwm_core.bags.metadata import METADATA_FILE
from hiwm_core.bags.recover import session_bags, session_of
from hiwm_core.branch_reader import BranchReader
from hiwm_core.episode_labels import EpisodeLabel, label_of, labels_state, tree_labels
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.provenance import Provenance, tree_provenance

TREE_FILE = "tree.sqlite"
_TREE_TOPIC = "/branches/tree"


@dataclass(frozen=True, kw_only=True)
class SessionTree:
    """Contents of a session's tree; empty if no branch manager ran, or if it is lost."""

    provenance: Mapping[str, Provenance] = field(default_factory=dict)  # by node id
    discarded: frozenset[str] = frozenset()  # branches
    labels: Mapping[str, EpisodeLabel] = field(default_factory=dict)  # by branch
    was_read: bool = False  # from a file, which should contain every branch of the session


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
            BagError: the session's tree is missing, has lost its states, or cannot be read.
        """
        session = session_of(bag)
        if session not in self._trees:
            self._trees[session] = self._read(session, bag.parent)
        tree = self._trees[session]
        if tree.was_read and branch_id not in tree.labels:
            if (session, branch_id) not in self._unknown:
                self._report(f"{session / TREE_FILE} does not contain branch {branch_id}: its "
                             "labels, discards and rollback marks are unknown")
            self._unknown.add((session, branch_id))
        return tree

    def label(self, bag: Path, branch_id: str) -> EpisodeLabel:
        """Return the label that counts for a bag; reports one that is stale or unreadable.

        Raises:
            BagError: see `of`.
        """
        label, problem = label_of(bag, self.of(bag, branch_id).labels.get(branch_id))
        if problem:
            self._report(f"{bag.name}: without its label: {problem}")
        return label

    def _read(self, session: Path, bags: Path) -> SessionTree:
        path = session / TREE_FILE
        try:
            nodes, labels = [], {}
            if exists := path.exists():
                with BranchReader(path) as reader:
                    nodes, labels = reader.tree(), tree_labels(reader)
            if not nodes and any(_saw_tree(bag) for bag in sorted(bags.iterdir())):
                state = "has no states" if exists else "is missing"
                raise BagError(f"the session's tree {state}", where=str(path))
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
            labels=labels, was_read=exists,
        )

    def _report(self, line: str) -> None:
        self.missing.append(line)
        self._write(line)


def tree_state(session: Path) -> str:
    """Return a digest of what is said of a session's bags; every mark and label changes it.

    The file's size and time are not enough: SQLite keeps recent changes in a second file.
    """
    beside = labels_state(session_bags(session))
    try:
        with BranchReader(session / TREE_FILE) as reader:
            nodes = reader.tree()
    except HiwmError as error:
        return f"{error.what} {beside}"  # building refuses it, unless no branch manager ran
    marks = [
        (node.node_id, node.parent_id, int(node.source), node.rolled_back, node.discarded,
         node.label) for node in nodes
    ]
    return hashlib.sha256(repr((marks, beside)).encode()).hexdigest()


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
        return recorded or bool(custom.get("hiwm.parent_branch_id"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return False
