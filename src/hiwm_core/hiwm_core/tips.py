"""Motion of arms' tips as targets, whatever entries the action has.

A device that moves tips does not know whether the robot takes poses or joint positions. `Tips`
adds a tip's displacement to the entries of an end effector, and moves joints by inverse kinematics.
The only place where Cartesian motion becomes targets. Tested by ``test_tips.py``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.inverse_kinematics import TipSolver
from hiwm_core.kinematics import Pose, load_model
from hiwm_core.rotations import matrix_from_6d, matrix_from_vector, vector_from_matrix

Array = NDArray[np.float64]
TipAxis = Literal["x", "y", "z", "roll", "pitch", "yaw"]

TIP_AXES: tuple[TipAxis, ...] = ("x", "y", "z", "roll", "pitch", "yaw")
_ROTATIONS: Mapping[str, tuple[TipAxis, ...]] = {
    "none": (), "yaw": ("yaw",), "6d": ("roll", "pitch", "yaw"),
}
BASE, TOOL = "base", "tool"
_CAMERA = "camera "
# The wanted pose of an arm of joints leads its tip by at most this, and by one displacement. It is
# what pulls an arm along the edge of its reach; more of it would only delay the way back.
_LEAD_M, _LEAD_RAD = 0.01, 0.1
# A goal draws a tip at most this fast.
_GOAL_M_S, _GOAL_RAD_S = 0.5, 2.5
# Farther from the wanted pose than this, a tip does not reach it.
_MISSED_M, _MISSED_RAD = 0.003, 0.06
_SOLVER_STEPS = 2  # with one, joints swing at the edge of the reach


@dataclass(frozen=True, kw_only=True)
class TipStep:
    """A displacement of a tip."""

    displacement: Array  # [6], m along x, y, z, and the rotation vector in rad
    frame: str = BASE  # along whose axes: one of `tip_frames`


TipMotion = TipStep | Pose  # a pose is a goal, in the arm's own frame


def tip_axes(embodiment: Embodiment, arm: str) -> tuple[TipAxis, ...]:
    """Return the axes that an arm's tip can be moved along or about; none without a tip."""
    for group in embodiment.groups:
        if group.arm == arm and group.kind == "ee_position":
            return (*TIP_AXES[:3], *_ROTATIONS[group.rotation])
        if group.arm == arm and group.kinematics is not None:
            return TIP_AXES
    return ()


def tip_frames(embodiment: Embodiment) -> tuple[str, ...]:
    """Return the frames of displacements, the most natural first: camera views, base, tool."""
    if not any(tip_axes(embodiment, arm) for arm in embodiment.arms):
        return ()
    return (*_views(embodiment), BASE, TOOL)


def view_away(embodiment: Embodiment, frame: str) -> float:
    """Return the direction away from a person who looks at the arms, about z from x, rad.

    It is that of a camera's frame, and along x in any other: forward, by REP-103.
    """
    return _views(embodiment).get(frame, 0.0)


def view_axes(away_rad: float) -> Array:
    """Return the axes of a view as columns [3, 3]: x to its right, y away from it, z up.

    Args:
        away_rad: direction of y about z.
    """
    return matrix_from_vector([0.0, 0.0, away_rad - np.pi / 2])


def _views(embodiment: Embodiment) -> dict[str, float]:
    return {
        _CAMERA + camera.name: camera.away_rad
        for camera in embodiment.cameras if camera.away_rad is not None
    }


class _Tip(Protocol):
    """The tip of one arm."""

    note: str

    def forget(self) -> None:
        """Forget the wanted pose."""

    def pose(self, target: Array) -> Pose:
        """Return the tip's pose for a target [A], in the arm's frame."""

    def moved(self, target: Array, step: Array, seconds: float) -> Array:
        """Return the target [A] after a displacement [6] in the arm's frame."""

    def drawn(self, target: Array, goal: Pose, seconds: float) -> Array:
        """Return the target [A] nearer to a pose."""


class Tips:
    """The tips of an embodiment's arms.

    Args:
        embodiment: groups of end effectors, and groups of joints with ``kinematics``.

    Raises:
        ConfigError: a URDF is missing, or lacks a link or joint.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        deltas = ActionDeltas(embodiment)
        self._tips: dict[str, _Tip] = {}
        for group in embodiment.groups:
            if group.kind == "ee_position":
                self._tips[group.arm] = _EndEffector(embodiment, group, deltas)
            elif group.kinematics is not None:
                self._tips[group.arm] = _Joints(embodiment, group)
        self._away = _views(embodiment)

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms whose tips can be moved."""
        return tuple(self._tips)

    @property
    def note(self) -> str:
        """What keeps tips from where they were last moved, for the person; may be empty."""
        return "; ".join(
            f"{arm} {tip.note}".strip() for arm, tip in self._tips.items() if tip.note
        )

    def forget(self) -> None:
        """Start again from the next target: at a takeover, after a rollback."""
        for tip in self._tips.values():
            tip.forget()

    def pose(self, arm: str, target: Array) -> Pose:
        """Return the pose of an arm's tip for a target [A], in the arm's frame."""
        return self._tips[arm].pose(target)

    def move(self, target: Array, motions: Mapping[str, TipMotion], seconds: float) -> Array:
        """Return the target [A] after motions of tips.

        Args:
            target: where the motions start, [A].
            motions: by arm; arms without a tip are left out.
            seconds: how long the motions take.
        """
        for arm, motion in motions.items():
            tip = self._tips.get(arm)
            if tip is None:
                continue
            if isinstance(motion, Pose):
                target = tip.drawn(target, motion, seconds)
                continue
            turn = self._frame(motion.frame, tip.pose(target))
            step = np.concatenate([turn @ motion.displacement[:3], turn @ motion.displacement[3:]])
            target = tip.moved(target, step, seconds)
        return target

    def _frame(self, name: str, tip: Pose) -> Array:
        """Return a frame's axes in an arm's frame, as columns; an unknown one's are the arm's."""
        if name == TOOL:
            return tip.rotation
        away = self._away.get(name)
        return np.eye(3) if away is None else view_axes(away)


