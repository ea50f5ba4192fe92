"""Reads the HDF5 episodes of the Interactive World Simulator: `episode_N.hdf5`.

Needs h5py, which is not among our requirements: `pip install h5py`.
"""

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.errors import BagError, ConfigError
from hiwm_exchange.foreign import ForeignEpisode

_NUMBER = re.compile(r"(\d+)\.(?:hdf5|h5)$")
_IMAGES = "obs/images"


def iws_files(place: Path) -> list[Path]:
    """Return the HDF5 files in a folder, or the file itself, by number."""
    files = [place] if place.is_file() else [*place.glob("*.hdf5"), *place.glob("*.h5")]
    return sorted(files, key=lambda file: (_number(file), file.name))


class IwsReader:
    """The episodes of a folder; features are the paths in a file, such as `obs/joint_pos`.

    Args:
        place: a folder of files, or one file.

    Raises:
        ConfigError: h5py is not installed.
    """

    def __init__(self, place: Path) -> None:
        self._h5py = _library()
        self._files = iws_files(place)

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self._files)

    def episode(self, number: int) -> ForeignEpisode:
        """Return an episode; its images are read on request.

        Raises:
            BagError: the file is damaged or lacks a field.
        """
        path = self._files[number]
        columns: dict[str, NDArray[Any]] = {}
        cameras: list[str] = []
        with self._open(path) as file:
            def take(name: str, item: Any) -> None:
                if not isinstance(item, self._h5py.Dataset):
                    return
                if name.startswith(_IMAGES):
                    cameras.append(name)
                elif item.ndim in (1, 2):
                    columns[name] = np.asarray(item)

            file.visititems(take)
        if "timestamp" not in columns:
            raise BagError(
                "no timestamps", where=f"{path}: timestamp",
                remedy="give episodes of the Interactive World Simulator",
            )
        times = np.asarray(columns.pop("timestamp"), np.float64)
        if len(times) < 2 or not (np.diff(times) > 0).all():
            raise BagError(
                "timestamps do not rise", where=f"{path}: timestamp",
                remedy="record the episode again",
            )
        columns = {name: values for name, values in columns.items() if len(values) == len(times)}
        return ForeignEpisode(
            where=str(path), number=number, times_s=times - times[0], columns=columns, names={},
            images=lambda feature: self._images(path, feature, len(times)),
            cameras=tuple(cameras),
        )

    def _images(self, path: Path, feature: str, length: int) -> NDArray[np.uint8]:
        with self._open(path) as file:
            images = np.asarray(file[feature])
        if images.ndim != 4 or images.shape[3] != 3 or len(images) != length:
            raise BagError(
                f"images of shape {list(images.shape)}", where=f"{path}: {feature}",
                remedy=f"they should be [{length}, height, width, 3]",
            )
        return images.astype(np.uint8)

    def _open(self, path: Path) -> Any:
        try:
            return self._h5py.File(path, "r")
        except OSError as error:
            raise BagError(
                f"cannot be read: {error}", where=str(path), remedy="download it again"
            ) from None


def _library() -> ModuleType:
    try:
        return importlib.import_module("h5py")  # optional: no dependency of the package
    except ImportError:
        raise ConfigError(
            "h5py is not installed", where="import_lerobot", remedy="pip install h5py"
        ) from None


def _number(file: Path) -> int:
    found = _NUMBER.search(file.name)
    return int(found.group(1)) if found else -1
