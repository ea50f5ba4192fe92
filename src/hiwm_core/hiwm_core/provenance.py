"""The provenance of each step of a dataset: who made it, and whether it was rolled back.

Training weights depend on it (with Sirius, interventions have half of the total weight and the
steps before one almost none), so one module defines the names. It works on the session's tree
across forks: the steps of a policy before a correction may be on the parent branch.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from hiwm_core.control import Source

# Sirius (Liu et al., RSS 2023): the steps before a takeover that count as leading to it.
PRE_INTERVENTION_STEPS = 15


class Provenance(StrEnum):
    """The class of a step in a dataset. The order defines the codes in datasets: append only."""

    DEMONSTRATION = "demonstration"  # a person or expert, without a policy
    POLICY = "policy"
    HUMAN = "human"  # a person's correction, including the blend back to the policy
    PRE_INTERVENTION = "pre-intervention"  # the policy's last steps before a takeover
    ROLLED_BACK = "rolled-back"  # abandoned by a rollback, whatever its source
    NONE = "none"  # no source: a held position, or no step


_BY_SOURCE = {
    Source.NONE: Provenance.NONE,
    Source.POLICY: Provenance.POLICY,
    Source.HUMAN: Provenance.HUMAN,
    Source.DEMONSTRATION: Provenance.DEMONSTRATION,
    Source.HANDBACK: Provenance.HUMAN,
}


class StepNode(Protocol):
    """A node of the session's tree: `branch_records.Node`, or a BranchNode message."""

    @property
    def node_id(self) -> str:
        """Id: <branch>:<step>."""

    @property
    def parent_id(self) -> str:
        """Id of the previous state; empty at a root."""

    @property
    def source(self) -> int:
        """Command.SOURCE_* of the action that led from the parent to this node."""

    @property
    def rolled_back(self) -> bool:
        """Whether a rollback abandoned it."""


def line_provenance(sources: Sequence[int]) -> list[Provenance]:
    """Return the provenance of the steps of one unbroken line, from their Command.SOURCE_*.

    A takeover is the first of a person's steps; a hold before it makes no difference.
    """
    steps = [_by_source(source) for source in sources]
    for i, step in enumerate(steps):
        if step is Provenance.HUMAN and (i == 0 or steps[i - 1] is not Provenance.HUMAN):
            for before in range(max(0, i - PRE_INTERVENTION_STEPS), i):
                if steps[before] is Provenance.POLICY:
                    steps[before] = Provenance.PRE_INTERVENTION
    return steps


def tree_provenance(nodes: Iterable[StepNode]) -> dict[str, Provenance]:
    """Return the provenance of the action that led to each node, by node id.

    Lines run from each takeover towards the root, across forks. The steps before a state that was
    corrected several times are marked once.
    """
    by_id = {node.node_id: node for node in nodes}
    result = {
        name: Provenance.ROLLED_BACK if node.rolled_back else _by_source(node.source)
        for name, node in by_id.items()
    }
    for name, node in by_id.items():
        before = by_id.get(node.parent_id)
        if result[name] is not Provenance.HUMAN or (
            before is not None and _by_source(before.source) is Provenance.HUMAN
        ):
            continue
        for _ in range(PRE_INTERVENTION_STEPS):
            if before is None:
                break
            if result[before.node_id] is Provenance.POLICY:
                result[before.node_id] = Provenance.PRE_INTERVENTION
            before = by_id.get(before.parent_id)
    return result


def _by_source(source: int) -> Provenance:
    return _BY_SOURCE[Source(source)]


def assign(
    sources: Sequence[int], node_ids: Sequence[str], tree: Mapping[str, Provenance]
) -> list[Provenance]:
    """Return the provenance of a segment's actions.

    Args:
        sources: [T] Command.SOURCE_* of each action.
        node_ids: [T] node that each action led to, "<branch>:<step + 1>".
        tree: result of `tree_provenance`. For missing nodes (recorded without a branch manager),
            the segment's own line decides.
    """
    line = line_provenance(sources)
    return [tree.get(name, own) for name, own in zip(node_ids, line, strict=True)]
