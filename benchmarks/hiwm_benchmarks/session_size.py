"""What a session takes on disk for each of its ticks.

    scripts/bench session_size SESSION
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from hiwm_core.branch_reader import BranchReader
from hiwm_core.errors import HiwmError
from hiwm_core.user_paths import path_argument


def session_size(session: Path) -> dict[str, float]:
    """Return the ticks and episodes of a session, and the bytes for each tick of its parts.

    Raises:
        StoreError: the folder has no tree.
    """
    with BranchReader(session / "tree.sqlite") as reader:
        nodes = reader.tree()
        episodes = len({node.episode_id for node in nodes})
    ticks = max(1, len(nodes))
    tree = sum(path.stat().st_size for path in session.glob("tree.sqlite*"))
    return {
        "ticks": len(nodes), "episodes": episodes,
        "bags_bytes_per_tick": round(_bytes(session / "bags") / ticks),
        "states_bytes_per_tick": round(_bytes(session / "states") / ticks),
        "tree_bytes_per_tick": round(tree / ticks),
    }


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(words: Sequence[str] | None = None) -> int:
    """Print the sizes as JSON; return 1 after an error."""
    parser = argparse.ArgumentParser(prog="scripts/bench session_size", description=__doc__)
    parser.add_argument("session", type=path_argument)
    try:
        print(json.dumps(session_size(parser.parse_args(words).session)))
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
