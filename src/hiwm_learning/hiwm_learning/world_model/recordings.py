"""Recorded segments as world-model training sees them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiwm_core.bags import read_segment
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError

# Every tenth bag of each folder is held out; which one, so that all kinds of data are in both.
HELD_OUT_EVERY = 10


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One segment."""

    name: str  # folder of data and bag
    kind: str  # folder of data: demonstration, failure ...
    frames: Tensor  # [T, H, W, 3] uint8
    proprioception: Tensor  # [T, P] float32, m
    actions: Tensor  # [T, A] float32; the last is of no meaning
    coverage: Tensor  # [T] label, NaN where not recorded
    object_poses: NDArray[np.float64]  # [T, 3] labels, for evaluation alone
    held_out: bool


def read_recordings(
    folders: Sequence[Path], camera: str, embodiment: Embodiment, report: Callable[[str], None]
) -> list[Recording]:
    """Return all segments below folders of data, each with a `bags` folder.

    Raises:
        BagError: no bags, or bags of another embodiment.
    """
    recordings: list[Recording] = []
    for folder in folders:
        paths = sorted(path.parent for path in folder.glob("**/metadata.yaml"))
        if not paths:
            raise BagError(
                "no bags", where=str(folder), remedy="record some with scripts/collect_data"
            )

        def read(item: tuple[int, Path], folder: Path = folder) -> Recording | None:
            index, path = item
            segment = read_segment(path, embodiment)
            if segment.length < 12:
                return None
            labels = segment.labels
            count = segment.length
            return Recording(
                name=f"{folder.name}/{path.name}", kind=folder.name,
                frames=torch.from_numpy(segment.observations[camera]),
                proprioception=torch.from_numpy(segment.proprio),
                actions=torch.from_numpy(np.nan_to_num(segment.actions)),
                coverage=torch.from_numpy(
                    labels.coverage if labels else np.full(count, np.nan)
                ).float(),
                object_poses=labels.object_pose if labels else np.full((count, 3), np.nan),
                held_out=index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1,
            )

        with ThreadPoolExecutor(2) as pool:
            found = [item for item in pool.map(read, enumerate(paths)) if item is not None]
        frames = sum(len(item.frames) for item in found)
        report(f"{folder.name}: {len(found)} segments, {frames} frames")
        recordings += found
    return recordings
