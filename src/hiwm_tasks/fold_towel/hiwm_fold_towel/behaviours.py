"""What the arms do while Fold Towel's data are recorded, from ground truth."""

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import Values
from hiwm_core.tasks import Task
from hiwm_fold_towel.folder import Folder, Sighting
from hiwm_fold_towel.names import HELD, Array, towel_of
from hiwm_yam_pair.hands import hands_of
from hiwm_yam_pair.pair_behaviour import EmptyHands, PairBehaviour, Slips, drawn_slips
from hiwm_yam_pair.scene_names import AWAY_X_M

_SHUT = 0.1  # gripper ratio of a hand that has shut, at most


def sighting(truth: Values) -> Sighting:
    """Return what there is to see, from ground truth."""
    towel, ends = towel_of(truth), [-1, 0]  # columns: left, right
    left, right = (truth[name] > 0.5 for name in HELD)
    return Sighting(far=towel[-1, ends, :2], near=towel[0, ends, :2], held=(left, right))


class TowelBehaviour(PairBehaviour[Sighting]):
    """Targets for one episode; arguments as in `PairBehaviour`."""

    def __init__(self, kind: str, task: Task, embodiment: Embodiment, seed: int) -> None:
        super().__init__(
            kind, task, embodiment, seed, Folder(np.array(embodiment.home)), grasp_z_m=0.013
        )

    def draw_faults(self, rng: np.random.Generator) -> Slips:
        """Draw a missed grasp, a slip, or a crooked fold."""
        fault = rng.choice(["miss", "slip", "crooked"])
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.022, 0.04)
        away = np.array([np.cos(angle), np.sin(angle)]) * length
        crooked = rng.uniform((0.05, -0.03), (0.10, 0.03))
        hands = drawn_slips(rng)
        # Where it believes the far corners to be, and the near ones [m].
        self._far_off = away if fault == "miss" else np.zeros(2)
        self._near_off = crooked if fault == "crooked" else np.zeros(2)
        return Slips(hands if fault == "slip" else (False, False), int(rng.integers(4, 16)))

    def sighting(self, truth: Values) -> Sighting:
        """Return the towel's corners, and the hands that hold one."""
        return sighting(truth)

    def believed(self, seen: Sighting) -> Sighting:
        """Return the corners beside their places; a hand knows the one that it holds."""
        far = np.where(np.array(seen.held)[:, None], seen.far, seen.far + self._far_off)
        return Sighting(far=far, near=seen.near + self._near_off, held=seen.held)

    def trusted(self, seen: Sighting, measured: Array, empty: EmptyHands) -> Sighting:
        """Return the corners beside their places; a hand that has shut believes it has one."""
        hands, held, far = hands_of(measured), np.array(seen.held), seen.far + empty.off_m
        far[held] = seen.far[held]
        shut = ~held & [hand.grip < _SHUT for hand in hands]
        far[shut] = np.array([hand.xy for hand in hands])[shut]
        left, right = held | shut
        return Sighting(far=far, near=seen.near, held=(bool(left), bool(right)))

    def holding(self, seen: Sighting, measured: Array) -> bool:
        """Return whether both hands hold the towel."""
        return all(seen.held)

    def out_of_sight(self) -> dict[str, float]:
        """Return the towel beyond the table."""
        return {"towel_x_m": AWAY_X_M}

    def things(self, truth: Values) -> Array:
        """Return all vertices."""
        return towel_of(truth)[..., :2].reshape(-1, 2)
