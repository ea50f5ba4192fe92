"""Where a modelled robot is, and what its hardware was told."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.robots.sources import JointEntry

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


def body_at_home(embodiment: Embodiment) -> Body:
    """Return a body with every joint and tool at the embodiment's home."""
    home = dict(zip([entry.name for entry in embodiment.actions], embodiment.home, strict=True))
    positions = {name: 0.0 for name in embodiment.joint_names}
    positions.update({
        entry.joint: home[entry.name] for entry in embodiment.actions if entry.joint
    })
    poses = {
        group.name: tool_pose(np.asarray(embodiment.home)[group.slice])
        for group in embodiment.groups if group.kind == "ee_position"
    }
    return Body(positions=positions, poses=poses)


def tool_pose(entries: Array) -> tuple[Array, Array]:
    """Return position [3] and quaternion [4] of x, y, z and a 6D rotation [9]; or x, y, z [3]."""
    if entries.size < 9:
        return entries[:3].copy(), np.array([0.0, 0.0, 0.0, 1.0])
    first, second = entries[3:6], entries[6:9]
    matrix = np.stack([first, second, np.cross(first, second)], axis=1)
    # The eigenvector of the largest eigenvalue is the quaternion (Bar-Itzhack 2000).
    m = matrix
    symmetric = np.array([
        [m[0, 0] - m[1, 1] - m[2, 2], 0, 0, 0],
        [m[1, 0] + m[0, 1], m[1, 1] - m[0, 0] - m[2, 2], 0, 0],
        [m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], m[2, 2] - m[0, 0] - m[1, 1], 0],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
    ]) / 3.0
    quaternion = np.linalg.eigh(symmetric)[1][:, -1]
    return entries[:3].copy(), quaternion / np.linalg.norm(quaternion)


def to_driver(entry: JointEntry, value: float) -> float:
    """Return a value in the driver's unit."""
    return entry.gripper.value(value) if entry.gripper else value


def to_embodiment(entry: JointEntry, value: float) -> float:
    """Return a driver's value in the embodiment's unit."""
    return entry.gripper.ratio(value) if entry.gripper else value
