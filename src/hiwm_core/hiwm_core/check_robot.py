"""Reads a robot file and its embodiment as the bridge does, and prints what they say.

    python -m hiwm_core.check_robot NAME
"""

import argparse
import sys
from collections.abc import Sequence

from hiwm_core.config_files import find_config
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import HiwmError
from hiwm_core.robot_config import RobotConfig, load_robot

# Of drafts by scripts/inspect.
_MARK = "CHECK:"


def summary(robot: RobotConfig) -> list[str]:
    """Return a robot's content as lines for people."""
    embodiment = load_embodiment(robot.embodiment)
    lines = [
        f"robot: {robot.name}{', a stand-in' if robot.stand_in else ''}",
        f"embodiment: {embodiment.name}, {embodiment.action_dim} action entries, "
        f"{len(embodiment.proprioception)} of proprioception, {embodiment.rate_hz:g} Hz",
    ]
    lines += [
        f"joints: {source.topic}: {', '.join(entry.joint for entry in source.entries)}"
        for source in robot.joint_states.values()
    ]
    lines += [f"pose: {pose.topic}" for pose in robot.poses.values()]
    for name, topic in robot.cameras.items():
        camera = embodiment.camera(name)
        lines.append(f"camera: {topic.image} to {name}, {camera.width}x{camera.height}")
    lines += [
        f"output: {output.adapter} to {output.address}: "
        f"{', '.join(entry.driver for entry in output.entries) or output.group}; "
        f"without commands {output.silence}"
        for output in robot.outputs.values()
    ]
    lines += [
        f"needs active: {', '.join(group.required)} of {group.manager}"
        for group in robot.controllers
    ]
    lines.append(f"interlocks: {', '.join(robot.interlocks) or 'none'}")
    lines.append(f"workspace: {'checked' if robot.workspace else 'not checked'}")
    return lines


def unchecked(name: str) -> list[str]:
    """Return the files of a robot that still have marks of a draft, with their number."""
    found = []
    for kind, config in (("robots", name), ("embodiments", load_robot(name).embodiment)):
        path = find_config(kind, config)
        count = path.read_text().count(_MARK)
        if count:
            found.append(f"{path}: {count}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Check from the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="check_robot", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("robot", help="name of robots/NAME.yaml, or a path")
    options = parser.parse_args(arguments)
    try:
        print("\n".join(summary(load_robot(options.robot))))
        for line in unchecked(options.robot):
            print(f"marks left in {line}")
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
