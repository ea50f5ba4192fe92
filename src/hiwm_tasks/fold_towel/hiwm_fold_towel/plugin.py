"""Fold Towel as a plug-in; see `hiwm_core.task_plugin`."""

from typing import ClassVar

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import (
    Behaviour,
    FrameMeasure,
    Operator,
    Scene,
    TaskPlugin,
    Values,
)
from hiwm_fold_towel.names import COVERED, HELD, STARTS, TRUTH, corner_gaps, score, towel_of
from hiwm_yam_pair.scene_names import AWAY_X_M, DATA_KINDS, TOP, WARNINGS


class FoldTowel(TaskPlugin):
    """Starts, judgement and stand-in of Fold Towel."""

    truth_names: ClassVar[tuple[str, ...]] = TRUTH
    start_names: ClassVar[tuple[str, ...]] = STARTS
    data_kinds: ClassVar[tuple[str, ...]] = DATA_KINDS
    stand_in_robot: ClassVar[str] = "yam_pair"

    def progress(self, truth: Values) -> float:
        """Return how far the towel is folded; 0 after a warning of the physics."""
        if truth[WARNINGS]:
            return 0.0
        towel = towel_of(truth)
        held = any(truth[name] > 0.5 for name in HELD)
        return score(corner_gaps(towel), truth[COVERED], float(towel[..., 2].max()), held)

    def start_problem(self, start: Values) -> str:
        """Return a refusal of a start out of reach, but for a towel that is put out of sight."""
        if start["towel_x_m"] == AWAY_X_M:
            return ""
        if not (0.28 <= start["towel_x_m"] <= 0.36 and abs(start["towel_y_m"]) <= 0.05):
            return "the towel is out of the arms' reach"
        return ""

    def scene(self, embodiment: Embodiment, *, render_size: int = 96) -> Scene:
        """Return arms and towel in MuJoCo."""
        from hiwm_fold_towel.scene import TowelScene

        return TowelScene(embodiment, render_size)

    def behaviour(self, kind: str, embodiment: Embodiment, seed: int) -> Behaviour:
        """Return demonstrations, failures, exploration, edge motion, or only the arms' motion."""
        from hiwm_fold_towel.behaviours import TowelBehaviour

        return TowelBehaviour(kind, self.task, embodiment, seed)

    def operator(self, embodiment: Embodiment) -> Operator:
        """Return an operator that reads the picture from above."""
        from hiwm_fold_towel.operator_control import TowelOperator

        return TowelOperator(embodiment)

    def frame_measure(self, embodiment: Embodiment, camera: str) -> FrameMeasure | None:
        """Return the measure of the top camera's frames; others are compared by pixels."""
        from hiwm_fold_towel.measure import TowelMeasure

        return TowelMeasure() if camera == TOP else None
