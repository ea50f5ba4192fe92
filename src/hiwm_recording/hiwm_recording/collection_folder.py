"""Prepares the folder into which scripts/collect_data records one kind of episode.

    python -m hiwm_recording.collection_folder FOLDER              empty it, or refuse
    python -m hiwm_recording.collection_folder FOLDER --complete   mark it as complete

An interrupted collection starts over, so its folder is emptied. This happens only to a folder that
collect_data created and that contains nothing but a session's files.
"""

import argparse
import re
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
# Entries of a session folder.
_SESSION_ENTRIES = (
    "bags", "locks", "evaluation", "states", "blobs", "session.json", "session_id",
    "world_counters.json", "bridge_counters.json", "tree.sqlite", "tree.sqlite-wal",
    "tree.sqlite-shm", "live.png", "summary.json", "tree.png", "contact_sheet.png",
)
# Left by a process that was killed as it wrote one of them; see atomic_files.
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.part")


def prepare(folder: Path) -> bool:
    """Empty the folder for a collection and return True; return False if it is complete.

    The mark stays in the folder.

    Raises:
        ConfigError: the folder contains something else; it is unchanged.
        BusyError: another collection is recording into it.
    """
    if (folder / _COMPLETE).exists():
        return False
    if folder_mark(folder) == _WHAT:
        unexpected = [
            file for file in folder.iterdir()
            if file.name not in (*_SESSION_ENTRIES, MARK) and not _UNFINISHED.fullmatch(file.name)
        ]
        if unexpected:
            raise ConfigError(
                f"{unexpected[0].name} is not part of a collection; the folder was left unchanged",
                where=str(folder), remedy="move it away, or give another folder",
            )
        if busy := owners(folder):
            raise BusyError(
                f"the folder is being recorded by {busy[0].process}", where=str(folder),
                remedy="stop that collection first",
            )
        for file in folder.iterdir():
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            elif file.name != MARK:
                file.unlink()
    claim_folder(folder, _WHAT)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare or complete a folder; return 0, 1 if refused, 3 if already complete."""
    parser = argparse.ArgumentParser(prog="collection_folder", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=path_argument)
    parser.add_argument("--complete", action="store_true", help="mark it as complete")
    options = parser.parse_args(arguments)
    try:
        if options.complete:
            claim_folder(options.folder, _WHAT)
            replace_file(options.folder / _COMPLETE, "")
        elif not prepare(options.folder):
            return 3
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
