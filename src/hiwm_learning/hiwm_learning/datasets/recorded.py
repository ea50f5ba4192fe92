"""Reads the usable bags of some folders one by one, with labels, provenance and control period."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags import Segment
from hiwm_core.bags.resample import segment_period
from hiwm_core.embodiment import Embodiment
from hiwm_core.provenance import Provenance, assign
from hiwm_learning.datasets.episodes import EpisodeInfo
from hiwm_learning.datasets.periods import OnePeriod
from hiwm_learning.datasets.session_trees import SessionTrees
from hiwm_learning.datasets.usable_segments import usable_segment

# Codes of the provenance column: positions in `Provenance`, whose order never changes.
_CODES = {provenance: code for code, provenance in enumerate(Provenance)}


@dataclass(frozen=True, kw_only=True)
class RecordedEpisode:
    """One bag as an episode of a training set."""

    info: EpisodeInfo
    segment: Segment
    columns: dict[str, NDArray[Any]]  # as `EpisodeWriter.add` takes them


class RecordedEpisodes:
    """Reads bags of one embodiment and one control period.

    Args:
        embodiment: of every bag; the first bag's when None.
        resample_hz: resample every segment to this control rate; None refuses mixed rates.
        without_tree: use the bags of a session whose tree is lost, as if nothing was marked.
        write: receives progress lines.

    Attributes:
        left_out: the bags that were left out, with the reason, one line each.
        missing: marks that are lost, one line each.
    """

    def __init__(
        self, *, embodiment: Embodiment | None, resample_hz: float | None, without_tree: bool,
        write: Callable[[str], None],
    ) -> None:
        self.left_out: list[str] = []
        self._embodiment, self._write = embodiment, write
        self._periods = OnePeriod(resample_hz)
        self._trees = SessionTrees(without=without_tree, write=write)

    @property
    def missing(self) -> list[str]:
        """Marks that are lost, one line each."""
        return self._trees.missing

    def is_discarded(self, bag: Path, branch_id: str) -> bool:
        """Return whether a person discarded a bag's branch.

        Raises:
            BagError: the session's tree is lost.
        """
        return branch_id in self._trees.of(bag, branch_id).discarded

    def read(self, bags: Sequence[Path]) -> Iterator[tuple[int, RecordedEpisode]]:
        """Yield number and content of each usable bag; the others go to `left_out`.

        Raises:
            BagError: bags of several embodiments or control periods, or a session's tree is lost.
        """
        for number, bag in enumerate(bags):
            episode = self.episode(bag)
            if episode is not None:
                yield number, episode

    def episode(self, bag: Path) -> RecordedEpisode | None:
        """Return a bag as an episode, or None if it is left out; for errors see `read`."""
        segment = self.segment(bag)
        return None if segment is None else next(iter(self.path([segment])), None)

    def segment(self, bag: Path, *, also_discarded: bool = False) -> Segment | None:
        """Return a bag as recorded, or None if it is left out; for errors see `read`.

        Args:
            bag: its folder.
            also_discarded: use it although a person discarded its branch.
        """
        segment = usable_segment(bag, self._embodiment, self.leave_out)
        if segment is None:
            return None
        self._embodiment = self._embodiment or segment.embodiment
        branch = segment.lineage.branch_id
        tree = self._trees.of(bag, branch)
        if branch in tree.discarded and not also_discarded:
            self.leave_out(f"{bag.name}: its branch was discarded")
            return None
        if segment.length < 2:
            self.leave_out(f"{bag.name}: only one tick, so no action")
            return None
        return segment

    def path(self, segments: Sequence[Segment]) -> list[RecordedEpisode]:
        """Return segments of one path through the tree, at the control period; none if too short.

        Raises:
            BagError: see `read`.
        """
        admitted = self._periods.admit_path(segments)
        if sum(segment.length for segment in admitted) < 2:
            self.leave_out(f"{segments[-1].path.name}: only one tick, so no action")
            return []
        found = []
        for segment in admitted:
            branch = segment.lineage.branch_id
            label = self._trees.label(segment.path, branch).label
            provenance = self._trees.of(segment.path, branch).provenance
            found.append(RecordedEpisode(
                info=_info(segment, label), segment=segment,
                columns=_columns(segment, provenance),
            ))
        return found

    def leave_out(self, text: str) -> None:
        """Count and name something that is left out."""
        self.left_out.append(text)
        self._write(f"left out {text}")


def _provenance(
    segment: Segment, tree: Mapping[str, Provenance]
) -> NDArray[np.uint8]:
    branch = segment.lineage.branch_id
    names = [f"{branch}:{step + 1}" for step in segment.steps]
    assigned = assign([int(source) for source in segment.source], names, tree)
    return np.array([_CODES[provenance] for provenance in assigned], np.uint8)


def _info(segment: Segment, label: str) -> EpisodeInfo:
    lineage, period = segment.lineage, segment_period(segment)
    return EpisodeInfo(
        bag=segment.path.name, session_id=lineage.session_id, episode_id=lineage.episode_id,
        branch_id=lineage.branch_id, parent_branch_id=lineage.parent_branch_id,
        fork_step=lineage.fork_step, world=lineage.world, stand_in=lineage.stand_in,
        task=lineage.task, task_hash=lineage.task_hash,
        label=label, robot=lineage.robot,
        period_s=period.nominal_s, measured_period_s=period.seconds,
    )


def _columns(
    segment: Segment, tree: Mapping[str, Provenance]
) -> dict[str, NDArray[Any]]:
    return {
        **{f"images/{name}": images for name, images in segment.observations.items()},
        "proprio": segment.proprio,
        "actions": segment.actions,
        "source": segment.source,
        "provenance": _provenance(segment, tree),
        "steps": segment.steps,
        "trust": segment.trust,
        "progress": segment.progress,
        "success": segment.success,
    }
