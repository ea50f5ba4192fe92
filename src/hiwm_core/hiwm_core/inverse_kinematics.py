"""Inverse kinematics of one tip: joints that bring it to a pose, or as near as it gets.

Pink (pip: ``pin-pink``) does the work on the same Pinocchio model as the forward kinematics. Each
step is a quadratic program with the joints' limits as bounds, so joints never leave them. Its
damping slows joints near singularities. Tested by ``test_inverse_kinematics.py``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.errors import ConfigError
from hiwm_core.kinematics import Pose, RobotModel
from hiwm_core.rotations import vector_from_matrix

Array = NDArray[np.float64]

# [m^2]. At the edge of its reach an arm without it swings between two joint positions: one step for
# each target, 20 ms apart, swung in 162 of 300 steps with 1e-4 and in none with 1e-3.
_DAMPING = 1e-3
# A radian of the tool's direction counts as this length. An arm with fewer than six joints cannot
# choose its direction: there the position counts.
_LEVER_M, _LEVER_OF_FEW_JOINTS_M = 0.2, 0.01
_POSE_JOINTS = 6
_SOLVER = "daqp"
# A pose is reached within these, and a joint is at its limit within this.
_NEAR_M, _NEAR_RAD, _AT_LIMIT = 1e-5, 1e-4, 1e-3


class TipSolver:
    """Inverse kinematics of one tip.

    Args:
        model: the robot.
        tip: link that is moved.
        joints: names of the joints that move it; other joints of the robot stay at zero.
        frame: link in whose frame poses are given; empty: the root link.
        lower: further lower limits [J], rad or m; the URDF's apply as well.
        upper: further upper limits [J].
        where: file and field, for error messages.

    Raises:
        ConfigError: the URDF lacks a link or joint, a joint does not move the tip or moves the
            frame, or the library is missing.
    """

    def __init__(
        self, model: RobotModel, *, tip: str, joints: Sequence[str], frame: str = "",
        lower: ArrayLike | None = None, upper: ArrayLike | None = None, where: str,
    ) -> None:
        self._pink, self._solve = _library(where)
        chain = model.chain(tip, where)
        idle = [name for name in joints if name not in chain]
        if idle:
            raise ConfigError(
                f"{', '.join(idle)} do not move {tip} in {model.where}", where=where,
                remedy=f"the tip is moved by {', '.join(chain) or 'no joint'}: name the link at "
                "the end of the arm",
            )
        moved = [name for name in (model.chain(frame, where) if frame else ()) if name in joints]
        if moved:
            raise ConfigError(
                f"the frame {frame} is moved by {', '.join(moved)}", where=where,
                remedy="give a link that these joints do not move",
            )
        model.joint_columns(joints, where)  # names an unknown joint
        self._library = model.pinocchio
        body = self._library.FrameType.BODY
        self._model = self._library.buildReducedModel(
            model.model, [model.model.getJointId(name) for name in model.joints
                          if name not in joints], model.neutral(),
        )
        self._columns = np.array([
            self._model.joints[self._model.getJointId(name)].idx_q for name in joints
        ])
        self._tip = self._model.getFrameId(tip, body)
        self.joints = tuple(joints)
        self._lower = self._model.lowerPositionLimit[self._columns]
        self._upper = self._model.upperPositionLimit[self._columns]
        if lower is not None:
            self._lower = np.maximum(self._lower, lower)
        if upper is not None:
            self._upper = np.minimum(self._upper, upper)
        lever = _LEVER_M if len(joints) >= _POSE_JOINTS else _LEVER_OF_FEW_JOINTS_M
        self._task = self._pink.tasks.FrameTask(tip, position_cost=1.0, orientation_cost=lever)
        self._state = self._pink.Configuration(
            self._model, self._model.createData(), self._library.neutral(self._model),
            copy_data=False,
        )
        self._frame = self._library.SE3.Identity()
        if frame:
            self._frame = self._state.data.oMf[self._model.getFrameId(frame, body)].copy()

    def pose(self, joints: ArrayLike) -> Pose:
        """Return the tip's pose with the joints at [J], rad or m."""
        self._state.update(self._spread(joints))
        placed = self._frame.actInv(self._state.data.oMf[self._tip])
        return Pose(position=placed.translation.copy(), rotation=placed.rotation.copy())

    def step(self, goal: Pose, joints: ArrayLike, largest: ArrayLike | None = None) -> Array:
        """Return joints [J] nearer to a pose by one damped step.

        Args:
            goal: pose of the tip in the frame.
            joints: [J], where the joints are. One that is outside its limits may only return.
            largest: largest way of each joint [J], rad or m; None: no limit.
        """
        here = np.array(joints, dtype=np.float64)
        self._state.update(self._spread(here))
        self._task.set_target(self._frame * self._library.SE3(goal.rotation, goal.position))
        most = np.full_like(here, np.inf) if largest is None else np.asarray(largest)
        least = self._spread(np.maximum(np.minimum(self._lower, here) - here, -most))
        highest = self._spread(np.minimum(np.maximum(self._upper, here) - here, most))
        problem = self._pink.build_ik(self._state, [self._task], 1.0, damping=_DAMPING, limits=[])
        problem.lb, problem.ub = least, highest
        found = self._solve(problem, solver=_SOLVER).x
        if found is None:
            return here
        # The solver keeps its bounds to its own tolerance.
        return np.asarray(here + np.clip(found, least, highest)[self._columns])

    def solve(self, goal: Pose, joints: ArrayLike, steps: int = 20) -> Array:
        """Return joints [J] whose tip is at a pose, or as near as it gets in so many steps."""
        found = np.array(joints, dtype=np.float64)
        for _ in range(steps):
            if _near(goal, self.pose(found)):
                break
            found = self.step(goal, found)
        return found

    def at_limits(self, joints: ArrayLike) -> tuple[str, ...]:
        """Return the names of the joints that are at a limit or beyond it."""
        here = np.asarray(joints, dtype=np.float64)
        at = (here < self._lower + _AT_LIMIT) | (here > self._upper - _AT_LIMIT)
        return tuple(name for name, is_at in zip(self.joints, at, strict=True) if is_at)

    def _spread(self, values: ArrayLike) -> Array:
        """Return values of the joints in the order of the library's model."""
        spread = np.empty(self._model.nq)
        spread[self._columns] = values
        return spread


def _near(goal: Pose, here: Pose) -> bool:
    turn = vector_from_matrix(goal.rotation @ here.rotation.T)
    return bool(
        np.linalg.norm(goal.position - here.position) < _NEAR_M
        and np.linalg.norm(turn) < _NEAR_RAD
    )


def _library(where: str) -> tuple[Any, Any]:
    """Return Pink and its solver's function; raises ConfigError that says how to install them."""
    try:
        import daqp  # noqa: F401 - named by _SOLVER; without it the first step would fail
        import pink
        import qpsolvers
    except ImportError as error:
        raise ConfigError(
            f"inverse kinematics need the library pink, which does not import ({error})",
            where=where,
            remedy="install it: scripts/setup without ROS, pip install pin-pink daqp with it",
        ) from None
    return pink, qpsolvers.solve_problem
