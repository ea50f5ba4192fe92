"""Make a session of bags, or a training set, from LeRobot data sets or IWS files.

    import_lerobot DATASET -o SESSION --embodiment NAME     names of all entries agree
    import_lerobot DATASET -o SESSION --mapping FILE        see docs/exchange.md
    import_lerobot DATASET -o SESSION                       a set that export_lerobot wrote

Episodes are resampled to the embodiment's rate and cut at gaps. Nothing is overwritten.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hiwm_core.control import Source
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.tasks import load_task
from hiwm_core.user_paths import path_argument
from hiwm_exchange.features import our
from hiwm_exchange.foreign import ForeignEpisode
from hiwm_exchange.iws import IwsReader, iws_files
from hiwm_exchange.lerobot import layout as places
from hiwm_exchange.lerobot.reader import LeRobotReader
from hiwm_exchange.mapping import DataMapping, default_mapping, load_mapping
from hiwm_exchange.segments import ImportOptions, segments_of
from hiwm_exchange.targets import (
    Labelled,
    LeftOut,
    check_new,
    new_session_id,
    report,
    write_session,
)

SOURCES = {"demonstration": Source.DEMONSTRATION, "policy": Source.POLICY, "human": Source.HUMAN}


def open_data(place: Path) -> LeRobotReader | IwsReader:
    """Return the reader of a data set.

    Raises:
        BagError: it is of no known kind, or of an unknown version.
        ConfigError: h5py is not installed.
    """
    if not (place / places.INFO).is_file() and place.exists() and iws_files(place):
        return IwsReader(place)
    return LeRobotReader(place)


def imported(
    reader: LeRobotReader | IwsReader, mapping: DataMapping, options: ImportOptions,
    left_out: LeftOut,
) -> Iterator[Labelled]:
    """Yield the segments of a data set with their labels; bad episodes are left out.

    Args:
        reader: of the data set.
        mapping: of its columns.
        options: what the data do not say.
        left_out: takes the bad episodes.

    Raises:
        ConfigError: the mapping does not fit the data.
        BagError: all episodes are bad, or one is and the import is strict.
    """
    good = 0
    for number in range(len(reader)):
        try:
            episode = reader.episode(number)
            segments = list(segments_of(episode, mapping, options))
        except BagError as error:
            left_out.take(f"episode {number}", error)
            continue
        good += 1
        for segment in segments:
            yield segment, _label(episode)
    left_out.check(good)


def _label(episode: ForeignEpisode) -> str:
    column = episode.columns.get(our("label"))
    return "" if column is None else str(column[-1])


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="import_lerobot", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=path_argument, help="folder of the data set, or HDF5 file")
    parser.add_argument(
        "--output", "-o", required=True, type=path_argument, help="the session; a new folder"
    )
    parser.add_argument("--mapping", type=path_argument, help="YAML file")
    parser.add_argument("--embodiment", default="", help="name or path, without a mapping")
    add_import_options(parser)
    return parser


def add_import_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every import."""
    parser.add_argument("--task", default="", help="name or path of our task (default: the data's)")
    parser.add_argument("--robot", default="", help="what it was recorded on")
    parser.add_argument(
        "--source", choices=sorted(SOURCES), default="demonstration",
        help="who acted, where the data do not say",
    )
    parser.add_argument(
        "--clip", action="store_true", help="bring actions into the embodiment's limits"
    )
    parser.add_argument(
        "--strict", action="store_true",
        help="stop at the first bad episode or bag in place of leaving it out",
    )


def import_options(options: argparse.Namespace, session_id: str) -> ImportOptions:
    """Return the options of an import from a command line."""
    return ImportOptions(
        session_id=session_id, task=load_task(options.task) if options.task else None,
        robot=options.robot, source=SOURCES[options.source], clip=options.clip,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Import from the command line and return the exit code; see `INCOMPLETE`."""
    options = build_parser().parse_args(arguments)
    try:
        check_new(options.output, [options.data, *([options.mapping] if options.mapping else [])])
        reader = open_data(options.data)
        if not len(reader):
            raise BagError("no episode", where=str(options.data), remedy="give a data set")
        if options.mapping:
            mapping = load_mapping(options.mapping)
        else:
            description = reader.description if isinstance(reader, LeRobotReader) else {}
            mapping = default_mapping(options.embodiment, description)
        settings = import_options(options, new_session_id(options.output))
        left_out = LeftOut(strict=options.strict, write=print)
        written = write_session(
            options.output, settings.session_id,
            imported(reader, mapping, settings, left_out), print,
        )
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return report(options.output, written, mapping.embodiment.name, left_out.count)


if __name__ == "__main__":
    sys.exit(main())
