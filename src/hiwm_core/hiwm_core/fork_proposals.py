"""Which states of a session are worth a correction: the starts for more continuations.

A good start lies a little *before* things go wrong, in a frame that can still be believed. So every
node looks ahead along its continuations, and scores by what the policy ran into there: trust
falling, progress falling, a person taking over. What a person did afterwards says nothing against a
state, so only steps of the policy (or of nobody) count. `test_fork_proposals.py` holds it;
`branches/propose` shows it to people.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hiwm_core.branch_records import Label, Node
from hiwm_core.control import Source

# Sirius calls the 15 steps before a takeover pre-intervention; we look ahead as far for all three.
WINDOW_STEPS = 15
# A takeover comes after a person has seen the trouble and reacted: about half a second at 10 Hz.
_REACTION_STEPS = 5
# A fall of this much counts in full; smaller ones in proportion.
_FULL_TRUST_FALL = 0.5
_FULL_PROGRESS_FALL = 0.3
# Falls below this are noise of the heads.
_LEAST_FALL = 0.05
# A person's own verdict weighs more than any head's number.
_TAKEOVER_WEIGHT = 0.9
_TRUST_WEIGHT = 0.7
_PROGRESS_WEIGHT = 0.7
# A state already corrected is still a candidate, behind an equal one that was not.
_CORRECTED_FACTOR = 0.5


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A state worth a correction, how much (0..1), and why, for people."""

    node_id: str
    score: float
    reason: str


@dataclass(kw_only=True)
class _Ahead:
    """The worst a node's continuations met within the window."""

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
    """For every node, the worst within `WINDOW_STEPS` of its continuations."""
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
    """Nodes above, with their distance, while the policy led from there down to `node`."""
    below = node
    for distance in range(1, WINDOW_STEPS + 1):
        above = by_id.get(below.parent_id)
        if above is None or below.source not in (Source.POLICY, Source.NONE):
            return
        yield distance, above
        below = above


def _taken_over(node: Node, continuations: Iterable[Node]) -> bool:
    """Whether a person took control here, after the policy had led here."""
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
    """Score a node, or None where nothing speaks for it."""
    met = ahead.get(node.node_id)
    if met is None:
        return None
    trust_fall = max(0.0, node.trust - met.lowest_trust)
    progress_fall = max(0.0, node.progress - met.lowest_progress)  # NaN compares as no fall
    parts: list[tuple[float, str]] = []
    if trust_fall >= _LEAST_FALL:
        share = min(1.0, trust_fall / _FULL_TRUST_FALL)
        text = f"low trust: {node.trust:.2f} falls to {met.lowest_trust:.2f}"
        parts.append((_TRUST_WEIGHT * share * _nearness(met.trust_steps), text))
    if progress_fall >= _LEAST_FALL:
        share = min(1.0, progress_fall / _FULL_PROGRESS_FALL)
        text = f"falling progress: {node.progress:.2f} to {met.lowest_progress:.2f}"
        parts.append((_PROGRESS_WEIGHT * share * _nearness(met.progress_steps), text))
    if met.takeover_steps is not None:
        share = 1.0 - abs(met.takeover_steps - _REACTION_STEPS) / (WINDOW_STEPS + 1)
        steps = f"{met.takeover_steps} steps before" if met.takeover_steps else "at"
        parts.append((_TAKEOVER_WEIGHT * share, f"{steps} a takeover"))
    if not parts:
        return None
    parts.sort(reverse=True)
    doubt = math.prod(1.0 - score for score, _ in parts)
    score = (1.0 - doubt) * (node.trust if math.isfinite(node.trust) else 1.0)
    reason = ", ".join(text for _, text in parts)
    if node.label == Label.FAILURE:
        reason += ", on a failure"
    if any(child.branch_id != node.branch_id for child in children.get(node.node_id, [])):
        score *= _CORRECTED_FACTOR
        reason += ", already continued"
    return Proposal(node_id=node.node_id, score=min(1.0, max(0.0, score)), reason=reason)


def _nearness(steps: int) -> float:
    """Weight of trouble that many steps ahead: in full up to the reaction, half at the window."""
    return 1.0 - 0.5 * max(0, steps - _REACTION_STEPS) / (WINDOW_STEPS - _REACTION_STEPS)


def _within(
    node_id: str, steps: int, by_id: dict[str, Node], children: dict[str, list[Node]]
) -> set[str]:
    """Nodes at most `steps` edges away, in any direction, with the node itself."""
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
