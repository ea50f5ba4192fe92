"""The stand-in as a robot in simulated time: its controllers, and the scene they move.

The driver exposes it as topics. Rollouts call it directly, so both behave the same. Tested by
`test_standin_robot.py`.
"""

from collections.abc import Sequence

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import Scene, Values
from hiwm_core.tasks import Task
from hiwm_robot.joint_controller import JointController


class StandinRobot:
    """Controllers and scene.

    Args:
        task: gives the scene and the starts.
        embodiment: gives joints, limits, home and rate.
        seed: of the start that it begins with.
        render_size: width and height of the camera image, px.

    Raises:
        ConfigError: the task has no stand-in.
    """

    def __init__(
        self, task: Task, embodiment: Embodiment, seed: int = 0, render_size: int = 96
    ) -> None:
        self._task = task
        self.scene: Scene = task.stand_in().scene(embodiment, render_size=render_size)
        self.scene.place(task.sample_start(np.random.default_rng(seed)))
        self.period_ns = round(1e9 / embodiment.rate_hz)  # of one control step
        self._controller = JointController(embodiment.action_joints, embodiment.home)
        self._elapsed = 0.0  # physics time of the controllers [s]

    def place(self, start: Values | None, seed: int) -> dict[str, float]:
        """Set a start, drawn with the seed if None, and hold the arms at home; return it."""
        if start is None:
            start = self._task.sample_start(np.random.default_rng(seed))
        placed = self.scene.place(start)
        self._controller.reset()
        return placed

    def follow(
        self, names: Sequence[str], points: Sequence[tuple[Sequence[float], float]]
    ) -> str:
        """Follow a trajectory from now on; return a refusal. See `JointController.follow`."""
        return self._controller.follow(names, points, self._elapsed)

    def jump(self, values: Sequence[float]) -> str:
        """Set targets at once; return a refusal. See `JointController.jump`."""
        return self._controller.jump(values, self._elapsed)

    def advance(self, seconds: float | None = None) -> None:
        """Advance the time by `seconds`; None is one control step."""
        end = self._elapsed + (self.period_ns * 1e-9 if seconds is None else seconds)
        if end <= self._elapsed:
            return
        for segment in self._controller.segments(self._elapsed, end):
            self.scene.set_target(segment.target)
            self.scene.advance(segment.seconds, ramp=segment.ramp)
        self._elapsed = end

    def close(self) -> None:
        """Free the renderer while its display still exists."""
        self.scene.close()
