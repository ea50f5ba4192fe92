"""An operator's work in a session and its robot time, from the session's tree."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import Label, Node
from hiwm_core.control import Source
from hiwm_core.provenance import Provenance, tree_provenance


def operator_session(
    session: Path, rate_hz: float, *, branching: bool, on_robot: bool
) -> dict[str, Any]:
    """Return a session as an `operator` entry of study.json.

    A correction is a branch with human frames. Operator seconds are these frames at the control
    rate, the time that a person would need, however fast the session ran. Robot seconds include
    all ticks, also the policy's. Every episode has one reset.

    Args:
        session: its folder.
        rate_hz: control rate of the embodiment.
        branching: whether failure states were continued more than once.
        on_robot: whether it ran on a robot or its stand-in.
    """
    with BranchReader(session / "tree.sqlite") as reader:
        nodes = reader.tree(include_discarded=False)
    found = tree_provenance(nodes)
    driven = [node for node in nodes if found[node.node_id] is Provenance.HUMAN]
    labels = {node.branch_id: node.label for node in driven}
    return {
        "session": session.name, "operator": "scripted", "branching": branching,
        "seconds": round(len(driven) / rate_hz, 1), "frames": len(driven),
        "corrections": len(labels), "failure_states": len(_failure_states(nodes, set(labels))),
        "succeeded": sum(label == Label.SUCCESS for label in labels.values()),
        "robot_seconds": round(len(nodes) / rate_hz, 1) if on_robot else 0.0,
        "resets": len({node.episode_id for node in nodes}) if on_robot else 0,
    }


def attended_ticks(session: Path, frames: int) -> int:
    """Return a session's ticks until its operator had driven a number of frames.

    They include the policy's ticks, at which the operator watches.
    """
    with BranchReader(session / "tree.sqlite") as reader:
        nodes = reader.tree(include_discarded=False)
    found = tree_provenance(nodes)
    driven = 0
    for ticks, node in enumerate(nodes, 1):
        driven += found[node.node_id] is Provenance.HUMAN
        if driven >= frames:
            return ticks
    return len(nodes)


def _failure_states(nodes: Sequence[Node], corrected: set[str]) -> set[str]:
    """Return the states at which corrected branches start: forks and takeovers."""
    by_id = {node.node_id: node for node in nodes}
    states = set()
    for node in nodes:
        before = by_id.get(node.parent_id)
        if before is None or node.branch_id not in corrected:
            continue
        taken_over = node.source in (Source.HUMAN, Source.HANDBACK) and before.source not in (
            Source.HUMAN, Source.HANDBACK
        )
        if before.branch_id != node.branch_id or taken_over:
            states.add(before.node_id)
    return states
