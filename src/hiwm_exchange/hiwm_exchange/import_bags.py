"""Make a session of bags with ticks from bags of raw topics (`ros2 bag record`).

    import_bags BAG... -o SESSION --robot-file NAME

The robot file says which topic is what; its embodiment, what the numbers mean. docs/exchange.md
states how messages are aligned.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.robot_config import load_robot
from hiwm_core.user_paths import path_argument
from hiwm_exchange.import_lerobot import add_import_options, import_options
from hiwm_exchange.raw_bags import RawBag
from hiwm_exchange.segments import ImportOptions
from hiwm_exchange.targets import (
    Labelled,
    LeftOut,
    check_new,
    new_session_id,
    report,
    write_session,
)


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
    left_out: LeftOut,
) -> Iterator[Labelled]:
    """Yield the segments of bags; of a damaged one, the stretches before the damage.

    A stretch whose actions are out of limits is left out; the others of its bag are not.

    Args:
        bags: folders.
        opened: gives the reader of one.
        options: what the bags do not say.
        left_out: takes the bags that cannot be read whole, and the bad stretches.

    Raises:
        BagError: none can be read, or one cannot and the import is strict.
        ConfigError: the messages of one do not fit the embodiment.
    """
    good = 0
    for number, path in enumerate(bags):
        kept = 0
        try:
            leave_out = partial(left_out.take, f"a stretch of {path.name}")
            for segment in opened(path).segments(number, options, leave_out):
                yield segment, ""
                kept += 1
        except BagError as error:
            left_out.take(f"{path.name}{f' after {kept} segments' if kept else ''}", error)
        good += kept
    left_out.check(good)


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
        settings = import_options(options, new_session_id(options.output))

        left_out = LeftOut(strict=options.strict, write=print)

        def opened(path: Path) -> RawBag:
            return RawBag(path, robot, embodiment, print, options.prefix)

        segments = readable(raw_bags_in(options.bags), opened, settings, left_out)
        written = write_session(options.output, settings.session_id, segments, print)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return report(options.output, written, embodiment.name, left_out.count)


if __name__ == "__main__":
    sys.exit(main())
