"""Weights as copies: LeRobot's trainer takes every frame once, so frames that count more come more.

A run is a stretch of frames of one provenance with a weight above 0. The number of its copies
follows its mean weight. What rounding leaves over is carried to the next run of the same
provenance, so that each provenance gets its share of the set to within one run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_learning.datasets import Episodes


@dataclass(frozen=True, kw_only=True)
class Run:
    """Consecutive frames of one episode of a training set."""

    episode: int
    start: int  # of the training set's frames
    end: int  # one past the last
    weight: float  # mean
    provenance: int  # index into `Episodes.provenance_names`

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.end - self.start


def runs_of(episodes: Episodes, weights: NDArray[np.float32]) -> list[Run]:
    """Return the runs of a weighted set, in order.

    Args:
        episodes: the training set; no images are needed.
        weights: [N].
    """
    runs: list[Run] = []
    for number, (first, last) in enumerate(zip(episodes.starts, episodes.ends, strict=True)):
        kinds = np.where(weights[first:last] > 0, episodes.provenance[first:last].astype(int), -1)
        edges = np.flatnonzero(np.diff(kinds)) + 1
        bounds = [0, *edges.tolist(), len(kinds)]
        for start, end in zip(bounds[:-1], bounds[1:], strict=True):
            if end > start and kinds[start] >= 0:
                runs.append(Run(
                    episode=number, start=int(first + start), end=int(first + end),
                    weight=float(weights[first + start : first + end].mean()),
                    provenance=int(kinds[start]),
                ))
    return runs


def copies_of(runs: Sequence[Run], growth: float) -> list[int]:
    """Return how often each run is written; 0 leaves it out.

    Args:
        runs: with weights whose mean over frames is 1.
        growth: frames written for each frame learnt from.
    """
    owed: dict[int, float] = {}
    copies = []
    for run in runs:
        due = owed.get(run.provenance, 0.0) + growth * run.weight * run.length
        count = max(0, round(due / run.length))
        owed[run.provenance] = due - count * run.length
        copies.append(count)
    return copies


def realised(
    episodes: Episodes, runs: Sequence[Run], copies: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Return frames and share of each provenance: as weighted, and as written."""
    found: dict[str, dict[str, Any]] = {}
    wanted = sum(run.weight * run.length for run in runs)
    written = sum(count * run.length for run, count in zip(runs, copies, strict=True))
    for code, name in enumerate(episodes.provenance_names):
        own = [(run, count) for run, count in zip(runs, copies, strict=True)
               if run.provenance == code]
        if own:
            frames = sum(count * run.length for run, count in own)
            found[name] = {
                "frames": sum(run.length for run, _ in own), "written": frames,
                "wanted_share": round(
                    sum(run.weight * run.length for run, _ in own) / max(wanted, 1e-12), 4
                ),
                "written_share": round(frames / max(1, written), 4),
                "runs_left_out": sum(count == 0 for _, count in own),
            }
    return found
