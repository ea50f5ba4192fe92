"""Detects failing rollouts from what an operator sees."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from hiwm_core.control import Source
from hiwm_core.task_plugin import Sight
from hiwm_core.tasks import Task
from hiwm_teleop.devices.base import TickView

# Consecutive ticks before a doubtful picture, a setback or a reached goal counts: one frame may
# flicker.
_IN_A_ROW = 3


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """What counts as a failing rollout."""

    window_ticks: int = 80  # without improvement; reaching the object takes up to 40 of them
    improvement_m: float = 0.010  # least decrease of the error in that window
    growth_m: float = 0.040  # increase of the error over its best
    min_trust: float = 0.15  # of the world model in its own frame
    min_clarity: float = 0.45  # of the object in the picture, 0..1
    episode_ticks: int = 220  # step budget of an episode


class RolloutWatch:
    """Follows one rollout, tick by tick.

    Args:
        task: gives what counts as success.
        options: what counts as a failing rollout.
    """

    def __init__(self, task: Task, options: WatchOptions) -> None:
        self._task = task
        self._options = options
        self._errors: deque[float] = deque(maxlen=options.window_ticks + 1)
        self._best = np.inf
        self._ticks = 0
        self._at_goal = 0
        self._doubtful = 0
        self._set_back = 0
        self._wrong = ""

    @property
    def error_m(self) -> float:
        """Current distance from the goal, m; 0 before the first tick."""
        return self._errors[-1] if self._errors else 0.0

    @property
    def succeeded(self) -> bool:
        """Whether the goal has been reached for a few ticks."""
        return self._at_goal >= _IN_A_ROW

    @property
    def wrong(self) -> str:
        """Why the rollout fails, human-readable; empty while it does not."""
        return self._wrong

    def see(self, tick: TickView, sight: Sight) -> None:
        """Process one tick.

        Ticks without a command are ignored: the policy may still be loading.
        """
        if tick.applied_source is Source.NONE:
            return
        options = self._options
        self._ticks += 1
        low = tick.trust < options.min_trust or sight.clarity < options.min_clarity
        self._doubtful = self._doubtful + 1 if low else 0
        if sight.visible:
            self._errors.append(sight.error_m)
            self._best = min(self._best, sight.error_m)
            far = sight.error_m > self._best + options.growth_m
            self._set_back = self._set_back + 1 if far else 0
            good = sight.progress >= self._task.success_progress
            self._at_goal = self._at_goal + 1 if good else 0
        self._wrong = self._judge(tick, sight)

    def _judge(self, tick: TickView, sight: Sight) -> str:
        options = self._options
        far = f"{self.error_m * 1e3:.0f} mm from the goal"
        if self._doubtful >= _IN_A_ROW:
            return (
                f"the picture is doubtful (trust {_known(tick.trust)}, clarity "
                f"{sight.clarity:.2f})"
            )
        if self._set_back >= _IN_A_ROW:
            return f"moving away, {far} after {self._best * 1e3:.0f} mm"
        full = len(self._errors) == self._errors.maxlen
        if full and min(self._errors) > self._errors[0] - options.improvement_m:
            return f"no progress in {options.window_ticks} ticks, {far}"
        if self._ticks > options.episode_ticks:
            return f"{options.episode_ticks} ticks spent, {far}"
        return ""


def _known(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.2f}"
