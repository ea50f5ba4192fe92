"""Tensors that grow on disk and are mapped, so that memory does not grow with the recordings.

The files have no name: they vanish with the process, also when it is killed.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hiwm_core.bags.disk import disk_refusal
from hiwm_core.errors import BagError


class TensorFile:
    """Rows of equal shape and type, appended to an unnamed file.

    Args:
        folder: on a disk with room for all rows; must exist, also on each of several machines.

    Raises:
        BagError: the disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            # Open as long as the tensor that maps it: the object lives in the training's closures.
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        except OSError as error:
            raise BagError(
                disk_refusal(error, folder), where=str(folder),
                remedy="create the folder on every machine, or use a disk that all share",
            ) from error
        self._rows = 0
        self._like: Tensor | None = None

    def append(self, rows: Tensor) -> None:
        """Add rows [N, ...].

        Raises:
            BagError: the disk refuses.
        """
        try:
            self._file.write(rows.contiguous().numpy().tobytes())
        except OSError as error:
            raise BagError(
                disk_refusal(error, self._folder), where=str(self._folder),
                remedy="make room there, or train without --stream",
            ) from error
        self._rows += len(rows)
        self._like = rows[:0]

    def pop(self, count: int) -> Tensor:
        """Remove the last rows, and return a copy of them."""
        last = self.tensor()[self._rows - count :].clone()
        self._rows -= count
        self._file.truncate(self._rows * last[0].numel() * last.element_size())
        self._file.seek(0, 2)
        return last

    def tensor(self) -> Tensor:
        """Return all rows, mapped; what is written to it stays in memory."""
        assert self._like is not None, "no row was appended"
        self._file.flush()
        like = self._like.numpy()
        # Copy on write: torch warns of arrays that cannot be written.
        return torch.from_numpy(
            np.memmap(self._file, like.dtype, "c", shape=(self._rows, *like.shape[1:]))
        )
