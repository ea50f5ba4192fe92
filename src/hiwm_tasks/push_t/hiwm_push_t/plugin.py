"""Push-T as a plug-in; see `hiwm_core.task_plugin`."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.task_plugin import (
    DEMONSTRATION,
    ROBOT_DATA,
    Behaviour,
    FrameMeasure,
    Operator,
    Scene,
    TaskPlugin,
    Values,
)
from hiwm_core.tasks import Task
from hiwm_push_t import shape
from hiwm_push_t.goal import ARC_M, AWAY_M, COVERAGE, POSE_NAMES, goal_of, pose_gap, pose_of

# Half the inner width of the table's rim: a start's centre of mass stays within it.
TABLE_M = 0.2


class PushT(TaskPlugin):
    """Starts, judgement and stand-in of Push-T.

    Progress is the share of the goal that the T covers.
    """

    truth_names: ClassVar[tuple[str, ...]] = (*POSE_NAMES, COVERAGE)
    data_kinds: ClassVar[tuple[str, ...]] = (DEMONSTRATION, "exploration", "edge", ROBOT_DATA)

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._goal = goal_of(task)

    def progress(self, truth: Values) -> float:
        """Return the share of the goal that the T covers, 0..1."""
        return truth[COVERAGE]

    def accepts_start(self, start: Values) -> bool:
        """Return whether a start leaves enough of the goal uncovered."""
        goal = np.array(self._goal.pose)
        gap = 1.0 - shape.coverage(pose_of(start), goal, self._goal.unit_m)
        return gap >= self._goal.min_coverage_gap

    def start_problem(self, start: Values) -> str:
        """Return a refusal of a start off the table, unless the T is out of sight."""
        x, y, _ = pose_of(start)
        if max(abs(x), abs(y)) > TABLE_M and (x, y) != (AWAY_M, AWAY_M):
            return f"the start [{x:g}, {y:g}] is off the table: stay within {TABLE_M:g} m"
        return ""

    def start_distance(self, one: Values, other: Values) -> float:
        """Return the distance of two poses, m; a radian counts as the way of the T's edge."""
        place, turn = pose_gap(pose_of(one), pose_of(other))
        return place + ARC_M * turn

    @classmethod
    def upgraded(cls, old: Mapping[str, object]) -> dict[str, object] | None:
        """Return the current file of a task whose file had `goal_pose`, `object` and `reset`."""
        thing, success, reset = (old.get(key) for key in ("object", "success", "reset"))
        if not all(isinstance(part, dict) for part in (thing, success, reset)):
            return None
        assert isinstance(thing, dict) and isinstance(success, dict) and isinstance(reset, dict)
        keys = ("x_m", "y_m", "yaw_rad")
        ranges = {name: reset.get(key) for name, key in zip(POSE_NAMES, keys, strict=True)}
        return {
            "name": old.get("name"), "instruction": "push the T onto its drawn goal",
            "embodiment": old.get("embodiment"), "horizon_steps": old.get("horizon_steps"),
            "judge": "ground_truth", "success_progress": success.get("coverage"),
            "starts": {"ranges": ranges}, "plugin": "push_t",
            "settings": {
                "goal_pose": old.get("goal_pose"), "unit_m": thing.get("unit_m"),
                "min_coverage_gap": reset.get("min_coverage_gap"),
            },
        }

    def scene(self, embodiment: Embodiment, *, render_size: int = 96) -> Scene:
        """Return the table in MuJoCo."""
        from hiwm_push_t.scene import StandinScene

        return StandinScene(self._goal, embodiment, render_size)

    def behaviour(self, kind: str, embodiment: Embodiment, seed: int) -> Behaviour:
        """Return demonstrations, exploration, motion at the table's edge, or of the arms only."""
        from hiwm_push_t.behaviours import PushTBehaviour

        return PushTBehaviour(kind, self.task, embodiment, seed)

    def operator(self, embodiment: Embodiment) -> Operator:
        """Return an operator that reads the picture from above."""
        from hiwm_push_t.operator_control import PushTOperator

        return PushTOperator(self._goal, embodiment)

    def frame_measure(self, embodiment: Embodiment, camera: str) -> FrameMeasure:
        """Return the measure of a camera that looks straight down."""
        from hiwm_push_t.measure import TableMeasure

        view_m = embodiment.camera(camera).view_m
        if not all(view_m):
            raise ConfigError(
                f"camera {camera} does not look straight down", where="view_m of the embodiment",
                remedy="evaluate a model of a camera with view_m",
            )
        return TableMeasure(self._goal, view_m)
