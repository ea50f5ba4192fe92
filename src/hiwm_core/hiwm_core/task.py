"""Tasks: goal, success, horizon and where episodes start."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiwm_core import push_t
from hiwm_core.config_files import (
    find_config,
    number_list,
    parse_mapping,
    strict_fields,
    text_hash,
)
from hiwm_core.errors import ConfigError

# Lengths beyond a table and angles beyond a turn are taken for millimetres and degrees.
_MOST_M = 3.0
_MOST_RAD = 2 * math.pi

@dataclass(frozen=True, kw_only=True)
class Task:
    """A planar pushing task, all lengths in m, angles in rad, table frame."""

    name: str
    embodiment: str
    horizon_steps: int
    goal_pose: tuple[float, float, float]
    object_unit_m: float
    success_coverage: float  # share of the goal covered that counts as success, 0..1
    reset_x_m: tuple[float, float]
    reset_y_m: tuple[float, float]
    reset_yaw_rad: tuple[float, float]
    min_coverage_gap: float  # a start covers the goal by less than 1 minus this
    text: str
    hash: str

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
    """Return the task of a name in config/tasks, or of a path.

    Raises:
        ConfigError: missing file, unknown key or wrong value; names file and field.
    """
    path = find_config("tasks", name)
    return parse_task(path.read_text(), str(path))


def parse_task(text: str, where: str) -> Task:
    """Return the task a YAML text describes; raises ConfigError as `load_task`."""
    data = strict_fields(
        parse_mapping(text, where), where,
        {"name": str, "embodiment": str, "horizon_steps": int, "goal_pose": list,
         "object": dict, "success": dict, "reset": dict},
    )
    item = strict_fields(data["object"], f"{where}: object", {"unit_m": float})
    success = strict_fields(data["success"], f"{where}: success", {"coverage": float})
    reset = strict_fields(
        data["reset"], f"{where}: reset",
        {"x_m": list, "y_m": list, "yaw_rad": list, "min_coverage_gap": float},
    )
    if data["horizon_steps"] < 1:
        raise ConfigError("horizon_steps below 1", where=where, remedy="make it positive")
    if not 0 < success["coverage"] <= 1:
        raise ConfigError(
            f"coverage {success['coverage']}", where=f"{where}: success", remedy="use 0..1"
        )
    if not 0 < item["unit_m"] < _MOST_M:
        raise ConfigError(
            f"unit_m is {item['unit_m']}", where=f"{where}: object", remedy="give a length in m"
        )
    if not 0 <= reset["min_coverage_gap"] <= 1:
        raise ConfigError(
            f"min_coverage_gap {reset['min_coverage_gap']}", where=f"{where}: reset",
            remedy="use 0..1",
        )
    goal = number_list(data["goal_pose"], 3, f"{where}: goal_pose")
    _check_units(goal[:2], goal[2:], f"{where}: goal_pose")
    spans = {}
    for key in ("x_m", "y_m", "yaw_rad"):
        low, high = number_list(reset[key], 2, f"{where}: reset.{key}")
        if low > high:
            raise ConfigError(
                f"{key} runs from {low} down to {high}", where=f"{where}: reset",
                remedy="write [lower, upper]",
            )
        spans[key] = (low, high)
    _check_units((*spans["x_m"], *spans["y_m"]), spans["yaw_rad"], f"{where}: reset")
    return Task(
        name=data["name"], embodiment=data["embodiment"], horizon_steps=data["horizon_steps"],
        goal_pose=(goal[0], goal[1], goal[2]), object_unit_m=float(item["unit_m"]),
        success_coverage=float(success["coverage"]), reset_x_m=spans["x_m"],
        reset_y_m=spans["y_m"], reset_yaw_rad=spans["yaw_rad"],
        min_coverage_gap=float(reset["min_coverage_gap"]), text=text, hash=text_hash(text),
    )


def _check_units(lengths: tuple[float, ...], angles: tuple[float, ...], where: str) -> None:
    for value in lengths:
        if abs(value) > _MOST_M:
            raise ConfigError(f"{value} is no place on a table", where=where, remedy="give m")
    for value in angles:
        if abs(value) > _MOST_RAD:
            raise ConfigError(f"{value} is more than a turn", where=where, remedy="give rad")
