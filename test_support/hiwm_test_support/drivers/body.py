"""Where a modelled robot is, and what its hardware was told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.robot_config import RobotConfig
from hiwm_core.robots.sources import JointEntry
from hiwm_core.rotations import (
    matrix_from_6d,
    matrix_from_quaternion,
    matrix_from_vector,
    quaternion_from_matrix,
)

Array = NDArray[np.float64]


@dataclass(kw_only=True)
class Body:
    """The state that outputs change and sources report, in the embodiment's units.

    `lead` is the largest distance by which a target led its joint or tool, as a share of the
    entry's `max_following_error`; `step` the largest step between two targets, as a share of what
    `max_velocity` allows in one control step. Both start again with `forget`.
    """

    positions: dict[str, float]  # embodiment's joint: rad, m or ratio
    poses: dict[str, tuple[Array, Array]]  # group: position [3] m, quaternion [4] x y z w
    lead: float = 0.0
    step: float = 0.0
    errors: list[str] = field(default_factory=list)  # what a real controller would have refused
    frozen: bool = False  # brakes closed: nothing moves whatever is commanded

    def forget(self) -> None:
        """Start the largest lead and step again."""
        self.lead = self.step = 0.0


def body_at_home(embodiment: Embodiment, robot: RobotConfig) -> Body:
    """Return a body with every joint and tool at the embodiment's home."""
    home = dict(zip([entry.name for entry in embodiment.actions], embodiment.home, strict=True))
    positions = {name: 0.0 for name in embodiment.joint_names}
    positions.update({
        entry.joint: home[entry.name] for entry in embodiment.actions if entry.joint
    })
    upright = {output.group: output.orientation for output in robot.outputs.values()}
    poses = {
        group.name: tool_pose(np.asarray(embodiment.home)[group.slice], upright[group.name])
        for group in embodiment.groups if group.kind == "ee_position"
    }
    return Body(positions=positions, poses=poses)


def tool_pose(entries: Array, upright: Sequence[float] | None) -> tuple[Array, Array]:
    """Return position [3] and quaternion [4] of a group's entries.

    Args:
        entries: x, y, z [3]; with a yaw [4]; or with a 6D rotation [9].
        upright: quaternion without a rotation, or at yaw 0; None: the identity.
    """
    rotation = matrix_from_quaternion(upright or (0.0, 0.0, 0.0, 1.0))
    if entries.size == 9:
        rotation = matrix_from_6d(entries[3:])
    elif entries.size == 4:
        rotation = matrix_from_vector([0.0, 0.0, entries[3]]) @ rotation
    return entries[:3].copy(), quaternion_from_matrix(rotation)


def to_driver(entry: JointEntry, value: float) -> float:
    """Return a value in the driver's unit."""
    return entry.gripper.value(value) if entry.gripper else value


def to_embodiment(entry: JointEntry, value: float) -> float:
    """Return a driver's value in the embodiment's unit."""
    return entry.gripper.ratio(value) if entry.gripper else value
