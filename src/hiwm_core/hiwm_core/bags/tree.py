"""The session's tree as its bags tell it: training sets are built from bags alone."""

from pathlib import Path
from typing import Any

from hiwm_core.bags.audit import mcap_path
from hiwm_core.bags.mcap_file import decoded, read_mcap
from hiwm_core.bags.recover import session_bags


def session_tree(session_dir: Path) -> dict[str, Any]:
    """Return the newest state of every node of a session, by node id.

    Args:
        session_dir: folder with the session's bags.

    Returns:
        BranchNode messages: `source`, `rolled_back`, `label` and so on as last published. Empty
        where no branch manager ran.

    Raises:
        BagError: a bag cannot be read.
    """
    trees: list[tuple[int, Any]] = []
    for bag in session_bags(session_dir):
        for message in read_mcap(mcap_path(bag)).messages:
            if message.channel.topic.endswith("/branches/tree"):
                trees.append((message.time_ns, decoded(message)))
    nodes: dict[str, Any] = {}
    for _, tree in sorted(trees, key=_order):
        if tree.full:
            nodes.clear()
        for node in tree.nodes:
            nodes[node.node_id] = node
    return nodes


def _order(entry: tuple[int, Any]) -> tuple[int, int]:
    # A branch manager that resumed a session counts on from where it was.
    return int(entry[1].revision), entry[0]
