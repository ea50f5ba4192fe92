"""What the arms do while the four parts of a world model's data are recorded, from ground truth."""

from dataclasses import dataclass

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import DEMONSTRATION, FAILURE_DATA, Values
from hiwm_core.tasks import Task
from hiwm_fold_towel.folder import Folder, Sighting
from hiwm_fold_towel.names import HELD, Array, towel_of
from hiwm_yam_pair.roaming import Roamer

KINDS = (DEMONSTRATION, FAILURE_DATA, "exploration", "edge")
STOP_TICKS = 5  # kept after a demonstration has reached its goal


def sighting(truth: Values) -> Sighting:
    """Return what there is to see, from ground truth."""
    towel, ends = towel_of(truth), [-1, 0]  # columns: left, right
    left, right = (truth[name] > 0.5 for name in HELD)
    return Sighting(far=towel[-1, ends, :2], near=towel[0, ends, :2], held=(left, right))


@dataclass(frozen=True)
class _Faults:
    """What a weak demonstrator does wrong in one episode."""

    far_off_m: Array  # [2], where it believes the far corners to be: misses the grasp
    near_off_m: Array  # [2], where it believes the near corners to be: folds crookedly
    slips: tuple[bool, bool]  # hands that let the towel slip
    slip_after: int  # ticks of holding; again and again


class TowelBehaviour:
    """Targets for one episode; see `hiwm_core.task_plugin.Behaviour`.

    Args:
        kind: one of `KINDS`.
        task: gives the starts.
        embodiment: the pair's, Cartesian.
        seed: of everything drawn.
    """

    def __init__(self, kind: str, task: Task, embodiment: Embodiment, seed: int) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r}: use one of {', '.join(KINDS)}")
        self._task = task
        self._rng = np.random.default_rng([seed, KINDS.index(kind)])
        self._folder = Folder(np.array(embodiment.home))
        self.kind = kind
        self._faults = self._draw_faults()
        self._roamer = Roamer(embodiment, self._rng, edge=kind == "edge", grasp_z_m=0.013)
        self._held, self._done = 0, 0

    def start(self) -> dict[str, float]:
        """Return where the towel starts."""
        return self._task.sample_start(self._rng)

    def finished(self, truth: Values) -> bool:
        """Return whether a demonstration has rested at its goal."""
        return self.kind == DEMONSTRATION and self._done > STOP_TICKS

    def targets(self, truth: Values, measured: Array) -> Array:
        """Return the next targets [10]."""
        seen = sighting(truth)
        if self.kind == DEMONSTRATION:
            self._done += self._folder.done(seen, measured)
            return self._folder.targets(seen, measured)
        if self.kind == FAILURE_DATA:
            return self._weak(seen, measured)
        return self._roamer.targets(towel_of(truth)[..., :2].reshape(-1, 2), measured)

    def _draw_faults(self) -> _Faults:
        rng = self._rng
        fault = rng.choice(["miss", "slip", "crooked"])
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.022, 0.04)
        away = np.array([np.cos(angle), np.sin(angle)]) * length
        crooked = rng.uniform((0.05, -0.03), (0.10, 0.03))
        slips = [(True, False), (False, True), (True, True)][rng.integers(3)]
        return _Faults(
            away if fault == "miss" else np.zeros(2),
            crooked if fault == "crooked" else np.zeros(2),
            slips if fault == "slip" else (False, False), int(rng.integers(4, 16)),
        )

    def _weak(self, seen: Sighting, measured: Array) -> Array:
        """Fold the towel with one's faults."""
        faults = self._faults
        far = np.where(np.array(seen.held)[:, None], seen.far, seen.far + faults.far_off_m)
        action = self._folder.targets(
            Sighting(far=far, near=seen.near + faults.near_off_m, held=seen.held), measured
        )
        self._held += all(seen.held)
        if self._held > faults.slip_after:
            self._held = self._held + 1 if self._held < faults.slip_after + 4 else 0
            for side, slips in enumerate(faults.slips):
                if slips:
                    action[5 * side + 4] = 0.5
        return action
