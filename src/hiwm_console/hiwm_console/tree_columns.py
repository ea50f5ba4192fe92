"""The tree as sent to a page: columns per run, a tenth of the size of one object per node."""

import math
from typing import Any

from hiwm_core.branch_records import Node, TreePage

# Bits of a node's flag, written as one hexadecimal digit.
PINNED, ROLLED_BACK, TAKEOVER, HAS_STATE = 1, 2, 4, 8


def tree_columns(page: TreePage) -> dict[str, Any]:
    """Return the nodes and branches of one page of the tree's changes.

    A run is a sequence of nodes with consecutive steps on one branch: `source` and `flags` have one
    digit per node; `trust`, `progress` and `success` are in percent, -1 unknown. A node's id is
    `<branch>:<step>`.
    """
    runs: list[dict[str, Any]] = []
    last: Node | None = None
    for node in sorted(page.nodes, key=lambda node: (node.branch_id, node.step)):
        if last is None or node.branch_id != last.branch_id or node.step != last.step + 1:
            runs.append({
                "branch": node.branch_id, "step": node.step, "source": [], "flags": [],
                "trust": [], "progress": [], "success": [],
            })
        run, last = runs[-1], node
        flags = (
            PINNED * node.pinned | ROLLED_BACK * node.rolled_back | TAKEOVER * node.takeover
            | HAS_STATE * bool(node.state_id)
        )
        run["source"].append(str(node.source))
        run["flags"].append(f"{flags:x}")
        for key, value in (
            ("trust", node.trust), ("progress", node.progress), ("success", node.success)
        ):
            run[key].append(-1 if math.isnan(value) else round(100 * value))
    for run in runs:
        run["source"], run["flags"] = "".join(run["source"]), "".join(run["flags"])
    return {
        "type": "tree", "since": page.since, "revision": page.revision, "latest": page.latest,
        "head": page.head_id,
        "branches": [
            {
                "id": branch.branch_id, "episode": branch.episode_id, "from": branch.fork_node_id,
                "kind": branch.kind.value, "label": branch.label, "note": branch.note,
                "discarded": branch.discarded,
            }
            for branch in page.branches
        ],
        "runs": runs,
    }
