"""The scripted operator's perception and control: it finds the T in the image, and carries it."""

from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import Image, Sight
from hiwm_push_t import shape
from hiwm_push_t.carrier import CarryPlanner
from hiwm_push_t.goal import Goal
from hiwm_push_t.vision import TableSight, TableVision

Array = NDArray[np.float64]

# Lever arm that converts an angle to a length: about the T's radius of gyration, in units.
_LEVER_UNITS = 1.5


class PushTOperator:
    """Looks at the embodiment's first camera; see `hiwm_core.task_plugin.Operator`."""

    correction_ticks = 120

    def __init__(self, goal: Goal, embodiment: Embodiment) -> None:
        self._goal = goal
        self._embodiment = embodiment
        self._camera = embodiment.cameras[0]
        self._vision = TableVision(self._camera.view_m, goal.unit_m)
        self._pose: Array | None = None  # of the last image

    def look(
        self, images: Mapping[str, Image], measured: Array, *, jumped: bool
    ) -> Sight:
        """Return the T's distance from its goal, and how well a rigid T fits the picture."""
        found = self._vision.look(images[self._camera.name], None if jumped else self._pose)
        pose = self._pose = found.object_pose
        if pose is None:
            return Sight(
                error_m=np.nan, progress=np.nan, clarity=found.overlap, found=found
            )
        goal = np.array(self._goal.pose)
        return Sight(
            error_m=self.error_m(pose), clarity=found.overlap, found=found,
            progress=shape.coverage(pose, goal, self._goal.unit_m),
        )

    def error_m(self, pose: Array) -> float:
        """Return the distance of a pose [x, y, yaw] from the goal, m, the angle as an arc."""
        x, y, yaw = self._goal.pose
        turn = abs(shape.wrap(float(pose[2] - yaw))) * _LEVER_UNITS * self._goal.unit_m
        return float(np.hypot(pose[0] - x, pose[1] - y)) + turn

    def correction(self, seed: int, variety: float) -> "PushTCorrection":
        """Return a correction by carrying the T."""
        return PushTCorrection(CarryPlanner(self._goal, self._embodiment, seed, variety=variety))


class PushTCorrection:
    """Carries the T that the operator sees; see `hiwm_core.task_plugin.Correction`."""

    def __init__(self, planner: CarryPlanner) -> None:
        self._planner = planner

    def done(self, sight: Sight) -> bool:
        """Return whether the T is at its goal."""
        return self._planner.done(_pose(sight))

    def targets(self, sight: Sight, measured: Array) -> Array:
        """Return the next targets [4], m; a pusher out of sight is where it was measured."""
        seen = cast(TableSight, sight.found).pushers
        pushers = np.where(np.isnan(seen), measured[:4], seen)
        return self._planner.targets(_pose(sight), pushers)


def _pose(sight: Sight) -> Array:
    pose = cast(TableSight, sight.found).object_pose
    assert pose is not None, "the script asks only while the T is visible"
    return pose
