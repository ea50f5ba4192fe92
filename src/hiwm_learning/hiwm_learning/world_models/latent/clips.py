"""Recorded runs as latent training sees them; windows of frames and actions never cross a gap."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiwm_core.bags import Segment
from hiwm_core.bags.resample import segment_period
from hiwm_core.bags.task_labels import progress_labels, start_values, success_labels
from hiwm_core.embodiment import Embodiment
from hiwm_core.episode_labels import EpisodeLabel
from hiwm_core.errors import BagError, ConfigError
from hiwm_core.tasks import Task
from hiwm_learning.datasets.periods import OnePeriod
from hiwm_learning.datasets.person_labels import PersonLabels
from hiwm_learning.datasets.usable_segments import find_bags, usable_segment
from hiwm_learning.world_models.latent.on_disk import TensorFile
from hiwm_learning.world_models.latent.subset import Subset
from hiwm_learning.world_models.latent.views import Size, side_by_side
from hiwm_learning.world_models.recordings import HELD_OUT_EVERY, SHORTEST

_GRIPPER_MOVES = 0.1  # ratio; a gripper that is told less than this apart stays as it is


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Ticks of many runs, one after another; a run has no gap in it."""

    frames: Tensor  # [N, C, H, W, 3] uint8, every camera in the model's size
    proprioception: Tensor  # [N, P] in the embodiment's units
    measured: Tensor  # [N, A] measured counterpart of the action
    actions: Tensor  # [N, A] taken at each tick; NaN at a run's last
    progress_labels: Tensor  # [N] of the task, NaN where not recorded
    success_labels: Tensor  # [N] 0 or 1, from ground truth or a person; NaN where not known
    first: Tensor  # [N] row of the run's first tick
    last: Tensor  # [N] row of the run's last tick
    starts: tuple["Start", ...]  # of its segments
    summary: dict[str, Any]  # JSON values, for the checkpoint
    weights: Tensor | None = None  # [N] how often a tick is drawn in training; None: all alike

    def __len__(self) -> int:
        return len(self.actions)

    def rows(self, ahead: int) -> Tensor:
        """Return the ticks that have `ahead` more of the same run after them."""
        rows = torch.arange(len(self))
        return rows[rows + ahead <= self.last]

    def draw(self, rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` of `rows` [N], drawn with replacement by the ticks' weights."""
        return rows[self.draw_places(rows, count, generator)]

    def draw_places(self, rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return the places in `rows` [N] of `count` of them, drawn in the same way."""
        if self.weights is None:
            return torch.randint(len(rows), (count,), generator=generator)
        total = self.weights[rows].double().cumsum(0)
        places = torch.rand(count, generator=generator, dtype=torch.float64) * total[-1]
        return torch.searchsorted(total, places).clamp_max(len(rows) - 1)

    def halfway(self, gripper: int) -> float:
        """Return the middle of what a gripper is told, by its place in the action.

        A gripper's command is a ratio. If it is told nearly the same all the time, nothing says
        what it does; then it is the middle of all ratios.
        """
        told = self.actions[:, gripper]
        told = told[told.isfinite()]
        if not len(told) or float(told.max() - told.min()) < _GRIPPER_MOVES:
            return 0.5
        return float(told.max() + told.min()) / 2.0

    def gaps(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return command minus measured, and the last command minus measured, [B, A] each.

        Before a run's first command, the robot holds what is measured.
        """
        measured, actions = self.measured[rows], self.actions
        before = actions[(rows - 1).clamp_min(0)] - measured
        before[rows == self.first[rows]] = 0.0
        return actions[rows] - measured, torch.nan_to_num(before)


@dataclass(frozen=True, kw_only=True)
class Start:
    """The first tick of a segment, where imagination may begin."""

    name: str  # folder of data and bag
    kind: str  # folder of data
    frames: tuple[NDArray[np.uint8], ...]  # of each camera, [H, W, 3]
    proprioception: NDArray[np.float32]  # [P]
    values: NDArray[np.float64]  # [S] labels, in the order of the task's start_names


def read_clips(
    folders: Sequence[Path], cameras: tuple[str, ...], embodiment: Embodiment, task: Task,
    report: Callable[[str], None], resample_hz: float | None = None, size: Size | None = None,
    old: Sequence[Path] = (), old_share: float = 0.5, subset: Subset | None = None,
    on_disk: Path | None = None, hold_out: bool = True,
) -> tuple[Clips, Clips]:
    """Return training and held-out clips of all usable segments below folders of data.

    Frames are scaled to `size`, the model's; None keeps that of the first camera.

    Every tenth segment of a folder is held out, the same ones as for the layered model; the last
    one if that holds out none.

    Args:
        folders: of bags.
        cameras: of the model.
        embodiment: that the bags must have.
        task: gives labels.
        report: takes progress lines.
        resample_hz: another control rate to resample to.
        size: of the frames, px.
        old: folders of bags that the model has learned from before.
        old_share: of the ticks drawn in training, those of old folders.
        subset: of the segments to train on; None takes all. It changes nothing that is held out.
        on_disk: folder where frames stay, mapped; None keeps them in memory.
        hold_out: False trains on all segments, of which there may be one, and holds out the same.

    Raises:
        ConfigError: a subset of what stays on disk.
        BagError: fewer than two usable bags, or bags of another embodiment or of several
            control periods.
    """
    if subset is not None and on_disk is not None:
        raise ConfigError(
            "a subset with --stream", where="--frames or --share", remedy="omit one of them"
        )
    files = None if on_disk is None else (TensorFile(on_disk), TensorFile(on_disk))
    periods = OnePeriod(resample_hz)
    labels = PersonLabels(report)
    parts: tuple[list[tuple[str, Segment]], list[tuple[str, Segment]]] = ([], [])
    is_old: list[bool] = []  # of the segments to train on
    for number, folder in enumerate([*folders, *old]):
        paths = find_bags([folder])
        frames = used = 0
        for index, path in enumerate(paths):
            segment = usable_segment(path, embodiment, lambda text: report(f"left out {text}"))
            if segment is None:
                continue
            segment = periods.admit(segment)
            if segment.length < SHORTEST:
                report(f"left out {path.name}: {segment.length} ticks, fewer than {SHORTEST}")
                continue
            held_out = hold_out and index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
            if files is not None:
                files[held_out].append(_views(segment, cameras, size))
                # The first frames are where imagination may begin.
                segment = replace(segment, observations={
                    name: segment.observations[name][:1].copy() for name in cameras
                })
            parts[held_out].append((folder.name, segment))
            if not held_out:
                is_old.append(number >= len(folders))
            used += 1
            frames += segment.length
        report(f"{folder.name}: {used} of {len(paths)} segments, {frames} frames")
    if hold_out and not parts[1] and len(parts[0]) > 1:
        parts[1].append(parts[0].pop())
        is_old.pop()
        if files is not None:
            files[1].append(files[0].pop(parts[1][0][1].length))
        report(f"held out only {parts[1][0][1].lineage.branch_id}: there are few segments")
    if not parts[0] or (hold_out and not parts[1]):
        raise BagError(
            "too few segments to hold any out" if hold_out else "no usable segment",
            where=", ".join(str(f) for f in folders),
            remedy="record at least two; some tens give a usable model",
        )
    kept: Sequence[int] = range(len(parts[0]))
    if subset is not None:
        kept = subset.of([(kind, segment.length) for kind, segment in parts[0]])
        report(f"a subset: {len(kept)} of {len(parts[0])} segments")
    clips = clips_of(
        [parts[0][i] for i in kept], cameras, task, size, labels.of,
        None if files is None else files[0].tensor(),
    )
    if not hold_out:
        return clips, clips
    old_ticks = torch.cat([torch.full((parts[0][i][1].length,), is_old[i]) for i in kept])
    return (
        replace(clips, weights=sampling_weights(old_ticks, old_share)),
        clips_of(
            parts[1], cameras, task, size, labels.of, None if files is None else files[1].tensor()
        ),
    )


def sampling_weights(old: Tensor, share: float) -> Tensor | None:
    """Return weights [N] by which ticks that are old [N] make up a share; None: only one kind."""
    if bool(old.all()) or not bool(old.any()):
        return None
    return torch.where(old, share / old.sum(), (1.0 - share) / (~old).sum())


def clips_of(
    segments: Sequence[tuple[str, Segment]], cameras: tuple[str, ...], task: Task,
    size: Size | None = None, label_of: Callable[[Segment], EpisodeLabel] | None = None,
    frames: Tensor | None = None,
) -> Clips:
    """Return segments, each with its kind of data, cut into runs wherever an action is unknown.

    `label_of` returns what a person said of a segment; None uses no labels. `frames` are those of
    all segments, if they are not in memory.
    """
    actions = np.concatenate([segment.actions for _, segment in segments])
    ends = np.isnan(actions).any(axis=1)
    ends[np.cumsum([segment.length for _, segment in segments]) - 1] = True
    actions[ends] = np.nan
    last_rows = np.nonzero(ends)[0]
    first_rows = np.concatenate([[0], last_rows[:-1] + 1])
    lengths = last_rows - first_rows + 1
    said = [label_of(segment) if label_of else None for _, segment in segments]
    labels = [
        progress_labels(segment, task, one)
        for (_, segment), one in zip(segments, said, strict=True)
    ]
    solved = [
        success_labels(segment, task, one)
        for (_, segment), one in zip(segments, said, strict=True)
    ]
    if frames is None:
        frames = torch.cat([_views(segment, cameras, size) for _, segment in segments])
    periods = [segment_period(segment) for _, segment in segments]
    counts: Counter[str] = Counter()
    for kind, segment in segments:
        counts[kind] += segment.length
    return Clips(
        frames=frames,
        proprioception=torch.from_numpy(np.concatenate([s.proprio for _, s in segments])),
        measured=torch.from_numpy(np.concatenate([s.measured for _, s in segments])).float(),
        actions=torch.from_numpy(actions),
        progress_labels=torch.from_numpy(np.concatenate(labels)).float(),
        success_labels=torch.from_numpy(np.concatenate(solved)).float(),
        first=torch.from_numpy(np.repeat(first_rows, lengths)),
        last=torch.from_numpy(np.repeat(last_rows, lengths)),
        starts=tuple(
            Start(
                name=f"{kind}/{segment.path.name}", kind=kind,
                frames=tuple(segment.observations[name][0] for name in cameras),
                proprioception=segment.proprio[0],
                values=start_values(segment, task)[0],
            )
            for kind, segment in segments
        ),
        summary={
            "episodes": len(segments), "frames": len(actions),
            "episodes_by_kind": dict(Counter(kind for kind, _ in segments)),
            "frames_by_kind": dict(counts),
            "worlds": sorted({segment.lineage.recorded_on for _, segment in segments}),
            "period_s": statistics.median(period.nominal_s for period in periods),
            "measured_period_s": round(statistics.median(p.seconds for p in periods), 6),
        },
    )


def _views(segment: Segment, cameras: Sequence[str], size: Size | None) -> Tensor:
    """Return the frames [T, C, H, W, 3] of a segment in one size, the first camera's if None."""
    return side_by_side(
        [torch.from_numpy(segment.observations[name]) for name in cameras],
        size or segment.observations[cameras[0]].shape[1:3],
    )
