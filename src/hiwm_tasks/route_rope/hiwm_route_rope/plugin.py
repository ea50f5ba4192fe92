"""Route Rope as a plug-in; see `hiwm_core.task_plugin`."""

from typing import ClassVar

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import (
    Behaviour,
    FrameMeasure,
    Operator,
    Scene,
    TaskPlugin,
    Values,
)
from hiwm_route_rope.names import ROUTED, STARTS, TRUTH, clips_of, rope_of, score
from hiwm_route_rope.shape import rope_at
from hiwm_yam_pair.scene_names import AWAY_X_M, DATA_KINDS, TOP, WARNINGS

CLEAR_M = 0.035  # from a clip's middle to the rope, at a start
# The part of the table that the arms reach.
REACH_M = ((0.15, 0.48), (-0.26, 0.26))


class RouteRope(TaskPlugin):
    """Starts, judgement and stand-in of Route Rope."""

    truth_names: ClassVar[tuple[str, ...]] = TRUTH
    start_names: ClassVar[tuple[str, ...]] = STARTS
    data_kinds: ClassVar[tuple[str, ...]] = DATA_KINDS
    stand_in_robot: ClassVar[str] = "yam_pair"

    def progress(self, truth: Values) -> float:
        """Return a half for each clip that holds the rope; 0 after a warning of the physics."""
        if truth[WARNINGS]:
            return 0.0
        routed = np.array([truth[name] > 0.5 for name in ROUTED])
        return score(rope_of(truth), clips_of(truth), routed)

    def accepts_start(self, start: Values) -> bool:
        """Return whether the rope starts apart from the clips."""
        rope = rope_at(start)
        return all(
            float(np.hypot(rope[:, 0] - x, rope[:, 1] - y).min()) > CLEAR_M
            for x, y, _ in clips_of(start)
        )

    def start_problem(self, start: Values) -> str:
        """Return a refusal of a start out of reach, but for things that are put out of sight."""
        places = {
            "rope": (start["rope_x_m"], start["rope_y_m"]),
            **{
                f"{side} clip": (start[f"{side}_clip_x_m"], start[f"{side}_clip_y_m"])
                for side in ("left", "right")
            },
        }
        for name, place in places.items():
            if place[0] != AWAY_X_M and any(
                not low <= value <= high
                for value, (low, high) in zip(place, REACH_M, strict=True)
            ):
                return f"the {name} at {list(place)} m is out of the arms' reach"
        return ""

    def scene(self, embodiment: Embodiment, *, render_size: int = 96) -> Scene:
        """Return arms, rope and clips in MuJoCo."""
        from hiwm_route_rope.scene import RopeScene

        return RopeScene(embodiment, render_size)

    def behaviour(self, kind: str, embodiment: Embodiment, seed: int) -> Behaviour:
        """Return demonstrations, failures, exploration, edge motion, or only the arms' motion."""
        from hiwm_route_rope.behaviours import RopeBehaviour

        return RopeBehaviour(kind, self.task, embodiment, seed)

    def operator(self, embodiment: Embodiment) -> Operator:
        """Return an operator that reads the picture from above."""
        from hiwm_route_rope.operator_control import RopeOperator

        middle = {name: (low + high) / 2 for name, (low, high) in self.task.start_ranges.items()}
        return RopeOperator(embodiment, clips_of(middle))

    def frame_measure(self, embodiment: Embodiment, camera: str) -> FrameMeasure | None:
        """Return the measure of the top camera's frames; others are compared by pixels."""
        from hiwm_route_rope.measure import RopeMeasure

        return RopeMeasure() if camera == TOP else None
