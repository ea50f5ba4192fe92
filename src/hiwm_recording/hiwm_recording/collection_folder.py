"""The folder of one kind of episodes that scripts/collect_data records.

    python -m hiwm_recording.collection_folder FOLDER    empties it, or refuses
    python -m hiwm_recording.collection_folder FOLDER --complete

An interrupted collection of that kind is begun anew, so its folder is emptied. Only a folder that
collect_data made is, and only while it holds nothing but what a session writes.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import BusyError, ConfigError, HiwmError
from hiwm_core.output_folders import MARK, claim_folder, folder_mark
from hiwm_core.session_lock import owners
from hiwm_core.user_paths import path_argument

_WHAT = "a folder of scripts/collect_data"
_COMPLETE = "complete"
# Of a session's folder; hidden files are marks and locks.
_OF_A_SESSION = (
    "bags", "locks", "evaluation", "states", "blobs", "session.json", "world_counters.json",
    "bridge_counters.json", "tree.sqlite", "tree.sqlite-wal", "tree.sqlite-shm", "live.png",
    "summary.json", "tree.png", "contact_sheet.png",
)


def prepare(folder: Path) -> bool:
    """Return whether a collection is to be recorded, into a folder that is empty but for a mark.

    Raises:
        ConfigError: something else is in the folder; it is left as it was.
        BusyError: a collection into it is under way.
    """
    if (folder / _COMPLETE).exists():
        return False
    if folder_mark(folder) == _WHAT:
        strange = [
            file for file in folder.iterdir()
            if file.name not in _OF_A_SESSION and not file.name.startswith(".")
        ]
        if strange:
            raise ConfigError(
                f"{strange[0].name} is no part of a collection; the folder was left as it is",
                where=str(folder), remedy="move it away, or name another directory",
            )
        if busy := owners(folder):
            raise BusyError(
                f"the folder is being recorded by {busy[0].process}", where=str(folder),
                remedy="end that collection first",
            )
        for file in folder.iterdir():
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            elif file.name != MARK:
                file.unlink()
    claim_folder(folder, _WHAT)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare or complete a folder; return 0, 1 after a refusal, 3 where it is complete."""
    parser = argparse.ArgumentParser(prog="collection_folder", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=path_argument)
    parser.add_argument("--complete", action="store_true", help="mark it as complete")
    options = parser.parse_args(arguments)
    try:
        if options.complete:
            replace_file(options.folder / _COMPLETE, "")
        elif not prepare(options.folder):
            return 3
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
