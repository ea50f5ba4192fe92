"""The tree of `hiwm_core.branch_store` as messages, and ticks as its records."""

from builtin_interfaces.msg import Time
from hiwm_interfaces.msg import Branch, BranchNode, BranchTree, Tick, WorldInfo

from hiwm_core import branch_records as records
from hiwm_core.branch_records import Node, SessionRecord, TickRecord, TreePage
from hiwm_core.stamps import stamp_ns
from hiwm_nodes.messages import time_message


def tick_record(tick: Tick) -> TickRecord:
    """Return the tree's record of a tick."""
    return TickRecord(
        stamp_ns=stamp_ns(tick.header.stamp),
        epoch=tick.epoch,
        step=tick.step,
        episode_id=tick.episode_id,
        branch_id=tick.branch_id,
        started_from=tick.started_from,
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
        note=node.node_note,
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
        label=branch.label,
        note=branch.note,
        labelled_by=branch.labelled_by,
        labelled_at=time_message(branch.labelled_ns),
        discarded=branch.discarded,
    )


def tree_message(page: TreePage, *, session_id: str, stamp: Time) -> BranchTree:
    """Return a page of the tree's changes as a message."""
    message = BranchTree(
        session_id=session_id,
        since=page.since,
        revision=page.revision,
        latest=page.latest,
        head_id=page.head_id,
        branches=[branch_message(branch) for branch in page.branches],
        nodes=[node_message(node) for node in page.nodes],
    )
    message.header.stamp = stamp
    return message
