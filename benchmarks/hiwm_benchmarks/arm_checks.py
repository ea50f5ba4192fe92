"""The time of the last checks before a command of two six-joint arms is sent, without a graph."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hiwm_core.limits import Limiter
from hiwm_core.robots.safety import Box, Workspace
from hiwm_core.workspace_check import WorkspaceCheck
from hiwm_test_support.arms import two_arms, two_arms_urdf

from .rows import Measured, quantile

COMMANDS = 5000
MOVING = ("upper_arm", "forearm", "wrist", "hand")
LARGEST_REQUEST = 0.4  # of each entry in a tick; above the velocity limit


def measure_arm_checks(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the time of limits, workspace and collision check of one command.

    The arms walk at random about a configuration from which they reach box, table and each other.
    Arguments as in `measure`; none is used.
    """
    del launch_file, folder, repeats, more
    embodiment = two_arms()
    limiter = Limiter(embodiment)
    with tempfile.TemporaryDirectory() as scratch:
        urdf = Path(scratch) / "arms.urdf"
        urdf.write_text(two_arms_urdf())
        check = WorkspaceCheck(_workspace(str(urdf)), embodiment, "two_arms.yaml")
    rng = np.random.default_rng(0)
    position, state = np.zeros(embodiment.action_dim), limiter.initial_state()
    waits, used, held = [], [], 0
    for _ in range(COMMANDS):
        request = position * 0.9 + rng.uniform(-LARGEST_REQUEST, LARGEST_REQUEST, position.shape)
        start, spent = time.perf_counter(), time.thread_time()
        result = limiter.limit(request, position, state)
        problem = check.problem(result.action, position)
        used.append(1e3 * (time.thread_time() - spent))
        waits.append(1e3 * (time.perf_counter() - start))
        state = limiter.initial_state() if problem else result.state
        position = position if problem else result.action
        held += bool(problem)
    return {
        "limits_and_collisions": Measured(
            value=quantile(waits, 0.99),
            details={
                "p50": quantile(waits, 0.5), "worst": max(waits),
                # Other load on the machine does not change these.
                "cpu p50": quantile(used, 0.5), "cpu p99": quantile(used, 0.99),
                "commands": COMMANDS, "held": held,
            },
        )
    }


def _workspace(urdf: str) -> Workspace:
    """Return eight links in a box and above a table, and sixteen pairs of links."""
    return Workspace(
        urdf=urdf, links=tuple(f"{arm}_{link}" for arm in ("left", "right") for link in MOVING),
        box=Box(lower=(-0.3, -0.8, 0.0), upper=(0.75, 0.8, 0.9)), table_z_m=0.0,
        pairs=tuple((f"left_{a}", f"right_{b}") for a in MOVING for b in MOVING),
        clearance_m=0.03,
    )
