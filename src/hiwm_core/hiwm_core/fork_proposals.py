"""Proposes states of a session that are worth a correction, as starts of new continuations.

A good start lies shortly *before* a failure, in a frame that can still be trusted. So each node is
scored by what happened within a window of its continuations: falling trust, falling progress, or a
takeover by a person. A person's later actions do not count against a state, so only steps of the
policy (or of no source) count. Tested by `test_fork_proposals.py`; the service `branches/propose`
returns the proposals.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hiwm_core.branch_records import Label, Node
from hiwm_core.control import Source

# Sirius calls the 15 steps before a takeover pre-intervention. All three signals use this window.
WINDOW_STEPS = 15
# A takeover follows the failure by a person's reaction time, about half a second at 10 Hz.
_REACTION_STEPS = 5
# A fall of this size counts fully, a smaller one in proportion.
_FULL_TRUST_FALL = 0.5
_FULL_PROGRESS_FALL = 0.3
# Smaller falls are noise of the heads.
_MIN_FALL = 0.05
# A person's verdict weighs more than the output of a head.
_TAKEOVER_WEIGHT = 0.9
_TRUST_WEIGHT = 0.7
_PROGRESS_WEIGHT = 0.7
# A state that was already corrected ranks below an equal one that was not.
_CORRECTED_FACTOR = 0.5


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A state worth a correction, with a score (0..1) and the reason as text."""

    node_id: str
    score: float
    reason: str


@dataclass(kw_only=True)
class _Ahead:
    """The worst values in a node's continuations within the window."""

    lowest_trust: float = math.inf
    trust_steps: int = 0
    lowest_progress: float = math.inf
    progress_steps: int = 0
    takeover_steps: int | None = None


def propose_forks(
    nodes: Sequence[Node], count: int, *, separation_steps: int = WINDOW_STEPS
) -> list[Proposal]:
    """Return up to `count` states worth a correction, best first.

    `nodes`: a tree, parents before children. Discarded nodes and nodes without a saved state are
    never proposed. No two proposals lie within `separation_steps` edges of each other in the tree.
    """
    by_id = {node.node_id: node for node in nodes if not node.discarded}
    children: defaultdict[str, list[Node]] = defaultdict(list)
    for node in by_id.values():
        children[node.parent_id].append(node)
    ahead = _look_ahead(by_id, children)
    candidates = [
        proposal
        for node in by_id.values()
        if node.state_id and (proposal := _proposal(node, ahead, children))
    ]
    candidates.sort(key=lambda proposal: -proposal.score)
    chosen: list[Proposal] = []
    near: set[str] = set()
    for candidate in candidates:
        if len(chosen) >= count:
            break
        if candidate.node_id not in near:
            chosen.append(candidate)
            near |= _within(candidate.node_id, separation_steps, by_id, children)
    return chosen


def _look_ahead(
    by_id: dict[str, Node], children: dict[str, list[Node]]
) -> defaultdict[str, _Ahead]:
    """Return, for each node, the worst within `WINDOW_STEPS` of its continuations."""
    ahead: defaultdict[str, _Ahead] = defaultdict(_Ahead)
    for node in by_id.values():
        taken_over = _taken_over(node, children.get(node.node_id, []))
        if taken_over:
            ahead[node.node_id].takeover_steps = 0
        for distance, above in _upwards(node, by_id):
            entry = ahead[above.node_id]
            if node.trust < entry.lowest_trust:
                entry.lowest_trust, entry.trust_steps = node.trust, distance
            if node.progress < entry.lowest_progress:
                entry.lowest_progress, entry.progress_steps = node.progress, distance
            if taken_over and (entry.takeover_steps is None or distance < entry.takeover_steps):
                entry.takeover_steps = distance
    return ahead


def _upwards(node: Node, by_id: dict[str, Node]) -> Iterator[tuple[int, Node]]:
    """Yield the nodes above, with distance, while the policy led from there to `node`."""
    below = node
    for distance in range(1, WINDOW_STEPS + 1):
        above = by_id.get(below.parent_id)
        if above is None or below.source not in (Source.POLICY, Source.NONE):
            return
        yield distance, above
        below = above


def _taken_over(node: Node, continuations: Iterable[Node]) -> bool:
    """Return whether a person took control here from the policy."""
    return node.takeover or (
        node.source == Source.POLICY
        and any(
            child.source == Source.HUMAN and child.branch_id == node.branch_id
            for child in continuations
        )
    )


def _proposal(
    node: Node, ahead: dict[str, _Ahead], children: dict[str, list[Node]]
) -> Proposal | None:
    """Return the proposal of a node; None if it has no reason."""
    worst = ahead.get(node.node_id)
    if worst is None:
        return None
    trust_fall = max(0.0, node.trust - worst.lowest_trust)
    progress_fall = max(0.0, node.progress - worst.lowest_progress)  # NaN compares as no fall
    parts: list[tuple[float, str]] = []
    if trust_fall >= _MIN_FALL:
        share = min(1.0, trust_fall / _FULL_TRUST_FALL)
        text = f"low trust: {node.trust:.2f} falls to {worst.lowest_trust:.2f}"
        parts.append((_TRUST_WEIGHT * share * _nearness(worst.trust_steps), text))
    if progress_fall >= _MIN_FALL:
        share = min(1.0, progress_fall / _FULL_PROGRESS_FALL)
        text = f"falling progress: {node.progress:.2f} to {worst.lowest_progress:.2f}"
        parts.append((_PROGRESS_WEIGHT * share * _nearness(worst.progress_steps), text))
    if worst.takeover_steps is not None:
        share = 1.0 - abs(worst.takeover_steps - _REACTION_STEPS) / (WINDOW_STEPS + 1)
        steps = f"{worst.takeover_steps} steps before" if worst.takeover_steps else "at"
        parts.append((_TAKEOVER_WEIGHT * share, f"{steps} a takeover"))
    if not parts:
        return None
    parts.sort(reverse=True)
    remainder = math.prod(1.0 - score for score, _ in parts)
    score = (1.0 - remainder) * (node.trust if math.isfinite(node.trust) else 1.0)
    reason = ", ".join(text for _, text in parts)
    if node.label == Label.FAILURE:
        reason += ", on a failure"
    if any(child.branch_id != node.branch_id for child in children.get(node.node_id, [])):
        score *= _CORRECTED_FACTOR
        reason += ", already continued"
    return Proposal(node_id=node.node_id, score=min(1.0, max(0.0, score)), reason=reason)


def _nearness(steps: int) -> float:
    """Return the weight of an event `steps` ahead: 1 up to the reaction time, 0.5 at the window."""
    return 1.0 - 0.5 * max(0, steps - _REACTION_STEPS) / (WINDOW_STEPS - _REACTION_STEPS)


def _within(
    node_id: str, steps: int, by_id: dict[str, Node], children: dict[str, list[Node]]
) -> set[str]:
    """Return the nodes at most `steps` edges away in any direction, including the node."""
    found = border = {node_id}
    for _ in range(steps):
        border = {
            neighbour
            for name in border
            for neighbour in (
                by_id[name].parent_id,
                *(child.node_id for child in children.get(name, [])),
            )
            if neighbour in by_id
        } - found
        found = found | border
    return found
