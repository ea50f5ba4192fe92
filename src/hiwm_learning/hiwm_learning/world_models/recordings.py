"""Recorded segments as world-model training sees them."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiwm_core.bags.resample import segment_period
from hiwm_core.bags.task_labels import progress_labels, start_values, success_labels
from hiwm_core.control_period import UNKNOWN
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import HiwmError
from hiwm_core.tasks import Task
from hiwm_core.world_heads import HEADS
from hiwm_learning.checkpoints import write_file
from hiwm_learning.datasets.periods import OnePeriod
from hiwm_learning.datasets.person_labels import PersonLabels
from hiwm_learning.datasets.usable_segments import find_bags, usable_segment
from hiwm_learning.training_command import starts_file

# Every tenth bag of each folder is held out; which one, so that all kinds of data are in both.
HELD_OUT_EVERY = 10
SHORTEST = 12  # ticks of a segment that is worth reading
STARTS = 64  # start frames shipped
ON_TASK = ("demonstration", "failure")  # kinds of data whose starts are the task's


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One segment."""

    name: str  # folder of data and bag
    kind: str  # folder of data: demonstration, failure ...
    frames: Tensor  # [T, H, W, 3] uint8, of the first camera
    embodiment: Embodiment
    proprioception: Tensor  # [T, P] float32, the embodiment's units
    measured: Tensor  # [T, A] float32, measured counterpart of the action
    actions: Tensor  # [T, A] float32; the last is of no meaning
    progress_labels: Tensor  # [T] of the task, NaN where not recorded
    success_labels: Tensor  # [T] 0 or 1, from ground truth or a person; NaN where not known
    start_values: NDArray[np.float64]  # [T, S] labels, in the order of the task's start_names
    held_out: bool
    recorded_on: str = "unknown"  # imagination, or the robot's name
    period_s: float = UNKNOWN  # control period, as commanded
    measured_period_s: float = UNKNOWN  # how long a step lasted
    others: Mapping[str, Tensor] = field(default_factory=dict)  # frames of the other cameras

    def views(self, step: int) -> list[NDArray[np.uint8]]:
        """Return the frame [H, W, 3] of each camera at a step."""
        return [frames[step].numpy() for frames in (self.frames, *self.others.values())]


def read_recordings(
    folders: Sequence[Path], cameras: Sequence[str], embodiment: Embodiment, task: Task,
    report: Callable[[str], None], resample_hz: float | None = None,
) -> list[Recording]:
    """Return all usable segments below folders of data, each with a `bags` folder.

    Args:
        folders: of data.
        cameras: whose frames are read; the first is that of `Recording.frames`.
        embodiment: that the bags must have.
        task: gives labels.
        report: takes progress lines.
        resample_hz: another control rate to resample to.

    Raises:
        BagError: no bags, or bags of another embodiment or of several control periods.
    """
    periods = OnePeriod(resample_hz)
    labels = PersonLabels(report)
    recordings: list[Recording] = []
    for folder, label in zip(folders, distinct_names(folders), strict=True):
        paths = find_bags([folder])

        def read(
            item: tuple[int, Path], folder: Path = folder, label: str = label
        ) -> Recording | None:
            index, path = item
            segment = usable_segment(path, embodiment, lambda text: report(f"left out {text}"))
            if segment is None:
                return None
            segment = periods.admit(segment)
            if segment.length < SHORTEST:
                report(f"left out {path.name}: {segment.length} ticks, fewer than {SHORTEST}")
                return None
            period, said = segment_period(segment), labels.of(segment)
            return Recording(
                name=f"{label}/{path.name}", kind=folder.name,
                frames=torch.from_numpy(segment.observations[cameras[0]]),
                others={
                    name: torch.from_numpy(segment.observations[name]) for name in cameras[1:]
                },
                embodiment=segment.embodiment,
                proprioception=torch.from_numpy(segment.proprio),
                measured=torch.from_numpy(segment.measured),
                actions=torch.from_numpy(np.nan_to_num(segment.actions)),
                progress_labels=torch.from_numpy(progress_labels(segment, task, said)).float(),
                success_labels=torch.from_numpy(success_labels(segment, task, said)).float(),
                start_values=start_values(segment, task),
                held_out=index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1,
                recorded_on=segment.lineage.recorded_on, period_s=period.nominal_s,
                measured_period_s=period.seconds,
            )

        with ThreadPoolExecutor(2) as pool:
            found = [item for item in pool.map(read, enumerate(paths)) if item is not None]
        frames = sum(len(item.frames) for item in found)
        report(f"{folder.name}: {len(found)} of {len(paths)} segments, {frames} frames")
        recordings += found
    return recordings


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """Return a name for each folder: as many last parts of the paths as tell them apart."""
    parts = [folder.absolute().parts for folder in folders]
    longest = max((len(one) for one in parts), default=1)
    for count in range(1, longest + 1):
        names = ["/".join(one[-count:]) for one in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names if parts else []


def outcome_heads(progress: Tensor, success: Tensor) -> tuple[str, ...]:
    """Return the heads that labels can teach: progress from any, success from both outcomes.

    Args:
        progress: [N] labels 0..1, NaN where there is none.
        success: [N] labels 0 or 1, NaN where there is none.
    """
    known = success[~success.isnan()]
    both = bool((known > 0.5).any() and (known < 0.5).any())
    taught = {"progress": not bool(progress.isnan().all()), "success": both}
    return tuple(name for name, there in taught.items() if there)


def heads_line(heads: Sequence[str]) -> str:
    """Return which heads a training gives a model, and why it lacks the others."""
    lacking = [name for name in HEADS if name not in heads]
    line = f"heads: {', '.join(heads) or 'none'}"
    if lacking:
        line += f"; the model will say nothing of {' and '.join(lacking)}"
    if "success" in lacking:
        line += (
            ": no bag has ground truth or a person's label" if "progress" in lacking
            else ": the labels hold no success, or nothing else"
        )
    elif "progress" in lacking:
        line += ": people's labels say only how episodes ended"
    return line


def start_images(camera: int) -> str:
    """Return the name of a camera's array in a start file, by the camera's number."""
    return f"images_{camera}" if camera else "images"


def write_starts(
    output: Path, *, names: Sequence[str], images: Sequence[Sequence[NDArray[np.uint8]]],
    proprioception: Sequence[NDArray[np.float32]], values: Sequence[NDArray[np.float64]],
) -> None:
    """Write the frames where imagination begins its episodes, beside a checkpoint.

    Args:
        output: the checkpoint's path.
        names: of the starts, N.
        images: of each start, one of each camera, [H, W, 3] rgb.
        proprioception: [P] each.
        values: [S] each, in the order of the task's start_names; NaN where not recorded.

    Raises:
        HiwmError: there is none, or the disk refuses.
    """
    if not names:
        raise HiwmError(
            "no held-out recording to start from", where=str(output),
            remedy="record ten or more episodes of each kind",
        )
    arrays = {
        "names": np.array(names),
        **{start_images(i): np.stack(view) for i, view in enumerate(zip(*images, strict=True))},
        "proprioception": np.stack(proprioception), "start_values": np.stack(values),
    }
    write_file(
        starts_file(output),
        lambda file: np.savez_compressed(file, allow_pickle=False, **arrays),
    )
