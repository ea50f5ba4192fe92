"""The T and its goal, as the task file gives them, and poses as named values."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.config_schema import settings
from hiwm_core.errors import ConfigError
from hiwm_core.task_plugin import Values
from hiwm_core.tasks import Task
from hiwm_push_t import shape

Array = NDArray[np.float64]

# The T's centre of mass in the table frame; see `shape`.
POSE_NAMES = ("object_x_m", "object_y_m", "object_yaw_rad")
COVERAGE = "coverage"  # share of the goal that the T covers, 0..1
AWAY_M = 1.0  # x and y of a T that is out of sight
T_UNITS = 4.0  # the T's size: the length of its bar
# A radian counts as this arc, m: the T's edge moves about that far.
ARC_M = 0.06
# Larger lengths and angles are probably millimetres and degrees.
_MAX_M = 3.0
_MAX_RAD = 2 * math.pi


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Where the T belongs."""

    pose: tuple[float, float, float]  # x [m], y [m], yaw [rad], table frame
    unit_m: float  # the T's bar is 4 x 1 units, its stem 1 x 3
    success_coverage: float  # share of the goal that counts as success, 0..1
    min_coverage_gap: float  # a start covers at most 1 minus this of the goal

    @property
    def size_m(self) -> float:
        """The T's size."""
        return T_UNITS * self.unit_m


@dataclass(frozen=True, kw_only=True)
class _Settings:
    goal_pose: tuple[float, float, float]
    unit_m: float
    min_coverage_gap: float

    def __post_init__(self) -> None:
        if not 0 < self.unit_m < _MAX_M:
            raise ConfigError(
                f"unit_m is {self.unit_m}", where="unit_m", remedy="give a length in m"
            )
        if not 0 <= self.min_coverage_gap <= 1:
            raise ConfigError(
                f"min_coverage_gap is {self.min_coverage_gap}", where="min_coverage_gap",
                remedy="use 0..1",
            )
        _check_units(self.goal_pose[:2], self.goal_pose[2:], "goal_pose")


def goal_of(task: Task) -> Goal:
    """Return the goal that a task's settings describe.

    Raises:
        ConfigError: a wrong setting, or other values of a start than `POSE_NAMES`.
    """
    given = settings(_Settings, dict(task.settings), "settings")
    if task.start_names != POSE_NAMES:
        raise ConfigError(
            f"a start has the values {', '.join(task.start_names) or 'none'}",
            where="starts.ranges", remedy=f"list {', '.join(POSE_NAMES)}, in this order",
        )
    for name, bounds in task.start_ranges.items():
        angle = name.endswith("_rad")
        _check_units(() if angle else bounds, bounds if angle else (), f"starts.ranges.{name}")
    return Goal(
        pose=given.goal_pose, unit_m=given.unit_m, success_coverage=task.success_progress,
        min_coverage_gap=given.min_coverage_gap,
    )


def pose_of(values: Values) -> Array:
    """Return the pose [x, y, yaw] in named values."""
    return np.array([values[name] for name in POSE_NAMES])


def values_of(pose: Array) -> dict[str, float]:
    """Return a pose [x, y, yaw] as named values."""
    return dict(zip(POSE_NAMES, np.asarray(pose).tolist(), strict=True))


def pose_gap(one: Array, other: Array) -> tuple[float, float]:
    """Return the distance, m, and the angle, rad, between two poses [3]."""
    return float(np.linalg.norm(one[:2] - other[:2])), abs(shape.wrap(float(one[2] - other[2])))


def _check_units(lengths: tuple[float, ...], angles: tuple[float, ...], where: str) -> None:
    for value in lengths:
        if abs(value) > _MAX_M:
            raise ConfigError(f"{value} m is off the table", where=where, remedy="give metres")
    for value in angles:
        if abs(value) > _MAX_RAD:
            raise ConfigError(f"{value} rad is over a turn", where=where, remedy="give radians")
