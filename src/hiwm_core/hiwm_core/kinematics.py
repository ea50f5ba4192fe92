"""Forward kinematics of a URDF: poses of named links from positions of named joints.

Pinocchio (pip: ``pin``) does the work. It is imported with the first URDF, so a robot whose numbers
are all measured does not need it. Tested by ``test_kinematics.py`` against hand-computed poses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.config_files import config_directories, nearest
from hiwm_core.errors import ConfigError
from hiwm_core.user_paths import user_path

Array = NDArray[np.float64]

_MOVABLE = ("revolute", "continuous", "prismatic")
# Limits of a continuous joint, which becomes a revolute one so that every joint has one position.
_UNLIMITED_RAD = 1e6


@dataclass(frozen=True, kw_only=True)
class Pose:
    """A pose in some frame."""

    position: Array  # [3], m
    rotation: Array  # [3, 3], the axes of the posed frame are its columns


class RobotModel:
    """The joints and links of one URDF.

    Args:
        text: the URDF.
        where: its file, for error messages.

    Raises:
        ConfigError: not a URDF, or a joint of a kind that has no single position.
    """

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.text = _single_positions(text, where)
        self.pinocchio = pinocchio(where)
        try:
            self.model = self.pinocchio.buildModelFromXML(self.text)
        except ValueError:
            raise ConfigError(
                "not a URDF: its links and joints are not one tree", where=where,
                remedy="the lines above name the link or joint; check_urdf shows the tree",
            ) from None
        self._frame_kind = self.pinocchio.FrameType.BODY
        self.links = tuple(
            frame.name for frame in self.model.frames if frame.type == self._frame_kind
        )
        self.joints = tuple(self.model.names)[1:]  # the first is the universe

    def frame_id(self, link: str, where: str) -> int:
        """Return the library's index of a link; raises ConfigError with ``where`` if unknown."""
        if link not in self.links:
            raise ConfigError(
                f"{self.where} has no link {link!r}", where=where,
                remedy=f"use one of {', '.join(self.links)}{nearest(link, self.links)}",
            )
        return int(self.model.getFrameId(link, self._frame_kind))

    def joint_columns(self, joints: Sequence[str], where: str) -> NDArray[np.intp]:
        """Return the index of each joint in the model's positions.

        Raises:
            ConfigError: with ``where``, if the URDF has no such movable joint.
        """
        columns = []
        for joint in joints:
            if joint not in self.joints:
                raise ConfigError(
                    f"{self.where} has no movable joint {joint!r}", where=where,
                    remedy=f"use one of {', '.join(self.joints)}{nearest(joint, self.joints)}",
                )
            columns.append(self.model.joints[self.model.getJointId(joint)].idx_q)
        return np.array(columns, dtype=np.intp)

    def chain(self, link: str, where: str) -> tuple[str, ...]:
        """Return the movable joints between the root and a link, the root's end first."""
        joint = self.model.frames[self.frame_id(link, where)].parentJoint
        return tuple(self.model.names[j] for j in self.model.supports[joint] if j > 0)

    def neutral(self) -> Array:
        """Return all joints at zero, or at the limit nearest to it, [Q], rad or m."""
        lower, upper = self.model.lowerPositionLimit, self.model.upperPositionLimit
        return np.clip(np.zeros(self.model.nq), lower, upper).astype(np.float64)


