"""The records of the branch tree, shared by store, proposals, drawing and nodes.

They match hiwm_interfaces/BranchNode.msg and Branch.msg, as tested by the parity test of
`hiwm_branching.tree_messages`.
"""

from __future__ import annotations

import enum
import math
import time
from dataclasses import dataclass

from hiwm_core.control import Source


class Label(enum.StrEnum):
    """The labels of a branch that every task has. A task may list more, so labels are texts."""

    NONE = ""
    SUCCESS = "success"
    FAILURE = "failure"


class BranchKind(enum.StrEnum):
    """How a branch started."""

    RESET = "reset"
    ROLLBACK = "rollback"
    FORK = "fork"


@dataclass(frozen=True, kw_only=True)
class TickRecord:
    """The fields of a Tick that the tree stores. Stamp in ns; `action` in embodiment order, SI."""

    stamp_ns: int
    epoch: int
    step: int
    episode_id: str
    branch_id: str
    started_from: str = ""  # where the episode began, if not at a start of the world's own
    state_id: str = ""
    trust: float = 1.0
    progress: float = math.nan
    success: float = math.nan
    action: tuple[float, ...] = ()
    source: int = Source.NONE
    device: str = ""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One saved state and the action that led to it, as in BranchNode.msg.

    `takeover`: a person took control at this node. `stamp_ns` is the stamp of its tick. `label` and
    `discarded` are those of its branch, and `note` contains the branch's.
    """

    node_id: str
    parent_id: str
    episode_id: str
    branch_id: str
    epoch: int
    step: int
    state_id: str
    stamp_ns: int
    source: int
    device: str
    action: tuple[float, ...]
    trust: float
    progress: float
    success: float
    label: str
    note: str
    node_note: str = ""  # the part of `note` that is not its branch's
    pinned: bool
    rolled_back: bool
    discarded: bool
    takeover: bool


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One run of the world between reset, rollback and fork.

    `fork_node_id` is the node that it continues; empty for a reset. `parent_branch_id` is the
    branch of that node. `label` is a person's verdict, given by `labelled_by` at `labelled_ns`
    (system time; 0: no label was given).
    """

    branch_id: str
    episode_id: str
    parent_branch_id: str
    fork_node_id: str
    kind: BranchKind
    epoch: int
    label: str
    note: str
    labelled_by: str
    labelled_ns: int
    discarded: bool


@dataclass(frozen=True, kw_only=True)
class TreePage:
    """Part of a tree's changes, as in BranchTree.msg, which states how readers apply it."""

    since: int
    revision: int
    latest: int
    head_id: str
    branches: list[Branch]
    nodes: list[Node]


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """The world, task and weights that the ticks of a session came from."""

    session_id: str
    world: str
    embodiment_hash: str = ""
    task_hash: str = ""
    checkpoint_hash: str = ""
    software_version: str = ""


def later_than(other_ns: int) -> int:
    """Return the present time, or one after `other_ns` if the clock was set back since."""
    return max(time.time_ns(), other_ns + 1)


def node_name(branch_id: str, step: int) -> str:
    """Return the node id of a step on a branch."""
    return f"{branch_id}:{step}"
