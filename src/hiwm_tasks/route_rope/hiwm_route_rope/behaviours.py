"""What the arms do while Route Rope's data are recorded, from ground truth."""

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import Values
from hiwm_core.tasks import Task
from hiwm_route_rope.names import ROUTED, Array, clips_of, rope_of
from hiwm_route_rope.router import HELD, Router, Sighting
from hiwm_yam_pair.pair_behaviour import EmptyHands, PairBehaviour, Slips, drawn_slips
from hiwm_yam_pair.scene_names import AWAY_X_M

_APART_M = 1.0  # of the clips from the middle, while all is out of sight
_OFF_SHARE = 0.5  # a rope is thinner than a corner is long: less is a miss


def sighting(truth: Values) -> Sighting:
    """Return what there is to see, from ground truth."""
    left, right = (truth[name] > 0.5 for name in ROUTED)
    return Sighting(rope=rope_of(truth)[:, :2], clips=clips_of(truth), routed=(left, right))


class RopeBehaviour(PairBehaviour[Sighting]):
    """Targets for one episode; arguments as in `PairBehaviour`."""

    def __init__(self, kind: str, task: Task, embodiment: Embodiment, seed: int) -> None:
        controller = Router(np.array(embodiment.home))
        super().__init__(kind, task, embodiment, seed, controller, grasp_z_m=0.011)
        controller.trusting = self.empty is not None

    def draw_faults(self, rng: np.random.Generator) -> Slips:
        """Draw missed grasps, slips, both, or a rope laid beside the clips."""

        def off(low: float, high: float) -> Array:
            angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(low, high)
            return np.array([np.cos(angle), np.sin(angle)]) * length

        fault = rng.choice(["miss", "slip", "crooked", "miss and slip"])
        hands = drawn_slips(rng)
        # Where it believes the rope to be, and the clips [m].
        self._rope_off = off(0.013, 0.03) if "miss" in fault else np.zeros(2)
        self._clips_off = off(0.02, 0.05) if fault == "crooked" else np.zeros(2)
        return Slips(hands if "slip" in fault else (False, False), int(rng.integers(3, 14)))

    def sighting(self, truth: Values) -> Sighting:
        """Return rope and clips, and which clips hold it."""
        return sighting(truth)

    def believed(self, seen: Sighting) -> Sighting:
        """Return rope and clips beside their places."""
        return Sighting(
            rope=seen.rope + self._rope_off,
            clips=seen.clips + np.append(self._clips_off, 0.0),
            routed=seen.routed if not self._clips_off.any() else (False, False),
        )

    def trusted(self, seen: Sighting, measured: Array, empty: EmptyHands) -> Sighting:
        """Return the rope beside its place; the controller trusts a hand that has shut."""
        off = empty.off_m[np.abs(empty.off_m).sum(1).argmax()] * _OFF_SHARE
        return Sighting(rope=seen.rope + off, clips=seen.clips, routed=seen.routed)

    def holding(self, seen: Sighting, measured: Array) -> bool:
        """Return whether both hands are shut around something."""
        grips = measured.reshape(2, 5)[:, 4]
        return bool(((grips > HELD[0]) & (grips < HELD[1])).all())

    def out_of_sight(self) -> dict[str, float]:
        """Return rope and clips beyond the table, apart from each other."""
        return {
            "rope_x_m": AWAY_X_M, "left_clip_x_m": AWAY_X_M, "left_clip_y_m": _APART_M,
            "right_clip_x_m": AWAY_X_M, "right_clip_y_m": -_APART_M,
        }

    def things(self, truth: Values) -> Array:
        """Return the rope's points."""
        return rope_of(truth)[:, :2]
