"""The zarr store of a training set, and the arrays it holds.

One flat array over all frames of all episodes for each thing a model reads, with the ends of the
episodes beside it. An episode is one segment: a run on one branch between forks. The store carries
text and hash of the embodiment, so that a model cannot be trained under another.
"""

import hashlib
import re
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from hiwm_core.atomic_files import replaced_folder
from hiwm_core.bags.disk import disk_refusal
from hiwm_core.bags.lineage import recorded_on
from hiwm_core.control_period import UNKNOWN
from hiwm_core.embodiment import Embodiment, parse_embodiment
from hiwm_core.errors import BagError

FORMAT = 1
# The files of a zarr store: descriptions, and pieces named by their place.
_OF_A_STORE = re.compile(r"(.+/)?zarr\.json|.+/c(/\d+)+")
# Frames in one compressed piece: about 2 MB of small images, read and written as a whole.
_CHUNK = 64
# Arrays of one value or vector per frame, beside the images: name, dtype.
_COLUMNS = {
    "proprio": "float32", "actions": "float32", "source": "uint8", "provenance": "uint8",
    "steps": "int64", "trust": "float32", "progress": "float32", "success": "float32",
    "object_pose": "float64", "coverage": "float64",
}


@dataclass(frozen=True, kw_only=True)
class EpisodeInfo:
    """Where one episode comes from."""

    bag: str  # folder name
    session_id: str
    episode_id: str
    branch_id: str
    parent_branch_id: str  # empty at the root of an episode
    fork_step: int  # step of the parent branch this one begins at; -1 at a root
    world: str  # imagination or hardware
    stand_in: bool
    task: str
    task_hash: str
    label: int = 0  # branch_records.Label a person gave its branch
    robot: str = ""  # empty in imagination
    period_s: float = UNKNOWN  # control period, as commanded; unknown in older stores
    measured_period_s: float = UNKNOWN  # how long a step lasted

    @property
    def recorded_on(self) -> str:
        """What it was recorded on, for people."""
        return recorded_on(self.world, self.robot, self.stand_in)


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """A training set in memory: N frames of E episodes, one after the other."""

    embodiment: Embodiment
    infos: tuple[EpisodeInfo, ...]  # [E]
    ends: NDArray[np.int64]  # [E], one past the last frame of each episode
    images: dict[str, NDArray[np.uint8]]  # camera -> [N, H, W, 3] rgb
    proprio: NDArray[np.float32]  # [N, P], embodiment order and units
    actions: NDArray[np.float32]  # [N, A], answer to each frame, after limits; NaN where unknown
    source: NDArray[np.uint8]  # [N], Command.SOURCE_* of the action
    provenance: NDArray[np.uint8]  # [N], index into provenance_names
    provenance_names: tuple[str, ...]
    steps: NDArray[np.int64]  # [N], control steps since the episode began
    trust: NDArray[np.float32]  # [N], 0..1
    progress: NDArray[np.float32]  # [N], 0..1; NaN unknown
    success: NDArray[np.float32]  # [N], 0..1; NaN unknown
    object_pose: NDArray[np.float64]  # [N, 3] x, y [m], yaw [rad]; NaN unknown; labels alone
    coverage: NDArray[np.float64]  # [N], 0..1; NaN unknown; labels alone

    @property
    def starts(self) -> NDArray[np.int64]:
        """First frame of each episode, [E]."""
        return np.concatenate(([0], self.ends[:-1])).astype(np.int64)

    @property
    def episode_of(self) -> NDArray[np.int64]:
        """Episode each frame belongs to, [N]."""
        return np.repeat(np.arange(len(self.ends)), np.diff(np.concatenate(([0], self.ends))))

    @property
    def period_s(self) -> float:
        """Control period, as commanded, s: the embodiment's in stores that do not say."""
        return self._period([info.period_s for info in self.infos])

    @property
    def measured_period_s(self) -> float:
        """How long a step lasted, s: the median over episodes, or the embodiment's likewise."""
        return self._period([info.measured_period_s for info in self.infos])

    def _period(self, periods: Sequence[float]) -> float:
        known = [period for period in periods if period > 0.0]
        return statistics.median(known) if known else 1.0 / self.embodiment.rate_hz

    def summary(self) -> dict[str, Any]:
        """Return what a model card says of the data, JSON values alone."""
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
        """Return a sha256 that tells one training set from another, hex."""
        digest = hashlib.sha256()
        for array in (self.ends, self.proprio, self.actions, self.provenance):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


class _Abandoned(Exception):  # noqa: N818 - ends the writing of a folder
    pass


