"""The measured counterpart of an action: where the robot is, in the entries of the action array.

A target says where each entry should be; its measured counterpart says where it is. Limits, holds,
handback, leader arms, teleoperation and imagination start from it. Nothing else may take
proprioception, or the joints in their order, for it. Tested by ``test_measured.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.kinematics import LinkPose, load_model
from hiwm_core.rotations import (
    matrix_from_6d,
    matrix_from_quaternion,
    sixd_from_matrix,
    yaw_of,
)

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MeasuredPose:
    """One message of a pose stream."""

    position: ArrayLike  # [3], m
    quaternion: ArrayLike  # [4], x y z w


class MeasuredAction:
    """Turns joint positions and poses into the measured action array.

    Args:
        embodiment: its groups say where each entry comes from.

    Raises:
        ConfigError: a URDF is missing, or lacks a link or joint.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        self._kinematics = {
            group.name: LinkPose(
                load_model(group.measured.urdf, _where(embodiment, group)),
                link=group.measured.link, joints=group.measured.joints, frame=group.frame,
                where=_where(embodiment, group),
            )
            for group in embodiment.groups if group.measured.source == "urdf"
        }

    def array(
        self, joints: Mapping[str, float], poses: Mapping[str, MeasuredPose] | None = None
    ) -> Array:
        """Return the measured action [A], in the embodiment's order and units.

        Args:
            joints: position of each joint by name, rad, m, or a gripper's ratio.
            poses: newest message of each pose stream, by name.

        Raises:
            ConfigError: a joint or pose is missing, or a value is not finite.
        """
        values = np.empty(self._embodiment.action_dim)
        for group in self._embodiment.groups:
            values[group.slice] = self.group(group, joints, poses or {})
        if not np.isfinite(values).all():
            raise ConfigError(
                f"measured position is not finite: {values.tolist()}",
                where=f"embodiment {self._embodiment.name}", remedy="fix the driver",
            )
        return values

    def joint_state(
        self, message: Any, poses: Mapping[str, MeasuredPose] | None = None
    ) -> Array:
        """Return the measured action [A] of a sensor_msgs/JointState and poses; see `array`."""
        return self.array(dict(zip(message.name, message.position, strict=False)), poses)

    def group(
        self, group: ActionGroup, joints: Mapping[str, float],
        poses: Mapping[str, MeasuredPose] | None = None,
    ) -> Array:
        """Return the measured entries of one group; see `array`."""
        if group.measured.source == "joint_states":
            return self._positions(group.joints, joints)
        if group.measured.source == "urdf":
            found = self._kinematics[group.name].pose(
                self._positions(group.measured.joints, joints)
            )
            return _entries(group, found.position, found.rotation)
        poses = poses or {}
        pose = poses.get(group.measured.pose)
        if pose is None:
            raise ConfigError(
                f"pose {group.measured.pose!r} is missing", where=_where(self._embodiment, group),
                remedy=f"publish it; there are {', '.join(poses) or 'none'}",
            )
        try:
            rotation = matrix_from_quaternion(pose.quaternion)
        except ValueError as error:
            raise ConfigError(
                f"pose {group.measured.pose!r}: {error}", where=_where(self._embodiment, group),
                remedy="fix the driver",
            ) from None
        return _entries(group, np.asarray(pose.position, dtype=np.float64), rotation)

    def _positions(self, names: Sequence[str], joints: Mapping[str, float]) -> Array:
        missing = [name for name in names if name not in joints]
        if missing:
            raise ConfigError(
                f"no position of joint {', '.join(missing)}", where="joint_states",
                remedy=f"it has {', '.join(joints) or 'none'}; correct the joints of embodiment "
                f"{self._embodiment.name}",
            )
        return np.array([joints[name] for name in names], dtype=np.float64)


