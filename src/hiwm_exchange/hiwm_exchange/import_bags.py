"""Make a session of bags with ticks from bags of raw topics (`ros2 bag record`).

    import_bags BAG... -o SESSION --robot-file NAME

The robot file says which topic is what; its embodiment, what the numbers mean. docs/exchange.md
states how messages are aligned.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.robot_config import load_robot
from hiwm_core.user_paths import path_argument
from hiwm_exchange.import_lerobot import add_import_options, import_options
from hiwm_exchange.raw_bags import RawBag
from hiwm_exchange.segments import ImportOptions
from hiwm_exchange.targets import Labelled, check_new, new_session_id, report, write_session


def raw_bags_in(places: Sequence[Path]) -> list[Path]:
    """Return the folders with a bag's metadata in or below some folders.

    Raises:
        BagError: a place has none.
    """
    found: list[Path] = []
    for place in places:
        bags = sorted(file.parent for file in place.rglob("metadata.yaml"))
        if not bags:
            raise BagError(
                "no bag there", where=str(place),
                remedy="give folders with a metadata.yaml (ros2 bag reindex writes one)",
            )
        found += bags
    return list(dict.fromkeys(found))


def readable(
    bags: Sequence[Path], opened: Callable[[Path], RawBag], options: ImportOptions,
    left_out: list[str],
) -> Iterator[Labelled]:
    """Yield the segments of bags; of a damaged one, the stretches before the damage.

    Args:
        bags: folders.
        opened: gives the reader of one.
        options: what the bags do not say.
        left_out: receives a line for each bag that cannot be read whole, which is printed too.

    Raises:
        BagError: none can be read.
        ConfigError: the content of one does not fit the embodiment.
    """
    any_read = False
    first: BagError | None = None
    for number, path in enumerate(bags):
        kept = 0
        try:
            for segment in opened(path).segments(number, options):
                yield segment, ""
                any_read, kept = True, kept + 1
        except BagError as error:
            first = first or error
            left_out.append(
                f"left out {path.name}{f' after {kept} segments' if kept else ''}: {error}"
            )
            print(left_out[-1])
    if first and not any_read:
        raise first


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="import_bags", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bags", nargs="+", type=path_argument, help="folders of bags")
    parser.add_argument(
        "--output", "-o", required=True, type=path_argument, help="the session; a new folder"
    )
    parser.add_argument("--robot-file", required=True, help="name or path of the robot file")
    parser.add_argument(
        "--prefix", default="", metavar="/NAME",
        help="namespace of the robot's topics, where several in a bag end alike",
    )
    add_import_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Import from the command line and return the exit code; see `INCOMPLETE`."""
    options = build_parser().parse_args(arguments)
    try:
        check_new(options.output, options.bags)
        robot = load_robot(options.robot_file)
        embodiment = load_embodiment(robot.embodiment)
        told = import_options(options, new_session_id(options.output))

        left_out: list[str] = []

        def opened(path: Path) -> RawBag:
            return RawBag(path, robot, embodiment, print, options.prefix)

        segments = readable(raw_bags_in(options.bags), opened, told, left_out)
        written = write_session(options.output, told.session_id, segments, print)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return report(options.output, written, embodiment.name, len(left_out))


if __name__ == "__main__":
    sys.exit(main())
