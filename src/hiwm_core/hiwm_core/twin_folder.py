"""The folder of a twin: a world model beside the truth, as `scripts/twin` writes it.

    twin.mp4              the pictures, with numbers and curves
    twin.json             what ran, and the numbers of each step; while it runs, of those so far
    twin.csv              the same numbers as a table
    views/0042.png        true, imagined and difference side by side, of the first camera

The console reads it, and knows nothing of world models.
"""

import json
import time
from pathlib import Path
from typing import Any

from hiwm_core.errors import StoreError
from hiwm_core.output_folders import folder_mark

WHAT = "a twin"  # in the folder's mark
SILENT_S = 20.0  # without new numbers, a run counts as dead
VIDEO, NUMBERS, TABLE, VIEWS = "twin.mp4", "twin.json", "twin.csv", "views"


def is_twin(folder: Path) -> bool:
    """Return whether a folder holds a twin with at least one step; it may still run."""
    return folder_mark(folder) == WHAT and (folder / NUMBERS).is_file()


def twins_in(folder: Path) -> list[Path]:
    """Return the twins in a folder, oldest first: itself, or the folders in it."""
    if is_twin(folder):
        return [folder]
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and is_twin(path)]
    return sorted(found, key=lambda path: (path / NUMBERS).stat().st_mtime_ns)


def is_running(numbers: dict[str, Any], folder: Path) -> bool:
    """Return whether a twin with these numbers is being written now.

    A run that was killed cannot say so: its numbers are not written again.
    """
    if not numbers.get("running"):
        return False
    try:
        # Either way: the clock may have been set back since.
        return abs(time.time() - (folder / NUMBERS).stat().st_mtime) < SILENT_S
    except OSError:
        return False


def read_numbers(folder: Path) -> dict[str, Any]:
    """Return the content of `twin.json`.

    Raises:
        StoreError: it cannot be read.
    """
    path = folder / NUMBERS
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
        return {**numbers, "rows": list(numbers["rows"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the numbers of this twin cannot be read: {error}", where=str(path),
            remedy="run scripts/twin again",
        ) from None


def view_path(folder: Path, number: int) -> Path:
    """Return the file with the views of a row."""
    return folder / VIEWS / f"{number:04d}.png"
