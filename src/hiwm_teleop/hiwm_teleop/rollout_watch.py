"""Detects failing rollouts from what an operator sees."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core import push_t
from hiwm_core.control import Source
from hiwm_core.table_vision import TableSight
from hiwm_core.task import Task
from hiwm_teleop.devices.base import TickView

Array = NDArray[np.float64]

# Lever arm that converts an angle to a length: about the T's radius of gyration, in units.
_LEVER_UNITS = 1.5
# Consecutive ticks before a doubtful picture or a reached goal counts: one frame may flicker.
_IN_A_ROW = 3


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """What counts as a failing rollout."""

    window_ticks: int = 80  # without improvement; reaching the T takes up to 40 of them
    improvement_m: float = 0.010  # least decrease of the error in that window
    growth_m: float = 0.040  # increase of the error over its best
    min_trust: float = 0.15  # of the world model in its own frame
    min_overlap: float = 0.45  # of the T in the picture with a rigid T
    episode_ticks: int = 220  # step budget of an episode


class RolloutWatch:
    """Follows one rollout, tick by tick.

    Args:
        task: goal and success.
        options: what counts as a failing rollout.
    """

    def __init__(self, task: Task, options: WatchOptions) -> None:
        self._task = task
        self._options = options
        self._goal = np.array(task.goal_pose)
        self._errors: deque[float] = deque(maxlen=options.window_ticks + 1)
        self._best = np.inf
        self._ticks = 0
        self._at_goal = 0
        self._doubtful = 0
        self._wrong = ""

    @property
    def error_m(self) -> float:
        """Current distance of the T from its goal, m, angle included; 0 before the first tick."""
        return self._errors[-1] if self._errors else 0.0

    @property
    def succeeded(self) -> bool:
        """Whether the goal has been covered for a few ticks."""
        return self._at_goal >= _IN_A_ROW

    @property
    def wrong(self) -> str:
        """Why the rollout fails, human-readable; empty while it does not."""
        return self._wrong

    def error_of(self, pose: Array) -> float:
        """Return the distance of a pose [x, y, yaw] from the goal, m, the angle as an arc."""
        lever = _LEVER_UNITS * self._task.object_unit_m
        turn = abs(push_t.wrap(float(pose[2] - self._goal[2]))) * lever
        return float(np.hypot(pose[0] - self._goal[0], pose[1] - self._goal[1])) + turn

    def coverage_of(self, pose: Array) -> float:
        """Return the fraction of the goal that a T at a pose covers, 0..1."""
        return push_t.coverage(pose, self._goal, self._task.object_unit_m)

    def see(self, tick: TickView, sight: TableSight) -> None:
        """Process one tick.

        Ticks without a command are ignored: the policy may still be loading.
        """
        if tick.applied_source is Source.NONE:
            return
        options = self._options
        self._ticks += 1
        pose = sight.object_pose
        low = tick.trust < options.min_trust or sight.overlap < options.min_overlap
        self._doubtful = self._doubtful + 1 if low else 0
        if pose is not None:
            error = self.error_of(pose)
            self._errors.append(error)
            self._best = min(self._best, error)
            good = self.coverage_of(pose) >= self._task.success_coverage
            self._at_goal = self._at_goal + 1 if good else 0
        self._wrong = self._judge(tick, sight)

    def _judge(self, tick: TickView, sight: TableSight) -> str:
        options = self._options
        far = f"{self.error_m * 1e3:.0f} mm from the goal"
        if self._doubtful >= _IN_A_ROW:
            return (
                f"the picture is doubtful (trust {_known(tick.trust)}, T overlaps a rigid one by "
                f"{sight.overlap:.2f})"
            )
        if self._errors and self.error_m > self._best + options.growth_m:
            return f"moving away, {far} after {self._best * 1e3:.0f} mm"
        full = len(self._errors) == self._errors.maxlen
        if full and min(self._errors) > self._errors[0] - options.improvement_m:
            return f"no progress in {options.window_ticks} ticks, {far}"
        if self._ticks > options.episode_ticks:
            return f"{options.episode_ticks} ticks spent, {far}"
        return ""


def _known(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.2f}"
