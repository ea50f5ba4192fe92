"""A chain of joints that follows twists of its tool."""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import ActionGroup
from hiwm_core.kinematics import LinkPose, load_model
from hiwm_core.rotations import quaternion_from_matrix
from hiwm_test_support.drivers.body import Body

Array = NDArray[np.float64]


class Chain:
    """The joints of a group that is measured by forward kinematics."""

    def __init__(self, group: ActionGroup) -> None:
        measured = group.measured
        self._group, self._joints = group.name, measured.joints
        self._robot = load_model(measured.urdf, group.name)
        self._columns = self._robot.joint_columns(self._joints, group.name)
        self._frame = self._robot.frame_id(measured.link, group.name)
        self._data = self._robot.model.createData()
        self._pose = LinkPose(
            self._robot, link=measured.link, joints=self._joints, frame=group.frame,
            where=group.name,
        )

    def place(self, body: Body) -> None:
        """Set the tool's pose to that of the joints."""
        pose = self._pose.pose([body.positions[joint] for joint in self._joints])
        body.poses[self._group] = (pose.position, quaternion_from_matrix(pose.rotation))

    def move(self, body: Body, twist: Array, dt: float) -> None:
        """Move the joints by a twist along the tool's axes [6]."""
        positions = self._robot.neutral()
        positions[self._columns] = [body.positions[joint] for joint in self._joints]
        library = self._robot.pinocchio
        jacobian = library.computeFrameJacobian(
            self._robot.model, self._data, positions, self._frame, library.LOCAL
        )
        moved = positions + np.linalg.pinv(jacobian) @ twist * dt
        body.positions.update(zip(self._joints, moved[self._columns].tolist(), strict=True))
        self.place(body)
