"""Tasks: goal, success criterion, horizon and start poses."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hiwm_core import push_t
from hiwm_core.config_files import find_config, parse_mapping, text_hash
from hiwm_core.config_schema import settings
from hiwm_core.errors import ConfigError

# Larger lengths and angles are probably millimetres and degrees.
_MAX_M = 3.0
_MAX_RAD = 2 * math.pi


@dataclass(frozen=True, kw_only=True)
class Task:
    """A planar pushing task, all lengths in m, angles in rad, table frame."""

    name: str
    embodiment: str
    horizon_steps: int
    goal_pose: tuple[float, float, float]
    object_unit_m: float
    success_coverage: float  # fraction of the goal that must be covered, 0..1
    reset_x_m: tuple[float, float]
    reset_y_m: tuple[float, float]
    reset_yaw_rad: tuple[float, float]
    min_coverage_gap: float  # a start covers at most 1 minus this of the goal
    text: str
    hash: str

    start_names: ClassVar[tuple[str, ...]] = ("object_x_m", "object_y_m", "object_yaw_rad")
    labels: ClassVar[tuple[str, ...]] = ("success", "failure")
    instruction: ClassVar[str] = ""

    def sample_start(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return a start pose [x, y, yaw] of the object, uniform over the reset ranges."""
        ranges = np.array([self.reset_x_m, self.reset_y_m, self.reset_yaw_rad])
        for _ in range(1000):
            pose: NDArray[np.float64] = rng.uniform(ranges[:, 0], ranges[:, 1])
            gap = 1.0 - push_t.coverage(pose, np.array(self.goal_pose), self.object_unit_m)
            if gap >= self.min_coverage_gap:
                return pose
        raise ConfigError(
            "no start pose is far enough from the goal", where=f"task {self.name}: reset",
            remedy="widen the ranges or lower min_coverage_gap",
        )


def load_task(name: str | Path) -> Task:
    """Return the task with a name in config/tasks, or at a path.

    Raises:
        ConfigError: missing file, unknown key or wrong value; names file and field.
    """
    path = find_config("tasks", name)
    return parse_task(path.read_text(), str(path))


@dataclass(frozen=True, kw_only=True)
class _ObjectEntry:
    unit_m: float

    def __post_init__(self) -> None:
        if not 0 < self.unit_m < _MAX_M:
            raise ConfigError(
                f"unit_m is {self.unit_m}", where="unit_m", remedy="give a length in m"
            )


@dataclass(frozen=True, kw_only=True)
class _SuccessEntry:
    coverage: float

    def __post_init__(self) -> None:
        if not 0 < self.coverage <= 1:
            raise ConfigError(f"coverage is {self.coverage}", where="coverage", remedy="use 0..1")


@dataclass(frozen=True, kw_only=True)
class _ResetEntry:
    x_m: tuple[float, float]
    y_m: tuple[float, float]
    yaw_rad: tuple[float, float]
    min_coverage_gap: float

    def __post_init__(self) -> None:
        if not 0 <= self.min_coverage_gap <= 1:
            raise ConfigError(
                f"min_coverage_gap is {self.min_coverage_gap}", where="min_coverage_gap",
                remedy="use 0..1",
            )
        for key, (low, high) in (
            ("x_m", self.x_m), ("y_m", self.y_m), ("yaw_rad", self.yaw_rad)
        ):
            if low > high:
                raise ConfigError(
                    f"{key} runs from {low} down to {high}", where=key,
                    remedy="write [lower, upper]",
                )
        _check_units((*self.x_m, *self.y_m), self.yaw_rad, "")


@dataclass(frozen=True, kw_only=True)
class _TaskFile:
    name: str
    embodiment: str
    horizon_steps: int
    goal_pose: tuple[float, float, float]
    object: _ObjectEntry
    success: _SuccessEntry
    reset: _ResetEntry

    def __post_init__(self) -> None:
        if self.horizon_steps < 1:
            raise ConfigError(
                f"horizon_steps is {self.horizon_steps}", where="horizon_steps",
                remedy="give a positive number",
            )
        _check_units(self.goal_pose[:2], self.goal_pose[2:], "goal_pose")


def parse_task(text: str, where: str) -> Task:
    """Return the task that a YAML text describes; for errors see `load_task`."""
    file = settings(_TaskFile, parse_mapping(text, where), where)
    return Task(
        name=file.name, embodiment=file.embodiment, horizon_steps=file.horizon_steps,
        goal_pose=file.goal_pose, object_unit_m=file.object.unit_m,
        success_coverage=file.success.coverage, reset_x_m=file.reset.x_m,
        reset_y_m=file.reset.y_m, reset_yaw_rad=file.reset.yaw_rad,
        min_coverage_gap=file.reset.min_coverage_gap, text=text, hash=text_hash(text),
    )


def _check_units(lengths: tuple[float, ...], angles: tuple[float, ...], where: str) -> None:
    for value in lengths:
        if abs(value) > _MAX_M:
            raise ConfigError(f"{value} m is off the table", where=where, remedy="give metres")
    for value in angles:
        if abs(value) > _MAX_RAD:
            raise ConfigError(f"{value} rad is over a turn", where=where, remedy="give radians")
