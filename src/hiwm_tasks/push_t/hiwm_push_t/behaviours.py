"""What the pushers do while a world model's data are recorded, but for a policy's own failures.

Demonstrations, off-task exploration and workspace-edge motion, as in Hi-WM (arXiv 2604.21741), and
motion of the pushers with no T in sight, from which a world model learns what they look like. Each
is seeded and reads the stand-in's own pose of the T: these are labels for making data, not
something a policy or an operator sees.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import DEMONSTRATION, ROBOT_DATA, Values
from hiwm_core.tasks import Task
from hiwm_push_t import shape
from hiwm_push_t.carrier import CarryPlanner
from hiwm_push_t.goal import AWAY_M, Goal, goal_of, pose_of, values_of
from hiwm_push_t.planner import STEP_M, PushPlanner

Array = NDArray[np.float64]

KINDS = (DEMONSTRATION, "exploration", "edge", ROBOT_DATA)
# Second word of each kind's seeds.
_STREAMS = {DEMONSTRATION: 0, "exploration": 2, "edge": 3, ROBOT_DATA: 4}
EDGE_M = 0.13  # how far out the T is sent in edge data: its arms then touch the rim
_CARRIED = 0.5  # share of the planned ways off the task that carry the T, rather than push it
STOP_TICKS = 6  # kept after a demonstration has reached its goal


class PushTBehaviour:
    """Targets for one episode; see `hiwm_core.task_plugin.Behaviour`.

    Args:
        kind: one of `KINDS`.
        task: the task demonstrated, or strayed from.
        embodiment: two planar arms.
        seed: of everything drawn.
    """

    def __init__(self, kind: str, task: Task, embodiment: Embodiment, seed: int) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r}: use one of {', '.join(KINDS)}")
        self.kind = kind
        self._task = task
        self._goal: Goal = goal_of(task)
        self._embodiment = embodiment
        self._rng = np.random.default_rng([seed, _STREAMS[kind]])
        self._planner: PushPlanner | CarryPlanner = CarryPlanner(
            self._goal, embodiment, int(self._rng.integers(2**31))
        )
        self._leg = ""
        self._leg_ticks = 0
        self._aims = np.zeros((2, 2))
        self._speeds = np.zeros(2)
        self._ticks_at_goal = 0

    def start(self) -> dict[str, float]:
        """Return where the T starts."""
        if self.kind == DEMONSTRATION:
            return self._task.sample_start(self._rng)
        if self.kind == ROBOT_DATA:
            return values_of(np.array([AWAY_M, AWAY_M, 0.0]))
        return values_of(self._random_pose(self.kind == "edge"))

    def finished(self, truth: Values) -> bool:
        """Return whether the episode is over before its horizon: a demonstration at its goal."""
        if self.kind != DEMONSTRATION:
            return False
        self._ticks_at_goal += self._planner.done(pose_of(truth))
        return self._ticks_at_goal > STOP_TICKS

    def targets(self, truth: Values, measured: Array) -> Array:
        """Return the next absolute targets [4], m, for the T's pose and the pushers' [4]."""
        object_pose, pushers = pose_of(truth), measured
        if self.kind == DEMONSTRATION:
            return self._planner.targets(object_pose, pushers)
        if self._leg_ticks <= 0:
            self._begin_leg(object_pose, pushers)
        self._leg_ticks -= 1
        if self._leg == "plan":
            return self._planner.targets(object_pose, pushers)
        if self._leg == "idle":
            return np.asarray(pushers, dtype=float).copy()
        pushers_xy = np.asarray(pushers, dtype=float).reshape(2, 2)
        offset = self._aims - pushers_xy
        length = np.maximum(np.linalg.norm(offset, axis=1), 1e-9)
        step = offset * (np.minimum(self._speeds, length) / length)[:, None]
        return np.asarray(pushers_xy + step + self._rng.normal(0, 0.001, (2, 2))).reshape(4)

    def _begin_leg(self, pose: Array, pushers: Array) -> None:
        edge = self.kind == "edge"
        shares = [0.0, 0.0, 0.04, 0.96] if self.kind == ROBOT_DATA else [0.4, 0.38, 0.04, 0.18]
        self._leg = str(self._rng.choice(["plan", "poke", "idle", "roam"], p=shares))
        self._leg_ticks = int(self._rng.integers(25, 70))
        if self._leg == "plan":
            x, y, yaw = self._random_pose(edge)
            goal = replace(self._goal, pose=(x, y, yaw))
            seed = int(self._rng.integers(2**31))
            self._planner = (
                CarryPlanner(goal, self._embodiment, seed, variety=float(self._rng.random()))
                if self._rng.random() < _CARRIED
                else PushPlanner(goal, self._embodiment, seed, noise=0.6)
            )
        elif self._leg == "idle":
            self._leg_ticks = int(self._rng.integers(5, 15))
        elif self._leg == "poke":
            # Straight through the T: every contact point, direction and speed there is.
            self._leg_ticks = int(self._rng.integers(12, 35))
            unit = self._goal.unit_m
            local = self._rng.uniform((-2 * unit, -2.6 * unit), (2 * unit, 1.3 * unit), (2, 2))
            through = shape.to_table(local, pose)
            pushers_xy = np.asarray(pushers).reshape(2, 2)
            self._aims = pushers_xy + (through - pushers_xy) * self._rng.uniform(1.0, 1.6, (2, 1))
            self._speeds = self._rng.uniform(0.003, STEP_M, 2)
        else:
            reach = 0.18
            self._leg_ticks = int(self._rng.integers(10, 35))
            self._aims = self._rng.uniform(-reach, reach, (2, 2))
            if edge:
                side = self._rng.integers(0, 2, 2)
                self._aims[np.arange(2), side] = reach * self._rng.choice([-1, 1], 2)
            self._speeds = self._rng.uniform(0.004, STEP_M, 2)

    def _random_pose(self, edge: bool) -> Array:
        pose = self._rng.uniform((-0.11, -0.11, -np.pi), (0.11, 0.11, np.pi))
        if edge:
            axis = int(self._rng.integers(0, 2))
            pose[axis] = EDGE_M * float(self._rng.choice([-1, 1]))
        return np.asarray(pose)
