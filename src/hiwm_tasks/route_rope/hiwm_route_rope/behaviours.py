"""What the arms do while the four parts of a world model's data are recorded.

Demonstrations, failures, off-task exploration and workspace-edge motion, as in Hi-WM (arXiv
2604.21741). Each is seeded and reads the stand-in's ground truth: these are labels for making data,
not something a policy or an operator sees. A demonstration is a function of what it sees.
"""

from dataclasses import dataclass

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import DEMONSTRATION, FAILURE_DATA, Values
from hiwm_core.tasks import Task
from hiwm_route_rope.names import ROUTED, Array, clips_of, rope_of
from hiwm_route_rope.router import HELD, Router, Sighting
from hiwm_yam_pair.roaming import Roamer

KINDS = (DEMONSTRATION, FAILURE_DATA, "exploration", "edge")
STOP_TICKS = 5  # kept after a demonstration has reached its goal


def sighting(truth: Values) -> Sighting:
    """Return what there is to see, from ground truth."""
    left, right = (truth[name] > 0.5 for name in ROUTED)
    return Sighting(rope=rope_of(truth)[:, :2], clips=clips_of(truth), routed=(left, right))


@dataclass(frozen=True)
class _Faults:
    """What a weak demonstrator does wrong in one episode."""

    rope_off_m: Array  # [2], where it believes the rope to be: misses the grasp
    clips_off_m: Array  # [2], where it believes the clips to be: lays the rope beside them
    slips: tuple[bool, bool]  # hands that let the rope slip
    slip_after: int  # ticks of holding; again and again


class RopeBehaviour:
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
        self.kind = kind
        self._task = task
        self._rng = np.random.default_rng([seed, KINDS.index(kind)])
        self._router = Router(np.array(embodiment.home))
        self._faults = self._draw_faults()
        self._held, self._done = 0, 0
        self._roamer = Roamer(embodiment, self._rng, edge=kind == "edge", grasp_z_m=0.011)

    def start(self) -> dict[str, float]:
        """Return where rope and clips start."""
        return self._task.sample_start(self._rng)

    def finished(self, truth: Values) -> bool:
        """Return whether a demonstration has rested at its goal."""
        return self.kind == DEMONSTRATION and self._done > STOP_TICKS

    def targets(self, truth: Values, measured: Array) -> Array:
        """Return the next targets [10]."""
        seen = sighting(truth)
        if self.kind == DEMONSTRATION:
            self._done += self._router.done(seen, measured)
            return self._router.targets(seen, measured)
        if self.kind == FAILURE_DATA:
            return self._weak(seen, measured)
        return self._roamer.targets(seen.rope, measured)

    def _draw_faults(self) -> _Faults:
        rng = self._rng

        def off(low: float, high: float) -> Array:
            angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(low, high)
            return np.array([np.cos(angle), np.sin(angle)]) * length

        fault = rng.choice(["miss", "slip", "crooked", "miss and slip"])
        slips = [(True, False), (False, True), (True, True)][rng.integers(3)]
        return _Faults(
            off(0.013, 0.03) if "miss" in fault else np.zeros(2),
            off(0.02, 0.05) if fault == "crooked" else np.zeros(2),
            slips if "slip" in fault else (False, False), int(rng.integers(3, 14)),
        )

    def _weak(self, seen: Sighting, measured: Array) -> Array:
        """Route the rope with one's faults."""
        faults = self._faults
        believed = Sighting(
            rope=seen.rope + faults.rope_off_m,
            clips=seen.clips + np.append(faults.clips_off_m, 0.0),
            routed=seen.routed if not faults.clips_off_m.any() else (False, False),
        )
        action = self._router.targets(believed, measured)
        grips = measured.reshape(2, 5)[:, 4]
        self._held += bool(((grips > HELD[0]) & (grips < HELD[1])).all())
        if self._held > faults.slip_after:
            self._held = self._held + 1 if self._held < faults.slip_after + 4 else 0
            for side, slips in enumerate(faults.slips):
                if slips:
                    action[5 * side + 4] = 0.5
        return action