class MeasuredFromProprioception:
    """Reads the measured action out of proprioception arrays.

    An imagined world predicts proprioception and nothing else of the robot, so everything that its
    actions are measured by must be in there.

    Args:
        embodiment: the order of both arrays.

    Raises:
        ConfigError: proprioception lacks an entry; names it and what to add.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._joints = {
            entry.joint: i for i, entry in enumerate(embodiment.proprioception)
            if entry.field == "position"
        }
        self._columns = measured_columns(embodiment)
        missing: list[str] = []
        self._computed: list[ActionGroup] = []
        for group in embodiment.groups:
            if group.measured.source == "urdf":
                # From the joints, as everywhere else.
                missing += [name for name in group.measured.joints if name not in self._joints]
                self._computed.append(group)
                continue
            missing += [
                entry.name
                for i, entry in enumerate(embodiment.actions[group.slice], group.start)
                if self._columns[i] < 0
            ]
        if missing:
            raise ConfigError(
                f"proprioception lacks the measured counterpart of {', '.join(missing)}",
                where=f"embodiment {embodiment.name}: proprioception",
                remedy="an imagined world needs it: add {name: ..., joint: JOINT, field: position, "
                "unit: ...} or {name: ..., action: ENTRY, unit: ...} for each, and record again",
            )
        self._kinematics = MeasuredAction(embodiment) if self._computed else None
        # Action entries that kinematics compute although proprioception has them as well, [A].
        self._posed = np.zeros(len(self._columns), dtype=bool)
        for group in self._computed:
            self._posed[group.slice] = self._columns[group.slice] >= 0
        self._turning = [
            self._columns[group.rotation_slice] for group in embodiment.groups
            if group.rotation == "6d" and group not in self._computed
        ]

    def settled(self, predicted: ArrayLike, before: ArrayLike) -> Array:
        """Return predicted proprioception [P] that a robot could have.

        Poses are those of the joints, where kinematics compute them. Six numbers of a rotation that
        are predicted one by one may not form a rotation: such a tool has not turned, and
        keeps the rotation of `before` [P].
        """
        values = np.array(predicted, dtype=np.float64)
        if self._posed.any():
            values[self._columns[self._posed]] = self.array(values)[self._posed]
        for columns in self._turning:
            try:
                values[columns] = sixd_from_matrix(matrix_from_6d(values[columns]))
            except ValueError:
                values[columns] = np.asarray(before, dtype=np.float64)[columns]
        return values

    @property
    def columns(self) -> NDArray[np.intp]:
        """Place of each action entry in proprioception, [A]; -1 where kinematics compute it."""
        return self._columns.copy()

    def array(self, proprioception: ArrayLike) -> Array:
        """Return measured actions [..., A] of proprioception [..., P]."""
        seen = np.asarray(proprioception, dtype=np.float64)
        values: Array = seen[..., self._columns]
        if self._kinematics is not None:
            flat, rows = values.reshape(-1, values.shape[-1]), seen.reshape(-1, seen.shape[-1])
            for row, out in zip(rows, flat, strict=True):
                joints = {name: float(row[i]) for name, i in self._joints.items()}
                for group in self._computed:
                    out[group.slice] = self._kinematics.group(group, joints)
            values = flat.reshape(values.shape)
        return values


def measured_columns(embodiment: Embodiment) -> NDArray[np.intp]:
    """Return the place of each action's measured counterpart in proprioception, [A]; -1 = none."""
    given: dict[str, int] = {}
    for i, entry in enumerate(embodiment.proprioception):
        if entry.action or entry.field == "position":
            given[f"action {entry.action}" if entry.action else f"joint {entry.joint}"] = i
    return np.array([
        given.get(f"action {entry.name}", given.get(f"joint {entry.joint}", -1))
        for entry in embodiment.actions
    ])


def _entries(group: ActionGroup, position: Array, rotation: Array) -> Array:
    """Return a pose as the group's entries."""
    if group.rotation == "6d":
        return np.concatenate([position, sixd_from_matrix(rotation)])
    if group.rotation == "yaw":
        return np.append(position, yaw_of(rotation))
    return position


def _where(embodiment: Embodiment, group: ActionGroup) -> str:
    return f"embodiment {embodiment.name}: group {group.name}"