class _EndEffector:
    """The tip of entries that are its pose."""

    def __init__(self, embodiment: Embodiment, group: ActionGroup, deltas: ActionDeltas) -> None:
        self.note = ""
        self._group, self._deltas, self._size = group, deltas, embodiment.action_dim
        self._speed = embodiment.max_velocity[group.slice]

    def forget(self) -> None:
        pass

    def pose(self, target: Array) -> Pose:
        values = target[self._group.slice]
        rotation = np.eye(3)
        if self._group.rotation == "yaw":
            rotation = matrix_from_vector([0.0, 0.0, values[3]])
        elif self._group.rotation == "6d":
            rotation = matrix_from_6d(values[3:])
        return Pose(position=values[:3].copy(), rotation=rotation)

    def moved(self, target: Array, step: Array, seconds: float) -> Array:
        delta = np.zeros(self._size)
        start = self._group.start
        delta[start:start + 3] = step[:3]
        if self._group.rotation == "yaw":
            delta[start + 3] = step[5]
        elif self._group.rotation == "6d":
            delta[start + 3:start + 6] = step[3:]
        return self._deltas.moved(target, delta)

    def drawn(self, target: Array, goal: Pose, seconds: float) -> Array:
        step = _between(self.pose(target), goal)
        most = np.repeat([self._speed[0], self._speed[-1]], 3)
        return self.moved(target, _shortened(step, *(most[[0, 3]] * seconds)), seconds)


class _Joints:
    """The tip of a chain of joints."""

    def __init__(self, embodiment: Embodiment, group: ActionGroup) -> None:
        where = f"embodiment {embodiment.name}: group {group.name}: kinematics"
        assert group.kinematics is not None
        self.note = ""
        self._slice = group.slice
        self._speed = embodiment.max_velocity[group.slice]
        self._solver = TipSolver(
            load_model(group.kinematics.urdf, where), tip=group.kinematics.tip,
            joints=group.joints, frame=group.kinematics.frame,
            lower=embodiment.lower[group.slice], upper=embodiment.upper[group.slice], where=where,
        )
        self._wanted: Pose | None = None

    def forget(self) -> None:
        self._wanted, self.note = None, ""

    def pose(self, target: Array) -> Pose:
        return self._solver.pose(target[self._slice])

    def moved(self, target: Array, step: Array, seconds: float) -> Array:
        here = self.pose(target)
        wanted = self._wanted or here
        if not step.any():
            # The arm stops at once, and keeps the direction of its tool.
            self._wanted = Pose(position=here.position, rotation=wanted.rotation)
            return target
        wanted = _displaced(wanted, step)
        lead = math.hypot(*step[:3]) + _LEAD_M, math.hypot(*step[3:]) + _LEAD_RAD
        return self._toward(target, here, wanted, lead, seconds)

    def drawn(self, target: Array, goal: Pose, seconds: float) -> Array:
        lead = _GOAL_M_S * seconds + _LEAD_M, _GOAL_RAD_S * seconds + _LEAD_RAD
        return self._toward(target, self.pose(target), goal, lead, seconds)

    def _toward(
        self, target: Array, here: Pose, wanted: Pose, lead: tuple[float, float], seconds: float
    ) -> Array:
        self._wanted = wanted = _displaced(here, _shortened(_between(here, wanted), *lead))
        before = joints = target[self._slice]
        for _ in range(_SOLVER_STEPS):
            joints = self._solver.step(wanted, joints, self._speed * seconds / _SOLVER_STEPS)
        gap = _between(self._solver.pose(joints), wanted)
        self.note = self._missed(gap, joints, np.abs(joints - before) / (self._speed * seconds))
        after = target.copy()
        after[self._slice] = joints
        return after

    def _missed(self, gap: Array, joints: Array, share: Array) -> str:
        """Return why a tip is not where it should be; empty if it is.

        Args:
            gap: displacement to where it should be, [6].
            joints: where the joints are sent, [J].
            share: of its full speed, for each joint [J].
        """
        if math.hypot(*gap[:3]) < _MISSED_M and math.hypot(*gap[3:]) < _MISSED_RAD:
            return ""
        stopped = self._solver.at_limits(joints)
        if stopped:
            return f"at the limit of {', '.join(stopped)}"
        fast = [
            name for name, part in zip(self._solver.joints, share, strict=True) if part > 0.99
        ]
        if fast:
            return f"slowed: {', '.join(fast)} at full speed"
        return "at the edge of its reach"


def _between(here: Pose, there: Pose) -> Array:
    """Return the displacement [6] from one pose to another."""
    return np.concatenate([
        there.position - here.position, vector_from_matrix(there.rotation @ here.rotation.T)
    ])


def _displaced(pose: Pose, step: Array) -> Pose:
    """Return a pose after a displacement [6]."""
    return Pose(
        position=pose.position + step[:3],
        rotation=matrix_from_vector(step[3:]) @ pose.rotation,
    )


def _shortened(step: Array, longest_m: float, longest_rad: float) -> Array:
    """Return a displacement [6] of at most a length, m, and an angle, rad."""
    short = step.copy()
    for part, longest in ((slice(0, 3), longest_m), (slice(3, 6), longest_rad)):
        length = math.hypot(*short[part])
        if length > longest:
            short[part] *= longest / length
    return short
