"""The last check before a target is sent: links in the workspace, above the table, and apart.

The bridge asks once a command, after the limits, and so does an imagined world; a target with a
problem is not sent, and the person reads the reason. Joint arms are checked by their URDF along the
straight joint path to the target. For end-effector arms only the target's position is checked,
because the controller chooses the joints.
Tested by ``test_workspace_check.py``; docs/robots.md explains the section ``workspace``.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.embodiment import ActionGroup, Embodiment, load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.kinematics import RobotModel, load_model
from hiwm_core.link_distances import LinkDistances, Measure
from hiwm_core.robot_config import RobotConfig
from hiwm_core.robots.safety import Workspace

Array = NDArray[np.float64]

# A path is checked at points at most this far apart in every joint: 10 cm at a reach of one metre.
_PATH_STEP = {"rad": 0.1, "m": 0.02}
# Distances are solved to about 1e-6 m; a smaller approach is noise.
_NOISE_M = 5e-6


class WorkspaceCheck:
    """Whether targets keep a robot's links where its file wants them.

    Args:
        workspace: the robot file's section.
        embodiment: meaning of the action array.
        where: the robot file, for error messages.
        description: the URDF that was published on `urdf_topic`.

    Raises:
        ConfigError: the URDF lacks a link or joint, a joint that carries a named link is not
            commanded, or an end effector is commanded in another frame than the box's.
    """

    def __init__(
        self, workspace: Workspace, embodiment: Embodiment, where: str, description: str = ""
    ) -> None:
        self._workspace = workspace
        self._clearance = workspace.clearance_m
        self._end_effectors = _end_effectors(workspace, embodiment, f"{where}: workspace")
        self._distances: LinkDistances | None = None
        if not workspace.has_urdf and not self._end_effectors:
            raise ConfigError(
                f"embodiment {embodiment.name} commands joints, which need a URDF",
                where=f"{where}: workspace.urdf", remedy="give its path, and the links to check",
            )
        if workspace.urdf:
            model = load_model(workspace.urdf, f"{where}: workspace.urdf")
            self._load_arms(model, workspace, embodiment, f"{where}: workspace")
        elif workspace.urdf_topic:
            model = RobotModel(description, f"the URDF on {workspace.urdf_topic}")
            self._load_arms(model, workspace, embodiment, f"{where}: workspace")

    def problem(self, target: ArrayLike, start: ArrayLike) -> str:
        """Return why a target must not be sent, in words; empty if it may.

        A configuration that already breaks a rule may be left: only what comes nearer, or goes
        further out, is a problem.

        Args:
            target: [A], embodiment order and units, finite.
            start: [A], the last target sent, or the measured position.
        """
        goal = np.asarray(target, dtype=np.float64)
        origin = np.asarray(start, dtype=np.float64)
        return self._end_effector_problem(goal, origin) or self._link_problem(goal, origin)

    def _load_arms(
        self, model: RobotModel, workspace: Workspace, embodiment: Embodiment, where: str
    ) -> None:
        groups = [group for group in embodiment.groups if group.kind == "joint_position"]
        joints = [joint for group in groups for joint in group.joints]
        self._commanded = np.array(
            [i for group in groups for i in range(*group.slice.indices(embodiment.action_dim))],
            dtype=np.intp,
        )
        self._columns = model.joint_columns(joints, f"{where}.urdf")
        self._step = np.array([_PATH_STEP[embodiment.actions[i].unit] for i in self._commanded])
        for link in workspace.named_links:
            _check_carried(model, link, joints, where)
        self._distances = LinkDistances(
            model, links=workspace.links, pairs=workspace.pairs, frame=workspace.frame,
            box=workspace.box, table_z_m=workspace.table_z_m, clearance_m=self._clearance,
            where=where,
        )
        # Joints that no action commands, such as fingers, stay at zero.
        self._neutral = model.neutral()

    def _link_problem(self, goal: Array, origin: Array) -> str:
        if self._distances is None:
            return ""
        start, end = origin[self._commanded], goal[self._commanded]
        if not start.size:
            return ""
        points = max(1, math.ceil(float(np.max(np.abs(end - start) / self._step))))
        path = [self._positions(start + (end - start) * (i / points)) for i in range(points + 1)]
        for before, now in zip(path, path[1:], strict=False):
            problem = "" if self._distances.allows(now) else self._worsening(before, now)
            if problem:
                return problem
        return ""

    def _worsening(self, before: Array, now: Array) -> str:
        """Return the worst broken rule that a step brings nearer, in words; empty if none."""
        assert self._distances is not None
        least, distance = self._distances.least, self._distances.measure(now)
        worse = (distance < least) & (distance < self._distances.measure(before) - _NOISE_M)
        if not worse.any():
            return ""
        most = int(np.argmin(np.where(worse, distance - least, np.inf)))
        return self._words(self._distances.measures[most], float(distance[most]))

    def _positions(self, commanded: Array) -> Array:
        """Return the positions of all joints of the URDF for those that are commanded."""
        positions = self._neutral.copy()
        positions[self._columns] = commanded
        return positions

    def _end_effector_problem(self, goal: Array, origin: Array) -> str:
        box, table = self._workspace.box, self._workspace.table_z_m
        for group in self._end_effectors:
            xyz = slice(group.start, group.start + 3)
            for axis, (old, new) in enumerate(zip(origin[xyz], goal[xyz], strict=True)):
                if box is None:
                    continue
                for side, depth, before in (
                    ("lower", box.lower[axis] - new, box.lower[axis] - old),
                    ("upper", new - box.upper[axis], old - box.upper[axis]),
                ):
                    if depth > 0 and depth > before + _NOISE_M:
                        measure = Measure(link=group.tip, side=f"{side} {'xyz'[axis]}")
                        return self._words(measure, -depth)
            if table is not None:
                height, before = goal[xyz][2] - table, origin[xyz][2] - table
                if height < self._clearance and height < before - _NOISE_M:
                    return self._words(Measure(link=group.tip), float(height))
        return ""

    def _words(self, measure: Measure, distance: float) -> str:
        link, millimetres = spoken(measure.link), distance * 1e3
        least = f" (at least {self._clearance * 1e3:.0f} mm)" if self._clearance else ""
        if measure.side:
            out = f"{-millimetres:.0f} mm outside the workspace"
            return f"{link} would be {out}, past {measure.side}"
        if measure.other:
            gap = f"{millimetres:.0f} mm from" if distance > 0 else "in"
            return f"{link} would be {gap} the {spoken(measure.other)}{least}"
        if distance > 0:
            return f"{link} would be {millimetres:.0f} mm above the table{least}"
        return f"{link} would be {-millimetres:.0f} mm below the table's top{least}"


def file_workspace(robot: RobotConfig, embodiment: Embodiment) -> WorkspaceCheck | None:
    """Return the check of a robot's targets, for programs without topics; None if it has none.

    Raises:
        ConfigError: the robot is one of another embodiment, its URDF is on a topic, or see
            `WorkspaceCheck`.
    """
    where = f"robot {robot.name}"
    if robot.workspace is None:
        return None
    if load_embodiment(robot.embodiment).name != embodiment.name:
        raise ConfigError(
            f"it is a {robot.embodiment}, the task's is a {embodiment.name}", where=where,
            remedy="name a robot of the task's embodiment",
        )
    if robot.workspace.urdf_topic:
        raise ConfigError(
            f"its URDF is on the topic {robot.workspace.urdf_topic}",
            where=f"{where}: workspace.urdf_topic",
            remedy="save it and give the file as urdf: ros2 param get --hide-type "
            "/robot_state_publisher robot_description > robot.urdf",
        )
    return WorkspaceCheck(robot.workspace, embodiment, where)


def leaves_workspace(problem: str) -> str:
    """Return the end of the sentence about an action that `WorkspaceCheck.problem` refuses."""
    return f"would leave the workspace: {problem}"


def spoken(link: str) -> str:
    """Return a link's name in words: ``left_wrist_3_link`` is ``left wrist 3``."""
    return link.removesuffix("_link").replace("_", " ").replace("/", " ")


