"""The tree of `hiwm_core.branch_store` as messages, and ticks as its records."""

from collections.abc import Iterable

from builtin_interfaces.msg import Time
from hiwm_interfaces.msg import BranchNode, BranchTree, Tick, WorldInfo

from hiwm_core.branch_records import Node, SessionRecord, TickRecord
from hiwm_core.stamps import stamp_ns


def tick_record(tick: Tick) -> TickRecord:
    """Return the tree's record of a tick."""
    return TickRecord(
        stamp_ns=stamp_ns(tick.header.stamp),
        epoch=tick.epoch,
        step=tick.step,
        episode_id=tick.episode_id,
        branch_id=tick.branch_id,
        state_id=tick.state_id,
        trust=tick.trust,
        progress=tick.progress,
        success=tick.success,
        action=tuple(tick.applied_action),
        source=tick.applied_source,
        device=tick.applied_device,
    )


def session_record(info: WorldInfo, session_id: str) -> SessionRecord:
    """Return the tree's record of a session and its world."""
    return SessionRecord(
        session_id=session_id,
        world=f"{info.kind}:{info.robot}" if info.robot else info.kind,
        embodiment_hash=info.embodiment_hash,
        task_hash=info.task_hash,
        checkpoint_hash=info.checkpoint_hash,
        software_version=info.software_version,
    )


def node_message(node: Node) -> BranchNode:
    """Return a node as a message."""
    return BranchNode(
        node_id=node.node_id,
        parent_id=node.parent_id,
        episode_id=node.episode_id,
        branch_id=node.branch_id,
        epoch=node.epoch,
        step=node.step,
        state_id=node.state_id,
        source=node.source,
        device=node.device,
        action=node.action,
        trust=node.trust,
        progress=node.progress,
        success=node.success,
        label=node.label,
        note=node.note,
        pinned=node.pinned,
        rolled_back=node.rolled_back,
        discarded=node.discarded,
    )


def tree_message(
    nodes: Iterable[Node],
    *,
    session_id: str,
    revision: int,
    full: bool,
    head_id: str,
    stamp: Time,
) -> BranchTree:
    """Return a message of tree nodes; `full` marks the whole tree."""
    message = BranchTree(
        session_id=session_id,
        revision=revision,
        full=full,
        head_id=head_id,
        nodes=[node_message(node) for node in nodes],
    )
    message.header.stamp = stamp
    return message
