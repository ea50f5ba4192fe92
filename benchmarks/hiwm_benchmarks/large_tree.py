"""A session whose tree has a million states: how fast it opens and rolls back.

The states are of earlier episodes, and only in the tree. The session that continues it is real:
world, policy, arbiter, branch manager and console run as in any other.
"""

import itertools
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from hiwm_interfaces.msg import Command

from hiwm_core.branch_database import open_database
from hiwm_core.branch_reader import BranchReader
from hiwm_core.errors import HiwmError
from hiwm_core.ros_domains import domain_id
from hiwm_test_support.headless_browser import Browser

from .console import PAGE
from .graph import Graph
from .rows import Measured, quantile
from .watcher import Watcher

STATES = 1_000_000
LENGTH, BRANCHES = 250, 4  # of an episode: states of each branch, and branches
ROLLBACK_STEPS = 5
_PAGE_S = 600.0  # of waiting for the page


def write_large_tree(path: Path, states: int) -> None:
    """Write a tree of episodes, each with a first branch and forks from its middle."""
    connection = open_database(path, read_only=False)
    numbers = itertools.count(1)
    action = np.zeros(4).tobytes()

    def nodes() -> Iterator[tuple[object, ...]]:
        for index in range(states):
            place, step = divmod(index, LENGTH)
            episode, branch = f"old_{place // BRANCHES:06d}", place % BRANCHES
            name = f"{episode}-b{branch:03d}"
            # A fork continues from the middle of the first branch.
            at = step + LENGTH // 2 + 1 if branch else step
            if step == 0:
                parent = f"{episode}-b000:{LENGTH // 2}" if branch else ""
                connection.execute(
                    "INSERT INTO branches (branch_id, episode_id, parent_branch_id, fork_node_id, "
                    "kind, epoch, revision) VALUES (?, ?, ?, ?, ?, 1, ?)",
                    (name, episode, f"{episode}-b000" if branch else "", parent,
                     "fork" if branch else "reset", next(numbers)),
                )
            else:
                parent = f"{name}:{at - 1}"
            yield (
                f"{name}:{at}", parent, episode, name, 1, at, f"{index:032x}", index, 1, "old",
                action, 0.9, 0.5, 0.1, next(numbers),
            )

    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO nodes (node_id, parent_id, episode_id, branch_id, epoch, step, state_id, "
        "stamp_ns, source, device, action, trust, progress, success, revision) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", nodes(),
    )
    connection.execute("UPDATE meta SET revision = ?", (next(numbers),))
    connection.execute("COMMIT")
    connection.close()


def measure_large_tree(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Measure opening the console's page, and rollbacks by service and in the page.

    Raises:
        HiwmError: the graph did not start, or the page failed.
    """
    session = folder / "large_tree"
    session.mkdir(parents=True)
    started = time.perf_counter()
    write_large_tree(session / "tree.sqlite", STATES)
    written = time.perf_counter() - started
    domain = domain_id()
    arguments = {
        "session_dir": str(session), "world": "imagination", "rate": "10.0", "device": "none",
        "view": "false", "console": "true", "console_port": "0", **more,
    }
    with (
        Graph(launch_file, arguments, domain, folder / "large_tree.log") as graph,
        Watcher(graph, domain, arguments.get("ns", "hiwm")) as watcher,
    ):
        watcher.until_running(Command.SOURCE_POLICY)
        rollbacks = _rollbacks(watcher, repeats)
        found = PAGE.search(graph.log.read_text())
        if found is None:
            raise HiwmError("the console printed no address", where=str(graph.log))
        with Browser() as browser:
            shown = browser.open("about:blank")
            shown.go(found[1])
            shown.until("hiwm.view.painted && !!hiwm.tree.node(hiwm.tree.head)", _PAGE_S)
            opened = float(shown.run("hiwm.view.painted")) / 1e3
            # The rest of the tree arrives while the page is used.
            meanwhile = _rollbacks(watcher, max(2, repeats // 3))
            at = int(shown.run("hiwm.tree.count"))
            shown.until(f"hiwm.tree.count >= {STATES}", _PAGE_S)
            whole = float(shown.run("performance.now()")) / 1e3
            painted = float(shown.run(
                "(() => { const at = performance.now(); hiwm.view.paint(); "
                "return performance.now() - at; })()"
            ))
            if shown.errors:
                raise HiwmError("the page failed: " + shown.errors[0], where=found[1])
    with BranchReader(session / "tree.sqlite") as reader:
        started = time.perf_counter()
        reader.page(reader.revision - 500, 500)
        paged = 1e3 * (time.perf_counter() - started)
    return {
        "large_tree_opening": Measured(
            value=opened,
            details={"whole tree s": whole, "paint ms": painted, "page of 500 ms": paged,
                     "tree written in s": written},
        ),
        "large_tree_rollback": Measured(
            value=quantile(rollbacks, 0.5),
            details={"p95": quantile(rollbacks, 0.95), "n": len(rollbacks),
                     "p50 while the page loads": quantile(meanwhile, 0.5),
                     "states in the page by then": at},
        ),
    }


def _rollbacks(watcher: Watcher, count: int) -> list[float]:
    """Return the times from call to first frame, ms."""
    found = []
    for _ in range(count):
        ticks = len(watcher.ticks) + ROLLBACK_STEPS + 1
        watcher.until(partial(_has_ticks, watcher, ticks), "ticks after a rollback")
        found.append(1e3 * watcher.roll_back(ROLLBACK_STEPS))
    return found


def _has_ticks(watcher: Watcher, ticks: int) -> bool:
    return len(watcher.ticks) >= ticks
