"""Arrays that stay on disk while a training reads them, so that memory does not grow with the set.

A compressed store is slow to read frame by frame. Its arrays are written uncompressed once, and
mapped: the system keeps in memory what is read often, and gives it up when others need it.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags.disk import disk_refusal
from hiwm_core.errors import BagError
from hiwm_learning.parallel import Team

_ROWS = 1024  # copied at once


class MappedCopies:
    """Copies of arrays, as files in a folder.

    Args:
        folder: must exist.
        team: the processes that read together; the first one of each machine writes.
    """

    def __init__(self, folder: Path, team: Team) -> None:
        self._folder, self._team = folder, team
        self._files: list[Path] = []

    def of(self, array: Any, name: str) -> NDArray[Any]:
        """Return a read-only copy of an array with at least one row, mapped from disk.

        Raises:
            BagError: the disk refuses.
        """
        # Each machine has its own copy, even if machines share the folder.
        place = f"{self._number()}.{self._team.machine}"
        path = self._folder / f".{name.replace('/', '_')}.{place}.mapped.npy"
        if self._team.leads_machine:
            self._files.append(path)
            try:
                # Not through a map: a full disk would end the process by a signal.
                with path.open("wb") as file:
                    np.lib.format.write_array_header_2_0(file, {
                        "descr": np.dtype(array.dtype).str, "fortran_order": False,
                        "shape": tuple(array.shape),
                    })
                    for start in range(0, array.shape[0], _ROWS):
                        file.write(np.ascontiguousarray(array[start : start + _ROWS]).tobytes())
            except OSError as error:
                self.unlink()
                raise BagError(
                    disk_refusal(error, path), where=str(self._folder),
                    remedy="make room there, or train with the set in memory",
                ) from error
        self._team.wait()
        mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped

    def unlink(self) -> None:
        """Remove the names of the files; what is mapped stays until the last process ends."""
        self._team.wait()
        self.abandon()

    def abandon(self) -> None:
        """Remove the files after an error, without waiting for the other processes."""
        for path in self._files:
            with contextlib.suppress(OSError):
                path.unlink()

    def _number(self) -> int:
        """Return a number that tells trainings in one folder apart."""
        return int(self._team.agree([float(os.getpid())])[0])