class LinkPose:
    """The pose of one link in a frame, from the positions of named joints.

    Args:
        model: the robot.
        link: the posed link.
        joints: names of the positions that `pose` takes; every joint of the link's chain.
        frame: link in whose frame the pose is given; empty: the root link.
        where: file and field that name the link, for error messages.

    Raises:
        ConfigError: the URDF lacks a link or joint, or the chain has a joint that is not listed.
    """

    def __init__(
        self, model: RobotModel, *, link: str, joints: Sequence[str], frame: str = "", where: str
    ) -> None:
        self._pinocchio, self._model = model.pinocchio, model.model
        self._link = model.frame_id(link, where)
        self._frame = model.frame_id(frame, where) if frame else 0
        self._columns = model.joint_columns(joints, where)
        moving = [*model.chain(link, where), *(model.chain(frame, where) if frame else ())]
        missing = [joint for joint in moving if joint not in joints]
        if missing:
            raise ConfigError(
                f"the pose of {link} in {model.where} depends on {', '.join(missing)}",
                where=where, remedy="list every joint between the frame and the link",
            )
        self._positions = model.neutral()
        self._data = self._model.createData()

    def pose(self, positions: ArrayLike) -> Pose:
        """Return the link's pose.

        Args:
            positions: [J], the listed joints in their order, rad or m.

        Raises:
            ValueError: wrong number of positions.
        """
        values = np.asarray(positions, dtype=np.float64)
        if values.shape != self._columns.shape:
            raise ValueError(f"{values.size} positions for {self._columns.size} joints (LinkPose)")
        self._positions[self._columns] = values
        self._pinocchio.forwardKinematics(self._model, self._data, self._positions)
        placed = self._pinocchio.updateFramePlacement(self._model, self._data, self._link)
        if self._frame:
            seen_from = self._pinocchio.updateFramePlacement(
                self._model, self._data, self._frame
            )
            placed = seen_from.actInv(placed)
        return Pose(position=placed.translation.copy(), rotation=placed.rotation.copy())


def load_model(urdf: str | Path, where: str, folder: Path | None = None) -> RobotModel:
    """Return the robot of a URDF file.

    Args:
        urdf: a path, or the name of a file in a config folder's ``urdf``.
        where: file and field that name the URDF, for error messages.
        folder: start of a relative path; the working folder if not given.

    Raises:
        ConfigError: no such file, or see `RobotModel`.
    """
    path = find_urdf(urdf, where, folder)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the URDF {path}: {error}", where=where, remedy="give a readable file"
        ) from None
    return RobotModel(text, str(path))


def find_urdf(urdf: str | Path, where: str, folder: Path | None = None) -> Path:
    """Return the path of a URDF; arguments and errors as in `load_model`."""
    given = user_path(urdf)
    candidates = [
        (folder / given) if folder else given,
        *(config / "urdf" / given for config in config_directories()),
    ]
    for path in candidates:
        if path.is_file():
            return path
    raise ConfigError(
        f"no URDF {str(urdf)!r}", where=where,
        remedy="give a path, or a file in the folder urdf of your configuration directory; "
        "xacro files are expanded first: xacro robot.urdf.xacro -o robot.urdf",
    )


def pinocchio(where: str) -> Any:
    """Return the kinematics library; raises ConfigError that says how to install it."""
    try:
        import pinocchio as library
    except ImportError as error:
        raise ConfigError(
            f"a URDF needs the library pinocchio, which does not import ({error})", where=where,
            remedy="install it: scripts/setup without ROS, rosdep or ros-jazzy-pinocchio with it",
        ) from None
    return library


def _single_positions(text: str, where: str) -> str:
    """Return the URDF with continuous joints as revolute ones without a practical limit."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ConfigError(
            f"not a URDF: {error}", where=where,
            remedy="give a URDF; expand a xacro file first: xacro FILE -o robot.urdf",
        ) from None
    if root.tag != "robot" or root.find("link") is None:
        raise ConfigError(
            f"not a URDF: <{root.tag}> without links", where=where,
            remedy="give a file with <robot> and <link>",
        )
    for joint in root.iter("joint"):
        kind = joint.get("type")
        if kind is not None and kind not in (*_MOVABLE, "fixed"):
            raise ConfigError(
                f"joint {joint.get('name')!r} is {kind}", where=where,
                remedy=f"use {', '.join(_MOVABLE)} or fixed joints: they have one position",
            )
        if kind == "continuous":
            joint.set("type", "revolute")
            limit = joint.find("limit")
            if limit is None:
                limit = ElementTree.SubElement(joint, "limit", effort="0", velocity="0")
            limit.set("lower", str(-_UNLIMITED_RAD))
            limit.set("upper", str(_UNLIMITED_RAD))
    return ElementTree.tostring(root, encoding="unicode")
