"""The tree of `hiwm_core.branch_store` as messages, and ticks as its records."""

from collections.abc import Iterable

from builtin_interfaces.msg import Time
from hiwm_interfaces.msg import Branch, BranchNode, BranchTree, Tick, WorldInfo

from hiwm_core import branch_records as records
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
        note=node.note,
        pinned=node.pinned,
        rolled_back=node.rolled_back,
        takeover=node.takeover,
    )


def branch_message(branch: records.Branch) -> Branch:
    """Return a branch as a message."""
    return Branch(
        branch_id=branch.branch_id,
        episode_id=branch.episode_id,
        parent_branch_id=branch.parent_branch_id,
        fork_node_id=branch.fork_node_id,
        kind=branch.kind.value,
        epoch=branch.epoch,
        label=branch.label.name.lower() if branch.label else "",
        note=branch.note,
        discarded=branch.discarded,
    )


def tree_message(
    nodes: Iterable[Node],
    branches: Iterable[records.Branch],
    *,
    session_id: str,
    since: int,
    revision: int,
    head_id: str,
    stamp: Time,
) -> BranchTree:
    """Return a message of the nodes and branches that changed after `since`."""
    message = BranchTree(
        session_id=session_id,
        since=since,
        revision=revision,
        latest=revision,
        head_id=head_id,
        branches=[branch_message(branch) for branch in branches],
        nodes=[node_message(node) for node in nodes],
    )
    message.header.stamp = stamp
    return message
