"""An episode of somebody else's data: named columns over time, and images on request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.errors import BagError


class EpisodeError(BagError):
    """The numbers of one episode are bad; those of the others may be good."""


@dataclass(frozen=True, kw_only=True)
class ForeignEpisode:
    """One episode, T frames."""

    where: str  # file and episode, for errors
    number: int
    times_s: NDArray[np.float64]  # [T], from the first frame
    columns: Mapping[str, NDArray[Any]]  # feature -> [T] or [T, N]; numbers or texts
    names: Mapping[str, tuple[str, ...]]  # feature -> names of its entries, where known
    images: Callable[[str], NDArray[np.uint8]]  # feature -> [T, H, W, 3] rgb; raises BagError
    cameras: tuple[str, ...]  # features with images
    task: str = ""  # in words
    description: Mapping[str, Any] = field(default_factory=dict)  # meta/hiwm.json of our own sets

    @property
    def length(self) -> int:
        """Number of frames."""
        return len(self.times_s)
