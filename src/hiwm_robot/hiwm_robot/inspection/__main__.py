"""Drafts the files of a robot from its running drivers.

    scripts/inspect --output ~/desk_arm

Start the robot's drivers, controllers and cameras first, move the arm and open and shut the gripper
while it watches, then search the drafts for CHECK. docs/your_robot.md goes on from there.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import date

import rclpy

from hiwm_core.errors import ConfigError, HiwmError
from hiwm_core.output_folders import check_output_folder
from hiwm_core.user_paths import path_argument
from hiwm_nodes.log_folder import provide_log_folder
from hiwm_robot.inspection.drafts import drafts
from hiwm_robot.inspection.embodiment_draft import CHECK
from hiwm_robot.inspection.layout import layout, plain_name
from hiwm_robot.inspection.sightings import Sighting
from hiwm_robot.inspection.summary import summary
from hiwm_robot.inspection.watcher import Watcher


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/inspect", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-o", "--output", type=path_argument, required=True, metavar="DIRECTORY",
        help="new or empty folder for the drafts, outside the checkout",
    )
    parser.add_argument("--name", help="of the robot; the folder's name if left out")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to watch")
    parser.add_argument(
        "--namespace", default="/", help="watch only names below it, such as /follower"
    )
    parser.add_argument(
        "--ns", default="hiwm", help="namespace of a session, which is not watched"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch, write the drafts, and return the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        if not 0.5 <= options.seconds <= 3600.0:
            raise ConfigError(
                f"{options.seconds:g} s", where="--seconds", remedy="give 0.5 to 3600; 10 is enough"
            )
        check_output_folder(options.output, "a folder for drafts", lambda folder: False)
        name = plain_name(options.name or options.output.resolve().name)
        seen = _watched(options)
        found = layout(seen, name)
        texts = drafts(found, seen, date.today().isoformat())
        for path, text in texts.items():
            place = options.output / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        print("\n".join(summary(seen, found)))
        print(f"\nDrafts in {options.output}:")
        for path, text in texts.items():
            print(f"  {path}, {text.count(CHECK.strip('# '))} to check")
        print(f"\nNext: grep -rn CHECK: {options.output}, and docs/your_robot.md")
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _watched(options: argparse.Namespace) -> Sighting:
    provide_log_folder()
    rclpy.init(args=[])
    watcher = Watcher(options.namespace, options.ns)
    try:
        print(f"Watching for {options.seconds:g} s ...", flush=True)
        return watcher.watch(options.seconds)
    finally:
        watcher.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
