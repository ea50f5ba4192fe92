"""The scenes of all recorded frames: what they show, but for the robot."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.model import LatentWorldModel, quantised
from hiwm_learning.world_models.latent.on_disk import TensorFile

AT_ONCE = 64
AT_ONCE_ON_CPU = 16  # a fifth less time a frame than 64 at once: what is computed fits the cache
REPORT_EVERY_S = 60.0
# Something moves in a tick if so many pixels, seen before and after it, change by so much.
MOVED_PIXELS, MOVED = 15, 20


@dataclass(frozen=True, kw_only=True)
class RecordedScenes:
    """The scenes of all ticks of some clips, each from its own frame."""

    pictures: Tensor  # [N, C, 3, H, W] uint8
    hidden: Tensor  # [N, C, H, W] uint8, 255 where the robot hides the scene
    light: Tensor  # [N, C, 3]
    moving: Tensor  # [N] whether something other than the robot moves until the next tick

    def at(self, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return pictures [B, C, 3, H, W] and what is hidden [B, C, H, W] in 0..1."""
        return (
            self.pictures[rows].to(device).float() / 255.0,
            self.hidden[rows].to(device).float() / 255.0,
        )


@torch.no_grad()
def scenes_of(
    model: LatentWorldModel, clips: Clips, device: torch.device, on_disk: Path | None = None,
    report: Callable[[str], None] = print,
) -> RecordedScenes:
    """Return the scenes of all frames.

    Args:
        model: its robot, hands and fillers are trained.
        clips: recorded ticks.
        device: of the model.
        on_disk: folder where scenes stay, mapped; None keeps them in memory.
        report: receives a line for each minute that it takes.
    """
    pictures, hidden = (_Rows(len(clips), on_disk) for _ in range(2))
    light, moving = [], []
    before: tuple[Tensor, Tensor] | None = None
    at_once = AT_ONCE_ON_CPU if device.type == "cpu" else AT_ONCE
    begun = reported = time.monotonic()
    for start in range(0, len(clips), at_once):
        if start and (now := time.monotonic()) - reported >= REPORT_EVERY_S:
            left_s = (now - begun) / start * (len(clips) - start)
            report(f"{start} of {len(clips)} frames, {left_s / 60:.0f} min left")
            reported = now
        rows = slice(start, start + at_once)
        found = model.scenes(clips.frames[rows].to(device), clips.proprioception[rows].to(device))
        seen, hides = quantised(found.pictures).cpu(), quantised(found.hidden).cpu()
        pictures.append(seen)
        hidden.append(hides)
        light.append(found.light.cpu())
        if before is not None:
            seen, hides = torch.cat([before[0], seen]), torch.cat([before[1], hides])
        moving.append(_moving(seen, hides))
        before = seen[-1:], hides[-1:]
    moved = torch.cat([*moving, torch.zeros(1, dtype=torch.bool)])
    every = torch.arange(len(clips))
    return RecordedScenes(
        pictures=pictures.tensor(), hidden=hidden.tensor(), light=torch.cat(light),
        moving=moved & (every < clips.last),
    )


def _moving(pictures: Tensor, hidden: Tensor) -> Tensor:
    """Return whether something moves from one of N pictures to the next, [N - 1]."""
    change = (pictures[1:].float() - pictures[:-1].float()).abs().amax(2)
    both = (hidden[1:] < 128) & (hidden[:-1] < 128)
    return ((change > MOVED) & both).flatten(1).sum(1) >= MOVED_PIXELS


class _Rows:
    """Rows [N, ...] of uint8 that fill up, in memory or in a folder on a disk."""

    def __init__(self, count: int, on_disk: Path | None) -> None:
        self._count, self._filled = count, 0
        self._all: Tensor | None = None
        self._file = None if on_disk is None else TensorFile(on_disk)

    def append(self, rows: Tensor) -> None:
        if self._file is not None:
            self._file.append(rows)
            return
        if self._all is None:
            self._all = rows.new_empty(self._count, *rows.shape[1:])
        self._all[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)

    def tensor(self) -> Tensor:
        if self._file is not None:
            return self._file.tensor()
        assert self._all is not None and self._filled == self._count
        return self._all