class EpisodeWriter:
    """Writes a store beside its final place and moves it there when whole.

    Whoever makes one ends it: with `close`, or with `abandon` where an error came first.

    Args:
        path: folder of the store; an older one there is replaced on `close`, so make sure that it
            is one (`is_training_set`).
        embodiment: of every episode.
        provenance_names: what the numbers of the provenance column mean.
    """

    def __init__(
        self, path: Path, embodiment: Embodiment, provenance_names: tuple[str, ...]
    ) -> None:
        self._path = path
        self._folder = ExitStack()
        with self._told():
            part = self._folder.enter_context(replaced_folder(path))
            self._root = zarr.open_group(str(part), mode="w")
        self._embodiment = embodiment
        self._names = provenance_names
        self._infos: list[EpisodeInfo] = []
        self._ends: list[int] = []
        # Episodes are handed on in whole pieces: rewriting a half-filled one compresses it twice.
        self._waiting: dict[str, list[NDArray[Any]]] = {}
        self._arrays: dict[str, Any] = {}

    def add(self, info: EpisodeInfo, columns: dict[str, NDArray[Any]]) -> None:
        """Append an episode.

        Args:
            info: where it comes from.
            columns: `images/<camera>` [T, H, W, 3] and every name of `Episodes`' frame arrays.
        """
        expected = {f"images/{camera.name}" for camera in self._embodiment.cameras} | set(_COLUMNS)
        if set(columns) != expected:
            raise ValueError(f"columns {sorted(set(columns) ^ expected)} missing or unknown")
        length = len(columns["steps"])
        for name, values in columns.items():
            if len(values) != length:
                raise ValueError(f"{name} has {len(values)} frames, steps {length}")
            self._waiting.setdefault(name, []).append(
                np.asarray(values, dtype=_COLUMNS.get(name, "uint8"))
            )
        self._infos.append(info)
        self._ends.append((self._ends[-1] if self._ends else 0) + length)
        if sum(map(len, self._waiting["steps"])) >= _CHUNK:
            self._write(whole=False)

    def close(self, notes: dict[str, Any]) -> None:
        """Write what waits, and put the store in its place. `notes` are JSON values kept with it.

        Raises:
            BagError: there is no episode, or the disk refuses, as it may in `add`.
        """
        if not self._infos:
            self.abandon()
            raise BagError(
                "no usable episode", where=str(self._path), remedy="give folders of closed bags"
            )
        self._write(whole=True)
        with self._told():
            self._root.create_array(
                "episode_ends", data=np.array(self._ends, np.int64), chunks=(len(self._ends),)
            )
            self._root.attrs.update({
                "format": FORMAT,
                "embodiment_hash": self._embodiment.hash,
                "embodiment_text": self._embodiment.text,
                "provenance_names": list(self._names),
                "episodes": [asdict(info) for info in self._infos],
                **notes,
            })
            self._folder.close()

    def abandon(self) -> None:
        """Remove what was begun; an older store stays as it was."""
        with suppress(_Abandoned), self._folder:
            raise _Abandoned

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise BagError where the disk refuses, and make the room of what was begun free again."""
        try:
            yield
        except OSError as error:
            self.abandon()
            raise BagError(
                disk_refusal(error, self._path), where=str(self._path.parent),
                remedy="make room there and build it again: an older one is as it was",
            ) from error

    def _write(self, *, whole: bool) -> None:
        with self._told():
            for name, parts in self._waiting.items():
                rows = np.concatenate(parts)
                count = len(rows) if whole else len(rows) // _CHUNK * _CHUNK
                if name not in self._arrays:
                    self._arrays[name] = self._root.create_array(
                        name, shape=(0, *rows.shape[1:]), dtype=rows.dtype,
                        chunks=(_CHUNK if name.startswith("images/") else 4096, *rows.shape[1:]),
                    )
                if count:
                    self._arrays[name].append(rows[:count])
                self._waiting[name] = [rows[count:]]


def is_training_set(path: Path) -> bool:
    """Return whether a folder is a store of this kind and holds nothing else."""
    try:
        attributes = dict(zarr.open_group(str(path), mode="r").attrs)
    except (OSError, ValueError, KeyError):
        return False
    return {"format", "embodiment_hash", "episodes"} <= set(attributes) and all(
        _OF_A_STORE.fullmatch(str(file.relative_to(path)))
        for file in path.rglob("*") if not file.is_dir()
    )


def load_episodes(path: Path, cameras: Sequence[str] | None = None) -> Episodes:
    """Return a store's arrays in memory.

    Args:
        path: folder of the store.
        cameras: whose images to read, by far the largest part; all when None.

    Raises:
        BagError: no store there, or one of another format.
    """
    try:
        root = zarr.open_group(str(path), mode="r")
        attributes = dict(root.attrs)
    except (FileNotFoundError, ValueError, KeyError):
        attributes = {}
    if attributes.get("format") != FORMAT:
        raise BagError(
            "not a training set of this version", where=str(path),
            remedy="build one from bags with scripts/build_dataset",
        )
    embodiment = parse_embodiment(cast(str, attributes["embodiment_text"]), str(path))

    def read(name: str) -> NDArray[Any]:
        return np.asarray(cast(Any, root[name])[:])

    columns = {name: read(name) for name in _COLUMNS}
    return Episodes(
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
