"""What a world publishes of its robot, from proprioception: joint states and poses.

An imagined world predicts proprioception, but publishes the topics of a robot, so that the nodes
above it read both alike. ``frames`` and ``measured`` are the way back; ``test_world_streams.py``
checks that both ways give the same arrays.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from hiwm_core.embodiment import Embodiment
from hiwm_core.frames import JointValues
from hiwm_core.measured import MeasuredFromProprioception, MeasuredPose
from hiwm_core.rotations import matrix_from_6d, matrix_from_vector, quaternion_from_matrix


class WorldStreams:
    """Turns proprioception into the streams of an embodiment.

    Args:
        embodiment: of the world.

    Raises:
        ConfigError: proprioception does not measure every action entry.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        self._measured = MeasuredFromProprioception(embodiment)
        self._names = embodiment.joint_names
        self._fields = {entry.field for entry in embodiment.proprioception}

    def joints(self, proprioception: ArrayLike) -> JointValues:
        """Return the joint state of proprioception [P]; NaN where a value is not predicted."""
        seen = np.asarray(proprioception, dtype=np.float64)
        values = {
            field: dict.fromkeys(self._names, math.nan)
            for field in ("position", "velocity", "effort")
        }
        measured = self._measured.array(seen)
        for entry, value in zip(self._embodiment.actions, measured, strict=True):
            if entry.joint:
                values["position"][entry.joint] = float(value)
        for given, value in zip(self._embodiment.proprioception, seen, strict=True):
            if given.joint:
                values[given.field][given.joint] = float(value)
        return JointValues(
            name=self._names, position=list(values["position"].values()),
            velocity=list(values["velocity"].values()) if "velocity" in self._fields else [],
            effort=list(values["effort"].values()) if "effort" in self._fields else [],
        )

    def poses(self, proprioception: ArrayLike) -> dict[str, MeasuredPose]:
        """Return the pose of each stream of proprioception [P].

        A stream that measures a position without rotation gets the identity; one with a yaw stands
        upright.

        Raises:
            ValueError: a predicted 6D rotation is degenerate.
        """
        poses = {}
        measured = self._measured.array(proprioception)
        for group in self._embodiment.groups:
            if group.measured.source != "pose":
                continue
            values, turn = measured[group.slice], measured[group.rotation_slice]
            if group.rotation == "6d":
                matrix = matrix_from_6d(turn)
            elif group.rotation == "yaw":
                matrix = matrix_from_vector([0.0, 0.0, turn[0]])
            else:
                matrix = np.eye(3)
            poses[group.measured.pose] = MeasuredPose(
                position=values[:3], quaternion=quaternion_from_matrix(matrix)
            )
        return poses
