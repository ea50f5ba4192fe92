"""Checks which files and folders a command may write: new ones and its own, never a user's.

Every command checks before it starts to work, so that a wrong `-o` costs nothing. An existing file
or folder is replaced only if its content shows that hiwm wrote one of the same kind. An output
never equals, contains or lies inside an input.
"""

import json
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import ConfigError

Recognise = Callable[[Path], bool]

# In a folder that a command fills over several runs: names the command.
MARK = ".hiwm_folder"


def check_output_file(
    path: Path, what: str, ours: Recognise, *,
    inputs: Iterable[Path] = (), companions: Iterable[Path] = (),
) -> None:
    """Check that a file may be written.

    Args:
        path: path of the file.
        what: kind of file with its article, such as "a checkpoint".
        ours: returns whether hiwm wrote an existing file.
        inputs: files and folders that the command reads.
        companions: files written beside it and named after it; they may exist only if it does.

    Raises:
        ConfigError: the file exists and is something else, clashes with an input, or its folder
            is not writable.
    """
    companions = list(companions)
    for file in (path, *companions):
        check_apart(file, inputs)
    if path.exists():
        if not path.is_file() or not ours(path):
            raise _refusal(path, what)
    else:
        for companion in companions:
            if companion.exists():
                raise _refusal(companion, f"one beside {what}")
    _check_writable(path)


def check_output_folder(
    path: Path, what: str, ours: Recognise, *, inputs: Iterable[Path] = ()
) -> None:
    """Check that a folder may be written, or replaced as a whole.

    Args:
        path: path of the folder; a missing or empty folder is always accepted.
        what: kind of folder with its article, such as "a training set".
        ours: returns whether hiwm wrote a non-empty folder and it contains nothing else.
        inputs: files and folders that the command reads.

    Raises:
        ConfigError: the folder is something else, clashes with an input, or is not writable.
    """
    check_apart(path, inputs)
    if path.exists():
        if not path.is_dir():
            raise _refusal(path, what)
        _check_writable(path / MARK)
        if any(path.iterdir()) and not ours(path):
            raise _refusal(path, what)
    elif path.is_symlink():
        raise ConfigError(
            f"a link to {os.readlink(path)}, which does not exist", where=str(path),
            remedy="create that folder, or give another output",
        )
    _check_writable(path)


def claim_folder(path: Path, what: str, *, inputs: Iterable[Path] = ()) -> None:
    """Create a folder that a command fills over several runs, or reuse one that it created.

    For arguments and errors see `check_output_folder`.
    """
    check_output_folder(path, what, lambda folder: folder_mark(folder) == what, inputs=inputs)
    if folder_mark(path) != what:
        replace_file(path / MARK, what + "\n")


def folder_mark(folder: Path) -> str:
    """Return the `what` with which `claim_folder` created a folder; empty if it did not."""
    try:
        return (folder / MARK).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def check_apart(output: Path, inputs: Iterable[Path]) -> None:
    """Raise ConfigError if an output equals, contains or lies inside one of the inputs."""
    for source in inputs:
        if _same(output, source):
            how = "is an input of this command"
        elif _inside(source, output):
            how = f"contains an input of this command, {source}"
        elif _inside(output, source):
            how = f"lies inside an input of this command, {source}"
        else:
            continue
        raise ConfigError(
            f"the output {how}", where=str(output), remedy="give an output outside the inputs"
        )


def json_with(*keys: str) -> Recognise:
    """Return a function that recognises a JSON file by the keys of its object."""

    def recognised(path: Path) -> bool:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(data, dict) and set(keys) <= set(data)

    return recognised


def npz_with(*names: str) -> Recognise:
    """Return a function that recognises a NumPy archive that has all arrays of these names."""

    def recognised(path: Path) -> bool:
        try:
            with zipfile.ZipFile(path) as archive:
                return {f"{name}.npy" for name in names} <= set(archive.namelist())
        except (OSError, zipfile.BadZipFile):
            return False

    return recognised


def _refusal(path: Path, what: str) -> ConfigError:
    there = "a folder" if path.is_dir() else "a file"
    return ConfigError(
        f"there is {there} that is not {what} written by hiwm; it was left unchanged",
        where=str(path), remedy="move it away, or give another output",
    )


def _same(one: Path, other: Path) -> bool:
    """Return whether two paths name the same file, also through links, case and mounts."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _inside(inner: Path, outer: Path) -> bool:
    return any(_same(parent, outer) for parent in Path(os.path.realpath(inner)).parents)


def _check_writable(path: Path) -> None:
    """Raise ConfigError if the nearest existing folder is not writable."""
    parents = Path(os.path.realpath(path)).parents
    folder = next(parent for parent in parents if os.path.lexists(parent))
    if not folder.is_dir():
        reason = f"{folder} is not a folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        reason = f"no permission to write in {folder}"
    else:
        return
    raise ConfigError(
        f"cannot be written: {reason}", where=str(path), remedy="give another output"
    )
