"""A copy of a folder in which everything of an earlier version is converted.

Bags, trees, training sets, checkpoints, and texts of embodiments and tasks are converted. In JSON
and YAML files, hashes are replaced by those of the converted things. All else is copied as it is.
"""

import hashlib
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from hiwm_core.bags.recover import is_bag
from hiwm_core.config_files import parse_mapping
from hiwm_core.embodiment_upgrade import upgrade_embodiment_text
from hiwm_core.errors import HiwmError, StoreError
from hiwm_core.evaluation_file import EVALUATION_FILE, is_earlier_evaluation, upgraded_evaluation
from hiwm_core.migration.bags import is_earlier_bag, migrate_bag
from hiwm_core.migration.texts import Texts
from hiwm_core.migration.trees import is_earlier_tree, migrate_tree
from hiwm_core.session_lock import LOCKS_FOLDER, owners
from hiwm_core.tasks import upgraded_task_text
from hiwm_learning.checkpoint_upgrade import upgraded_checkpoint
from hiwm_learning.checkpoints import is_checkpoint
from hiwm_learning.migration.training_sets import is_earlier_set, migrate_set
from hiwm_learning.start_frames_upgrade import EARLIER, upgraded_start_frames

Kind = Literal[
    "checkpoint", "start file", "bag", "tree", "training set", "embodiment", "task", "result folder"
]
# What names others by their hash is converted after them.
_ORDER = get_args(Kind)
# Of a file that contains no text of ours. Records of a study are far smaller.
_MOST_TEXT_BYTES = 50_000_000
_TEXTS = (".json", ".jsonl", ".yaml", ".yml", ".md")
# Changes that a closed SQLite file contains.
_SQLITE_PARTS = ("-wal", "-shm")


@dataclass(kw_only=True)
class Found:
    """What a folder or file contains of earlier versions."""

    earlier: dict[Path, Kind] = field(default_factory=dict)  # in the order of conversion
    size: int = 0  # of all files, bytes

    @property
    def counts(self) -> str:
        """Number of things of each kind, as text."""
        counts = Counter(self.earlier.values())
        return ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items())


def find_earlier(path: Path) -> Found:
    """Return what a path contains of earlier versions. Changes nothing.

    Raises:
        StoreError: a process writes a session in it.
    """
    found = Found(size=sum(
        file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file()
    ))
    things: list[tuple[Path, Kind]] = []
    for entry in _entries(path):
        if entry.name == LOCKS_FOLDER and (busy := owners(entry.parent)):
            raise StoreError(
                f"the session is in use by {'; '.join(map(str, busy))}", where=str(entry.parent),
                remedy="end it first",
            )
        kind = _kind(entry)
        if kind is not None:
            things.append((entry, kind))
    found.earlier = dict(sorted(things, key=lambda thing: _ORDER.index(thing[1])))
    return found


def _entries(path: Path) -> Iterator[Path]:
    """Yield a path and all below it, except the files of bags and training sets."""
    yield path
    if path.is_dir() and not _is_one_thing(path):
        for entry in sorted(path.iterdir()):
            yield from _entries(entry)


def _is_one_thing(folder: Path) -> bool:
    return is_bag(folder) or (folder / "zarr.json").is_file()


def _kind(path: Path) -> Kind | None:
    """Return what a path is, if it is something of an earlier version."""
    if path.is_dir():
        if is_bag(path):
            return "bag" if is_earlier_bag(path) else None
        return "training set" if is_earlier_set(path) else None
    if path.suffix == ".sqlite":
        return "tree" if is_earlier_tree(path) else None
    if path.suffix == ".safetensors" and is_checkpoint(path):
        content = path.read_bytes()
        return "checkpoint" if upgraded_checkpoint(content, str(path)) != content else None
    if path.suffix == ".npz":
        return "start file" if _has_earlier_starts(path) else None
    if path.name == EVALUATION_FILE:
        return "result folder" if is_earlier_evaluation(path) else None
    if path.suffix in (".yaml", ".yml"):
        return _kind_of_text(path)
    return None


