"""The zarr store of a training set, and its arrays in memory or mapped from disk.

Each quantity is one flat array over the frames of all episodes. `episode_ends` marks where each
episode ends. An episode is one segment: a run on one branch between forks. The store includes the
embodiment's text and hash, so that a model cannot be trained for another embodiment.

Every chunk has a checksum, and every chunk is written, even one of zeros: reading the store finds a
wrong bit and a lost file. Stores from before that lack both.
"""

import hashlib
import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from hiwm_core.atomic_files import replaced_folder
from hiwm_core.bags.disk import disk_refusal
from hiwm_core.bags.lineage import recorded_on
from hiwm_core.control_period import UNKNOWN
from hiwm_core.embodiment import Embodiment, parse_embodiment
from hiwm_core.errors import BagError
from hiwm_core.formats import MIGRATE
from hiwm_learning.datasets.mapped_copies import MappedCopies
from hiwm_learning.parallel import ALONE, Team

FORMAT = 2
_DIGEST = "digest"  # of all other attributes
# The files of a zarr store: metadata, and chunks named by their indices.
_OF_A_STORE = re.compile(r"(.+/)?zarr\.json|.+/c(/\d+)+")
# Frames per compressed chunk: about 2 MB of small images, read and written as a unit.
_CHUNK = 64
# Arrays other than images, with one value or vector per frame: name, dtype.
_COLUMNS = {
    "proprio": "float32", "actions": "float32", "source": "uint8", "provenance": "uint8",
    "steps": "int64", "trust": "float32", "progress": "float32", "success": "float32",
}


