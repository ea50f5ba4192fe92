"""Checks of a robot file against its embodiment, made on load.

Every action entry must be commanded once and every number that the embodiment names must have a
source. Tested by ``test_robot_checks.py``.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from hiwm_core.config_files import nearest
from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.image_sizes import check_camera_size
from hiwm_core.robots.outputs import Output
from hiwm_core.robots.safety import Workspace
from hiwm_core.rotations import matrix_from_quaternion

if TYPE_CHECKING:
    from hiwm_core.robot_config import RobotConfig

# How far a tool's x axis at yaw 0 may be from the frame's, rad: rounding of a written quaternion.
_LEVEL = 0.01


def check_robot(robot: "RobotConfig", embodiment: Embodiment, where: str) -> None:
    """Check that a robot serves an embodiment.

    Args:
        robot: of the file; the path of its URDF is complete.
        embodiment: the one it names.
        where: the robot's file, for error messages.

    Raises:
        ConfigError: names the file, the field and the remedy.
    """
    try:
        _check_sources(robot, embodiment)
        _check_outputs(robot, embodiment)
        _check_cameras(robot, embodiment)
        if robot.workspace is not None and robot.workspace.urdf:
            _check_urdf(robot.workspace)
    except ConfigError as error:
        place = f"{where}: {error.where}"
        raise ConfigError(error.what, where=place, remedy=error.remedy) from None


def _check_sources(robot: "RobotConfig", embodiment: Embodiment) -> None:
    grippers = _gripper_joints(embodiment)
    for name, source in robot.joint_states.items():
        for entry in source.entries:
            place = f"joint_states.{name}.joints"
            _check_known(entry.joint, embodiment.joint_names, f"{place}.{entry.driver}", embodiment)
            if entry.gripper is not None and entry.joint not in grippers:
                raise ConfigError(
                    f"{entry.joint} is not a gripper, but has a gripper's map",
                    where=f"{place}.{entry.driver}", remedy="give only the joint's name",
                )
    served = {e.joint for source in robot.joint_states.values() for e in source.entries}
    _check_complete(embodiment.joint_names, served, "joint_states", "joint", embodiment)
    for name in robot.poses:
        _check_known(name, embodiment.pose_names, f"poses.{name}", embodiment)
    _check_complete(embodiment.pose_names, robot.poses, "poses", "pose", embodiment)


def _check_outputs(robot: "RobotConfig", embodiment: Embodiment) -> None:
    joints = [name for name in embodiment.action_joints if name]
    tools = {group.name: group for group in embodiment.groups if group.kind == "ee_position"}
    grippers = _gripper_joints(embodiment)
    period = 1.0 / embodiment.rate_hz
    for name, output in robot.outputs.items():
        place = f"outputs.{name}"
        if output.group:
            _check_known(output.group, tools, f"{place}.group", embodiment)
            _check_orientation(output, tools[output.group], place)
        for entry in output.entries:
            at = f"{place}.joints"
            _check_known(entry.joint, joints, at, embodiment)
            if entry.joint not in grippers and (entry.gripper or output.drives == "gripper"):
                raise ConfigError(
                    f"{entry.joint} is not a gripper of embodiment {embodiment.name}", where=at,
                    remedy="give only the driver's name, and an adapter for joints"
                    if entry.gripper else "use an adapter for joints",
                )
        if output.rate_hz is None and (output.time_from_start_s or 0.0) > period * (1 + 1e-9):
            raise ConfigError(
                f"time_from_start_s {output.time_from_start_s:g} is longer than the control period "
                f"of {period:g} s", where=f"{place}.time_from_start_s",
                remedy="leave it out: a point that is replaced before it ends moves erratically",
            )
    sent = {e.joint for output in robot.outputs.values() for e in output.entries}
    _check_complete(joints, sent, "outputs", "joint", embodiment)
    groups = {output.group for output in robot.outputs.values() if output.group}
    _check_complete(tools, groups, "outputs", "group", embodiment)


def _check_orientation(output: Output, group: ActionGroup, place: str) -> None:
    """A pose has an orientation even where the embodiment does not command all of it."""
    whole = group.rotation == "6d"
    if output.drives == "pose" and whole is (output.orientation is not None):
        raise ConfigError(
            f"group {group.name} has rotation {group.rotation}", where=f"{place}.orientation",
            remedy="leave it out: the embodiment commands the orientation" if whole
            else "give the tool's orientation at yaw 0 as a quaternion x, y, z, w",
        )
    if output.orientation is not None and group.rotation == "yaw":
        x_axis = matrix_from_quaternion(output.orientation)[:, 0]
        if np.abs(x_axis - [1.0, 0.0, 0.0]).max() > _LEVEL:
            raise ConfigError(
                f"the tool's x axis at yaw 0 is {[round(float(v), 3) for v in x_axis]} in the "
                "frame, and yaw is measured as its angle about z", where=f"{place}.orientation",
                remedy="give an orientation whose x axis is [1, 0, 0], such as 1, 0, 0, 0 for a "
                "tool that points down; otherwise use rotation 6d",
            )
    if output.tool_axes and not whole:
        raise ConfigError(
            f"tool_axes, and group {group.name} has rotation {group.rotation}",
            where=f"{place}.tool_axes",
            remedy="use a group with rotation 6d: the tool's axes must be measured",
        )


def _check_cameras(robot: "RobotConfig", embodiment: Embodiment) -> None:
    names = [camera.name for camera in embodiment.cameras]
    for name, topic in robot.cameras.items():
        _check_known(name, names, f"cameras.{name}", embodiment)
        if topic.upright_size is None:
            continue
        width, height = topic.upright_size
        check_camera_size(
            height, width, embodiment.camera(name), where=f"cameras.{name}.crop, after rotation",
            remedy="give a crop of the embodiment's aspect ratio, at least as large",
        )
    _check_complete(names, robot.cameras, "cameras", "camera", embodiment)
    for name in robot.views:
        if name in names:
            raise ConfigError(
                f"view {name} has the name of a camera of embodiment {embodiment.name}, which the "
                "console shows already", where=f"views.{name}",
                remedy="give it another name, or leave it out",
            )


def _check_urdf(workspace: Workspace) -> None:
    path = Path(workspace.urdf)
    try:
        root = ElementTree.parse(path).getroot()
    except OSError:
        raise ConfigError(
            f"no file {path}", where="workspace.urdf",
            remedy="give a path, absolute or from the robot file's folder",
        ) from None
    except ElementTree.ParseError as error:
        raise ConfigError(
            f"{path} is not XML: {error}", where="workspace.urdf",
            remedy="expand xacro files first: xacro FILE > robot.urdf",
        ) from None
    links = [link.get("name", "") for link in root.findall("link")]
    for link in workspace.named_links:
        if link not in links:
            raise ConfigError(
                f"{path.name} has no link {link!r}", where="workspace.links",
                remedy=f"use one of {', '.join(links) or '(none found)'}{nearest(link, links)}",
            )


def _gripper_joints(embodiment: Embodiment) -> set[str]:
    groups = (group for group in embodiment.groups if group.kind == "gripper")
    return {joint for group in groups for joint in group.joints}


def _check_known(name: str, known: Iterable[str], where: str, embodiment: Embodiment) -> None:
    names = list(known)
    if name not in names:
        raise ConfigError(
            f"embodiment {embodiment.name} has no {name!r} here", where=where,
            remedy=f"use one of {', '.join(names) or '(none)'}{nearest(name, names)}",
        )


def _check_complete(
    needed: Iterable[str], given: Iterable[str], where: str, what: str, embodiment: Embodiment
) -> None:
    missing = [name for name in needed if name not in given]
    if missing:
        raise ConfigError(
            f"{what} {', '.join(missing)} of embodiment {embodiment.name} is missing", where=where,
            remedy="add it",
        )