def _check_carried(model: RobotModel, link: str, joints: list[str], where: str) -> None:
    """Refuse a link whose place depends on a joint that is not commanded.

    Fingers are an exception: joints beyond the last commanded one stay at zero.
    """
    chain = model.chain(link, where)
    last = max((i for i, joint in enumerate(chain) if joint in joints), default=-1)
    unknown = [joint for joint in chain[: last + 1] if joint not in joints]
    if chain and last < 0:
        unknown = list(chain)
    if unknown:
        raise ConfigError(
            f"link {link!r} moves with {', '.join(unknown)}, which no action commands",
            where=where,
            remedy="name joints in the embodiment as in the URDF, or leave the link out",
        )


def _end_effectors(
    workspace: Workspace, embodiment: Embodiment, where: str
) -> tuple[ActionGroup, ...]:
    """Return the groups that the box or table bounds by their position."""
    if workspace.box is None and workspace.table_z_m is None:
        return ()
    groups = tuple(group for group in embodiment.groups if group.kind == "ee_position")
    for group in groups:
        if group.frame != (workspace.frame or embodiment.frame):
            raise ConfigError(
                f"group {group.name} is commanded in {group.frame}, box and table are in "
                f"{workspace.frame or embodiment.frame}",
                where=f"{where}.frame", remedy=f"give box and table in {group.frame}",
            )
    return groups
