"""Inverse kinematics of the stand-in's Cartesian controllers.

Damped steps from where the joints were sent last, as controllers of real arms take them. Near the
edge of its reach an arm goes as far as it can. Tested by ``test_standin_robot.py``.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.embodiment import ActionGroup
from hiwm_core.errors import ConfigError
from hiwm_core.kinematics import load_model
from hiwm_core.rotations import vector_from_matrix

Array = NDArray[np.float64]

# Steps of damped least squares. Targets are near the last ones, so few are needed.
_STEPS = 20
_DAMPING = 1e-3
_NEAR_M, _NEAR_RAD = 1e-5, 1e-4
# A radian counts as this length, and a joint turns by at most this much in a step.
_LEVER_M, _LARGEST_RAD = 0.2, 0.3


class TipKinematics:
    """Inverse kinematics of one end effector.

    Args:
        group: an end effector whose pose is measured from a URDF.
        where: file and field, for error messages.

    Raises:
        ConfigError: the group is measured by a pose stream, or its URDF does not fit.
    """

    def __init__(self, group: ActionGroup, where: str) -> None:
        if group.measured.source != "urdf":
            raise ConfigError(
                f"group {group.name} has no kinematics", where=where,
                remedy="measure it from a URDF: {source: urdf, ...}",
            )
        robot = load_model(group.measured.urdf, where)
        self._library: Any = robot.pinocchio
        self._model = robot.model
        self._data = self._model.createData()
        self._link = robot.frame_id(group.measured.link, where)
        self._frame = robot.frame_id(group.frame, where)
        self._columns = robot.joint_columns(group.measured.joints, where)
        self._all = robot.neutral()
        self._lower = self._model.lowerPositionLimit[self._columns]
        self._upper = self._model.upperPositionLimit[self._columns]

    def solve(self, position: ArrayLike, rotation: Array, joints: ArrayLike) -> Array:
        """Return joints [J] whose tip is at a pose of the group's frame, or as near as it gets.

        Args:
            position: [3], m.
            rotation: [3, 3].
            joints: [J], where to start from, rad.
        """
        found = np.array(joints, dtype=np.float64)
        for _ in range(_STEPS):
            error, jacobian = self._error(np.asarray(position), rotation, found)
            if np.linalg.norm(error[:3]) < _NEAR_M and np.linalg.norm(error[3:]) < _NEAR_RAD:
                break
            weights = np.array([1.0, 1.0, 1.0, _LEVER_M, _LEVER_M, _LEVER_M])
            weighted = weights[:, None] * jacobian
            squared = weighted @ weighted.T + _DAMPING**2 * np.eye(6)
            step = weighted.T @ np.linalg.solve(squared, weights * error)
            step *= min(1.0, _LARGEST_RAD / max(float(np.abs(step).max()), 1e-9))
            found = np.clip(found + step, self._lower, self._upper)
        return found

    def _error(self, position: Array, rotation: Array, joints: Array) -> tuple[Array, Array]:
        """Return what is missing to a pose, m and rad [6], and the Jacobian [6, J]."""
        library, data = self._library, self._data
        self._all[self._columns] = joints
        library.computeJointJacobians(self._model, data, self._all)
        placed = library.updateFramePlacement(self._model, data, self._link)
        frame = library.updateFramePlacement(self._model, data, self._frame)
        goal = frame.rotation @ position + frame.translation
        turn = frame.rotation @ rotation @ placed.rotation.T
        error = np.concatenate([goal - placed.translation, vector_from_matrix(turn)])
        jacobian = library.getFrameJacobian(
            self._model, data, self._link, library.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )
        # Every joint of the model has one position and one velocity, in one order.
        return error, jacobian[:, self._columns]
