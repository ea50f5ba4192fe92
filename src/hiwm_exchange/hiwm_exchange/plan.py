"""Which bags make which episode of an exported set: one for each segment, or for each path.

A path leads from the start of an episode to the end of a branch that nothing forks from. Steps
before a fork are those of the parent branch. A discarded branch ends no path; its steps before a
fork belong to the branch that was kept. Only the bags' metadata are read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hiwm_core.bags import Lineage
from hiwm_core.bags.metadata import read_information
from hiwm_core.errors import BagError

EpisodesPer = Literal["segment", "path"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One bag of an episode."""

    bag: Path
    before_step: int | None = None  # only the steps before this one; all when None
    is_discarded: bool = False  # as a branch: the steps before a fork count all the same


Entry = tuple[Part, ...]  # of one episode, in order


@dataclass(frozen=True, kw_only=True)
class _Branch:
    bags: list[tuple[int, int, Path]]  # epoch, part, bag
    parent: str
    fork_step: int
    is_discarded: bool


def segment_plan(bags: Sequence[Path]) -> list[Entry]:
    """Return one episode for each bag."""
    return [(Part(bag=bag),) for bag in bags]


def path_plan(
    bags: Sequence[Path], is_discarded: Callable[[Path, str], bool], write: Callable[[str], None]
) -> list[Entry]:
    """Return one episode for each path from a root to a leaf of the recorded branches.

    Args:
        bags: of any number of sessions.
        is_discarded: whether a person discarded the branch of a bag.
        write: receives a line for each bag or path that is left out.
    """
    trees: dict[tuple[str, str], dict[str, _Branch]] = {}
    for bag in bags:
        try:
            lineage = Lineage.from_custom_data(read_information(bag).get("custom_data") or {})
        except (BagError, ValueError) as error:
            write(f"left out {bag.name}: {error}")
            continue
        tree = trees.setdefault((lineage.session_id, lineage.episode_id), {})
        branch = tree.setdefault(lineage.branch_id, _Branch(
            bags=[], parent=lineage.parent_branch_id, fork_step=lineage.fork_step,
            is_discarded=is_discarded(bag, lineage.branch_id),
        ))
        branch.bags.append((lineage.epoch, lineage.part, bag))
    plan: list[Entry] = []
    for tree in trees.values():
        inner = _ancestors(tree)
        for name, branch in tree.items():
            if name in inner:
                continue
            if branch.is_discarded:
                for _, _, bag in branch.bags:
                    write(f"left out {bag.name}: its branch was discarded")
            else:
                entry = _path(tree, name, write)
                if entry:
                    plan.append(entry)
    return plan


def _ancestors(tree: dict[str, _Branch]) -> set[str]:
    """Return the branches that a kept branch comes from."""
    found: set[str] = set()
    for branch in tree.values():
        name = "" if branch.is_discarded else branch.parent
        while name and name not in found:
            found.add(name)
            name = tree[name].parent if name in tree else ""
    return found


def _path(tree: dict[str, _Branch], leaf: str, write: Callable[[str], None]) -> Entry:
    """Return the bags from the root to a leaf; none if a branch between is missing."""
    parts: list[Part] = []
    name, before = leaf, None
    seen: set[str] = set()
    while name:
        branch = tree.get(name)
        if branch is None or name in seen or len(branch.bags) > 1:
            why = (
                f"branch {name} was not recorded" if branch is None
                else f"branch {name} has {len(branch.bags)} bags, so steps between them are missing"
            )
            write(f"left out the path to {leaf}: {why}")
            return ()
        seen.add(name)
        parts.append(Part(bag=branch.bags[0][2], before_step=before,
                          is_discarded=branch.is_discarded))
        name, before = branch.parent, branch.fork_step
    return tuple(reversed(parts))
