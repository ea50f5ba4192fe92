"""Reads a robot file and its embodiment as the bridge does, and prints what they say.

    python -m hiwm_core.check_robot NAME
"""

import sys
from collections.abc import Sequence

from hiwm_core.check_command import run_check
from hiwm_core.config_files import find_config
from hiwm_core.embodiment import load_embodiment
from hiwm_core.measured import MeasuredAction
from hiwm_core.robot_config import RobotConfig, load_robot
from hiwm_core.tips import Tips

# Of drafts by scripts/inspect.
_MARK = "CHECK:"


def summary(robot: RobotConfig) -> list[str]:
    """Return a robot's content as lines for people.

    Raises:
        ConfigError: a URDF that measures or moves a tip is missing, or lacks a link or joint.
    """
    embodiment = load_embodiment(robot.embodiment)
    MeasuredAction(embodiment)
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
        f"view for the console: {view.image} as {name}, {view.size[0]}x{view.size[1]}"
        for name, view in robot.views.items()
    ]
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
    arms = ", ".join(Tips(embodiment).arms)
    lines.append(f"arms that devices move by their tips: {arms or 'none'}")
    lines.append(f"interlocks: {', '.join(robot.interlocks) or 'none'}")
    lines.append(f"workspace: {'checked' if robot.workspace else 'not checked'}")
    return lines


def unchecked(name: str) -> list[str]:
    """Return a line for each file of a robot that still has marks of a draft."""
    found = []
    for kind, config in (("robots", name), ("embodiments", load_robot(name).embodiment)):
        path = find_config(kind, config)
        count = path.read_text().count(_MARK)
        if count:
            found.append(f"marks left in {path}: {count}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Check from the command line and return the exit code."""
    return run_check(
        arguments, lambda name: [*summary(load_robot(name)), *unchecked(name)],
        program="check_robot", description=__doc__, what="robot",
    )


if __name__ == "__main__":
    sys.exit(main())
