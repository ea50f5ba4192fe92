"""Make a session of bags with ticks from bags of raw topics (`ros2 bag record`).

    import_bags BAG... -o SESSION --robot-file NAME

The robot file says which topic is what; its embodiment, what the numbers mean. docs/exchange.md
states how messages are aligned.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.robot_config import load_robot
from hiwm_core.user_paths import path_argument
from hiwm_exchange.import_lerobot import add_import_options, import_options
from hiwm_exchange.raw_bags import RawBag
from hiwm_exchange.targets import Labelled, check_new, new_session_id, write_session


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
    add_import_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Import from the command line and return the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        check_new(options.output, options.bags)
        robot = load_robot(options.robot_file)
        embodiment = load_embodiment(robot.embodiment)
        told = import_options(options, new_session_id(options.output))

        def segments() -> Iterator[Labelled]:
            for number, path in enumerate(raw_bags_in(options.bags)):
                for segment in RawBag(path, robot, embodiment, print).segments(number, told):
                    yield segment, ""

        bags, ticks = write_session(options.output, told.session_id, segments(), print)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {bags} bags, {ticks} ticks, embodiment {embodiment.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
