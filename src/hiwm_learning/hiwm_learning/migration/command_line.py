"""Converts sessions, bags, training sets, studies, checkpoints and config files to this version.

    scripts/migrate PATH...             writes PATH_migrated beside each PATH
    scripts/migrate PATH -o NEW         writes NEW
    scripts/migrate --in-place PATH...  the converted copy takes the name, the original is kept as
                                        PATH_before_migration
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hiwm_core.atomic_files import sync_folder
from hiwm_core.bags.disk import disk_refusal, free_disk_bytes
from hiwm_core.errors import HiwmError, StoreError
from hiwm_core.output_folders import check_apart
from hiwm_core.user_paths import path_argument
from hiwm_learning.migration.folders import Found, Migration, find_earlier

_NEW, _OLD = "_migrated", "_before_migration"


def migrate(source: Path, target: Path, *, in_place: bool) -> list[str]:
    """Convert one folder or file; return what could not be converted.

    Args:
        source: a folder or file.
        target: path of the converted copy; with `in_place`, of the kept original.
        in_place: whether the copy takes the source's name.

    Raises:
        StoreError: the source is missing or in use, the target exists, or the disk is full.
        ConfigError: the target lies inside the source.
    """
    source = source.resolve()
    if not source.exists():
        raise StoreError("nothing there", where=str(source), remedy="check the path")
    if target.exists():
        raise StoreError(
            "exists; nothing was changed", where=str(target),
            remedy="move it away, or give another name with -o",
        )
    check_apart(target, [source])
    found = find_earlier(source)
    if not found.earlier:
        print(f"{source}: nothing of an earlier version")
        return []
    print(f"{source}: {found.counts} to convert")
    problems = _write_copy(source, target, found, in_place=in_place)
    print(f"{source}: converted; the original is {target if in_place else source}, the converted "
          f"copy is {source if in_place else target}")
    return problems


def _write_copy(source: Path, target: Path, found: Found, *, in_place: bool) -> list[str]:
    free = free_disk_bytes(target.parent)
    if free < 1.1 * found.size:
        raise StoreError(
            f"the copy needs {found.size / 1e6:.0f} MB, {free / 1e6:.0f} MB are free",
            where=str(target.parent), remedy="free space, or choose another disk with -o",
        )
    migration = Migration(lambda line: print(line, file=sys.stderr))
    try:
        with tempfile.TemporaryDirectory(prefix=".hiwm_migrate_", dir=target.parent) as folder:
            copy = Path(folder) / source.name
            migration.copy(source, copy, found)
            if in_place:
                source.rename(target)
            copy.rename(source if in_place else target)
        sync_folder(target.parent)
    except OSError as error:
        raise StoreError(
            disk_refusal(error, target), where=str(target.parent),
            remedy="make room there and start again; the original is unchanged",
        ) from error
    return migration.problems


def _target(source: Path, options: argparse.Namespace) -> Path:
    if options.output is not None:
        return Path(options.output).resolve()
    source = source.resolve()
    suffix = _OLD if options.in_place else _NEW
    return source.with_name(f"{source.stem}{suffix}{source.suffix}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert the given paths; return 1 if something could not be converted."""
    parser = argparse.ArgumentParser(
        prog="scripts/migrate", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=path_argument, metavar="PATH")
    parser.add_argument(
        "--in-place", action="store_true",
        help="give the converted copy the original's name, and keep the original",
    )
    parser.add_argument("-o", "--output", type=path_argument, help="path of the copy, for one PATH")
    options = parser.parse_args(arguments)
    if options.output is not None and (len(options.paths) > 1 or options.in_place):
        parser.error("-o names the copy of one PATH, without --in-place")
    problems = []
    for path in options.paths:
        try:
            problems += migrate(path, _target(path, options), in_place=options.in_place)
        except HiwmError as error:
            print(f"error: {error}", file=sys.stderr)
            problems.append(str(error))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
