"""The stand-in as a robot in simulated time: its controllers, and the scene they move.

The driver puts it behind topics; rollouts drive it as it is, so both move alike. Held by
`test_standin_robot.py`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.task import Task
from hiwm_robot.joint_controller import JointController
from hiwm_robot.standin_scene import StandinScene


class StandinRobot:
    """Controllers and scene.

    Args:
        task: gives the scene.
        embodiment: gives joints, limits, home and rate.
        seed: of the starts drawn by `place`.
        render_size: width and height of the camera's picture, px.
    """

    def __init__(
        self, task: Task, embodiment: Embodiment, seed: int = 0, render_size: int = 96
    ) -> None:
        self.scene = StandinScene(task, embodiment, seed=seed, render_size=render_size)
        self.period_ns = round(1e9 / embodiment.rate_hz)  # of one control step
        self._controller = JointController(embodiment.joint_names, embodiment.home)
        self._elapsed = 0.0  # physics time of the controllers [s]

    def place(self, object_pose: NDArray[np.float64] | None, seed: int) -> NDArray[np.float64]:
        """Put the object at a pose and the arms at home, holding; see `StandinScene.place`."""
        placed = self.scene.place(object_pose, seed)
        self._controller.reset()
        return placed

    def follow(
        self, names: Sequence[str], points: Sequence[tuple[Sequence[float], float]]
    ) -> str:
        """Follow a trajectory from now on; returns why not. See `JointController.follow`."""
        return self._controller.follow(names, points, self._elapsed)

    def jump(self, values: Sequence[float]) -> str:
        """Take targets at once; returns why not. See `JointController.jump`."""
        return self._controller.jump(values, self._elapsed)

    def advance(self, seconds: float | None = None) -> None:
        """Let time pass, in s; one control step when left out."""
        end = self._elapsed + (self.period_ns * 1e-9 if seconds is None else seconds)
        if end <= self._elapsed:
            return
        for segment in self._controller.segments(self._elapsed, end):
            self.scene.set_target(segment.target)
            self.scene.advance(segment.seconds, ramp=segment.ramp)
        self._elapsed = end

    def close(self) -> None:
        """Free the renderer while its display is still there."""
        self.scene.close()