def _has_earlier_starts(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{EARLIER}.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _kind_of_text(path: Path) -> Kind | None:
    """Return whether a YAML file is an embodiment or a task of an earlier version."""
    kinds: dict[Kind, tuple[str, Callable[[str, str], str]]] = {
        "embodiment": ("rate_hz", upgrade_embodiment_text),
        "task": ("horizon_steps", upgraded_task_text),
    }
    try:
        text = path.read_text()
        data = parse_mapping(text, str(path))
        for kind, (key, upgraded) in kinds.items():
            if key in data and "name" in data and upgraded(text, str(path)) != text:
                return kind
    except (HiwmError, OSError, UnicodeDecodeError):
        pass
    return None


class Migration:
    """Writes a converted copy of a folder or file.

    Args:
        write: called with each line to show.

    Attributes:
        problems: what could not be converted; it is copied as it is.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self.problems: list[str] = []
        self._write = write
        self._texts = Texts()

    def copy(self, source: Path, target: Path, found: Found) -> None:
        """Write the copy.

        Args:
            source: a folder or file.
            target: path of the copy; must not exist.
            found: what `find_earlier` returned for the source.

        Raises:
            OSError: the disk refuses.
        """
        # Hashes must be known before the files that contain them are copied.
        for path, kind in found.earlier.items():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._convert(kind, path, place)
            except HiwmError as error:
                self.problems.append(str(error))
                self._write(f"not converted: {error}")
                _remove(place)
        self._copy_rest(source, target)

    def _convert(self, kind: Kind, source: Path, target: Path) -> None:
        where = str(source)
        if kind == "checkpoint":
            self._rewrite(source, target, upgraded_checkpoint)
        elif kind == "bag":
            audit = migrate_bag(source, target, self._texts)
            for problem in audit.problems:
                self._write(f"{source}: {problem}")
        elif kind == "tree":
            migrate_tree(source, target, self._texts)
        elif kind == "training set":
            migrate_set(source, target, self._texts)
        elif kind == "start file":
            self._rewrite(source, target, upgraded_start_frames)
        elif kind == "embodiment":
            target.write_text(self._texts.embodiment(source.read_text(), where).text)
        elif kind == "task":
            target.write_text(self._texts.task(source.read_text(), where).text)
        else:
            target.write_text(upgraded_evaluation(source.read_text()))
            self._replace_hashes(target)

    def _rewrite(
        self, source: Path, target: Path, upgraded: Callable[[bytes, str], bytes]
    ) -> None:
        """Convert a file that others name by its hash."""
        old = source.read_bytes()
        new = upgraded(old, str(source))
        target.write_bytes(new)
        self._texts.hashes[hashlib.sha256(old).hexdigest()] = hashlib.sha256(new).hexdigest()

    def _copy_rest(self, source: Path, target: Path) -> None:
        if source.is_dir():
            if target.exists() and _is_one_thing(source):
                return  # converted
            target.mkdir(parents=True, exist_ok=True)
            for entry in sorted(source.iterdir()):
                self._copy_rest(entry, target / entry.name)
            shutil.copystat(source, target)
        elif not source.exists():  # a link to nothing
            target.symlink_to(source.readlink())
        elif not target.exists() and not self._is_merged(source, target):
            shutil.copy2(source, target)
            self._replace_hashes(target)

    def _is_merged(self, source: Path, target: Path) -> bool:
        """Return whether a file belongs to a database whose converted copy contains it."""
        for suffix in _SQLITE_PARTS:
            if source.name.endswith(suffix):
                name = source.name.removesuffix(suffix)
                return is_earlier_tree(source.with_name(name)) and target.with_name(name).exists()
        return False

    def _replace_hashes(self, path: Path) -> None:
        if path.suffix not in _TEXTS or path.stat().st_size > _MOST_TEXT_BYTES:
            return
        content = path.read_bytes()
        replaced = with_hashes(content, self._texts.hashes)
        if replaced != content:
            path.write_bytes(replaced)


def with_hashes(content: bytes, hashes: Mapping[str, str]) -> bytes:
    """Return a text with present hashes, in full and as in the labels `NAME-12345678`."""
    for old, new in hashes.items():
        content = content.replace(old.encode(), new.encode())
        content = content.replace(f"-{old[:8]}".encode(), f"-{new[:8]}".encode())
    return content


def _remove(path: Path) -> None:
    remove = partial(shutil.rmtree, ignore_errors=True) if path.is_dir() else Path.unlink
    if path.exists():
        remove(path)