@dataclass(frozen=True, kw_only=True)
class EpisodeInfo:
    """The origin of one episode."""

    bag: str  # folder name
    session_id: str
    episode_id: str
    branch_id: str
    parent_branch_id: str  # empty at the root of an episode
    fork_step: int  # step of the parent branch at which this one starts; -1 at a root
    world: str  # imagination or hardware
    stand_in: bool
    task: str
    task_hash: str
    label: str = ""  # that a person gave its branch
    robot: str = ""  # empty in imagination
    period_s: float = UNKNOWN  # commanded control period; unknown in older stores
    measured_period_s: float = UNKNOWN  # measured duration of a step

    @property
    def recorded_on(self) -> str:
        """What it was recorded on, as text for people."""
        return recorded_on(self.world, self.robot, self.stand_in)


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """A training set: N frames of E consecutive episodes, in memory or mapped from disk."""

    embodiment: Embodiment
    infos: tuple[EpisodeInfo, ...]  # [E]
    ends: NDArray[np.int64]  # [E], one past the last frame of each episode
    images: dict[str, NDArray[np.uint8]]  # camera -> [N, H, W, 3] rgb
    proprio: NDArray[np.float32]  # [N, P], embodiment order and units
    actions: NDArray[np.float32]  # [N, A], action after each frame, limited; NaN where unknown
    source: NDArray[np.uint8]  # [N], Command.SOURCE_* of the action
    provenance: NDArray[np.uint8]  # [N], index into provenance_names
    provenance_names: tuple[str, ...]
    steps: NDArray[np.int64]  # [N], control steps since the start of the episode
    trust: NDArray[np.float32]  # [N], 0..1
    progress: NDArray[np.float32]  # [N], 0..1; NaN unknown
    success: NDArray[np.float32]  # [N], 0..1; NaN unknown

    @property
    def starts(self) -> NDArray[np.int64]:
        """First frame of each episode, [E]."""
        return np.concatenate(([0], self.ends[:-1])).astype(np.int64)

    @property
    def episode_of(self) -> NDArray[np.int64]:
        """Episode of each frame, [N]."""
        return np.repeat(np.arange(len(self.ends)), np.diff(np.concatenate(([0], self.ends))))

    @property
    def period_s(self) -> float:
        """Commanded control period, s; the embodiment's if unknown."""
        return self._period([info.period_s for info in self.infos])

    @property
    def measured_period_s(self) -> float:
        """Measured control period, s: the episodes' median, or the embodiment's if unknown."""
        return self._period([info.measured_period_s for info in self.infos])

    def _period(self, periods: Sequence[float]) -> float:
        known = [period for period in periods if period > 0.0]
        return statistics.median(known) if known else 1.0 / self.embodiment.rate_hz

    def summary(self) -> dict[str, Any]:
        """Return the summary of the data for a model card, JSON values only."""
        counts = np.bincount(self.provenance, minlength=len(self.provenance_names))
        return {
            "episodes": len(self.ends),
            "frames": int(self.ends[-1]) if len(self.ends) else 0,
            "frames_by_provenance": {
                name: int(count)
                for name, count in zip(self.provenance_names, counts, strict=True) if count
            },
            "worlds": sorted({info.recorded_on for info in self.infos}),
            "measured_period_s": self.measured_period_s,
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """Return a sha256 that identifies the training set, hex."""
        digest = hashlib.sha256()
        for array in (self.ends, self.proprio, self.actions, self.provenance):
            if array.size:
                digest.update(np.ascontiguousarray(array).data.cast("B"))
        return digest.hexdigest()


class _Abandoned(Exception):  # noqa: N818 - cancels the writing of a folder
    pass


class EpisodeWriter:
    """Writes a store to a temporary folder and moves it into place when it is complete.

    The caller must call `close`, or `abandon` after an error.

    Args:
        path: folder of the store; `close` replaces an existing folder, so first check that it is
            a store (`is_training_set`).
        embodiment: of every episode.
        provenance_names: what the numbers of the provenance column mean.
    """

    def __init__(
        self, path: Path, embodiment: Embodiment, provenance_names: tuple[str, ...]
    ) -> None:
        self._path = path
        self._folder = ExitStack()
        with self._disk_errors():
            part = self._folder.enter_context(replaced_folder(path))
            self._root = zarr.open_group(str(part), mode="w")
        self._embodiment = embodiment
        self._names = provenance_names
        self._infos: list[EpisodeInfo] = []
        self._ends: list[int] = []
        # Only full chunks are written: rewriting a partial chunk would compress it twice.
        self._pending: dict[str, list[NDArray[Any]]] = {}
        self._arrays: dict[str, Any] = {}

    def add(self, info: EpisodeInfo, columns: dict[str, NDArray[Any]]) -> None:
        """Append an episode.

        Args:
            info: its origin.
            columns: `images/<camera>` [T, H, W, 3] and every name of `Episodes`' frame arrays.
        """
        expected = {f"images/{camera.name}" for camera in self._embodiment.cameras} | set(_COLUMNS)
        if set(columns) != expected:
            raise ValueError(f"columns {sorted(set(columns) ^ expected)} missing or unknown")
        length = len(columns["steps"])
        for name, values in columns.items():
            if len(values) != length:
                raise ValueError(f"{name} has {len(values)} frames, steps {length}")
            self._pending.setdefault(name, []).append(
                np.asarray(values, dtype=_COLUMNS.get(name, "uint8"))
            )
        self._infos.append(info)
        self._ends.append((self._ends[-1] if self._ends else 0) + length)
        if sum(map(len, self._pending["steps"])) >= _CHUNK:
            self._write(whole=False)

    def close(self, notes: dict[str, Any]) -> None:
        """Write the remaining frames and move the store into place. `notes`: JSON values to store.

        Raises:
            BagError: there is no episode, or the disk refuses a write (`add` raises this as well).
        """
        if not self._infos:
            self.abandon()
            raise BagError(
                "no usable episode", where=str(self._path), remedy="give folders of closed bags"
            )
        self._write(whole=True)
        with self._disk_errors():
            self._root.create_array(
                "episode_ends", data=np.array(self._ends, np.int64), chunks=(len(self._ends),),
                **_checked_chunks(),
            )
            attributes = {
                "format": FORMAT,
                "embodiment_hash": self._embodiment.hash,
                "embodiment_text": self._embodiment.text,
                "provenance_names": list(self._names),
                "episodes": [asdict(info) for info in self._infos],
                **notes,
            }
            self._root.attrs.update(attributes | {_DIGEST: _digest_of(attributes)})
            self._folder.close()

    def abandon(self) -> None:
        """Remove the unfinished store; an older store stays unchanged."""
        with suppress(_Abandoned), self._folder:
            raise _Abandoned

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """On a disk error, remove the unfinished store and raise BagError."""
        try:
            yield
        except OSError as error:
            self.abandon()
            raise BagError(
                disk_refusal(error, self._path), where=str(self._path.parent),
                remedy="make room there and build it again: an older one is unchanged",
            ) from error

    def _write(self, *, whole: bool) -> None:
        with self._disk_errors():
            for name, parts in self._pending.items():
                rows = np.concatenate(parts)
                count = len(rows) if whole else len(rows) // _CHUNK * _CHUNK
                if name not in self._arrays:
                    self._arrays[name] = self._root.create_array(
                        name, shape=(0, *rows.shape[1:]), dtype=rows.dtype,
                        chunks=(_CHUNK if name.startswith("images/") else 4096, *rows.shape[1:]),
                        **_checked_chunks(),
                    )
                if count:
                    self._arrays[name].append(rows[:count])
                self._pending[name] = [rows[count:]]


def _checked_chunks() -> dict[str, Any]:
    """Return the options of arrays whose damage is found."""
    return {
        "compressors": ZstdCodec(level=0, checksum=True), "config": {"write_empty_chunks": True},
    }


def _digest_of(attributes: Mapping[str, Any]) -> str:
    """Return a sha256 of a store's attributes, as they are read from its JSON."""
    return hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest()


@contextmanager
def named_damage(path: Path) -> Iterator[None]:
    """Raise BagError in place of what reading a damaged store raises."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise BagError(
            f"a damaged training set: {error or type(error).__name__}", where=str(path),
            remedy="remove it and build it again",
        ) from error


def read_array(root: zarr.Group, name: str) -> Any:
    """Return an array of a store; raises ValueError if chunks are lost."""
    array = cast(Any, root[name])
    if _DIGEST in root.attrs and array.nchunks_initialized != array.nchunks:
        raise ValueError(f"{name} has lost chunks")
    return array


def is_training_set(path: Path) -> bool:
    """Return whether a folder is such a store and contains nothing else."""
    try:
        attributes = dict(zarr.open_group(str(path), mode="r").attrs)
    except (OSError, ValueError, KeyError):
        return False
    return {"format", "embodiment_hash", "episodes"} <= set(attributes) and all(
        _OF_A_STORE.fullmatch(str(file.relative_to(path)))
        for file in path.rglob("*") if not file.is_dir()
    )


def load_episodes(
    path: Path, cameras: Sequence[str] | None = None, on_disk: Path | None = None,
    team: Team = ALONE,
) -> Episodes:
    """Return a store's arrays, in memory or on disk.

    Args:
        path: folder of the store.
        cameras: cameras whose images to read, by far the largest part; all when None.
        on_disk: folder for uncompressed copies of the arrays, which are mapped instead of read; the
            files have no name any more when this returns, so that they vanish with the process.
        team: the processes that read together; they share the copies.

    Raises:
        BagError: no store there, another format, damaged, or no room for the copies.
    """
    try:
        root = zarr.open_group(str(path), mode="r")
        attributes = dict(root.attrs)
    except (FileNotFoundError, ValueError, KeyError):
        attributes = {}
    digest = attributes.pop(_DIGEST, None)
    version = attributes.get("format")
    if version != FORMAT:
        older = isinstance(version, int) and version < FORMAT
        raise BagError(
            f"a training set of format {version}, of {'an earlier' if older else 'a later'} version"
            if isinstance(version, int) else "not a training set", where=str(path),
            remedy=MIGRATE if older else "build one from bags with scripts/build_dataset",
        )
    copies = None if on_disk is None else MappedCopies(on_disk, team)
    with named_damage(path):
        if digest is not None and digest != _digest_of(attributes):
            raise ValueError("its description was changed")
        try:
            return _episodes(root, attributes, path, cameras, copies)
        except BaseException:
            if copies is not None:
                copies.abandon()
            raise


def _episodes(
    root: zarr.Group, attributes: Mapping[str, Any], path: Path, cameras: Sequence[str] | None,
    copies: MappedCopies | None,
) -> Episodes:
    embodiment = parse_embodiment(cast(str, attributes["embodiment_text"]), str(path))

    def read(name: str) -> NDArray[Any]:
        array = read_array(root, name)
        # The ends are few.
        if copies is None or name == "episode_ends":
            return np.asarray(array[:])
        return copies.of(array, name)

    columns = {name: read(name) for name in _COLUMNS}
    found = Episodes(
        embodiment=embodiment,
        infos=tuple(
            EpisodeInfo(**data) for data in cast(list[dict[str, Any]], attributes["episodes"])
        ),
        ends=read("episode_ends"),
        images={
            camera.name: read(f"images/{camera.name}") for camera in embodiment.cameras
            if cameras is None or camera.name in cameras
        },
        provenance_names=tuple(cast(list[str], attributes["provenance_names"])),
        **columns,
    )
    lengths = {len(array) for array in (*columns.values(), *found.images.values())}
    if lengths != {int(found.ends[-1])}:
        raise ValueError(f"arrays of {sorted(lengths)} frames, episodes of {int(found.ends[-1])}")
    if copies is not None:
        copies.unlink()
    return found
