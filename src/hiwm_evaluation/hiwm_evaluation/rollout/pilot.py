"""Observations and plans of a policy in one trial, at the same steps as in the policy node.

``test_rollout_parity.py`` compares it with the node.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from hiwm_learning.policies.planning import Images, Planner


class Pilot:
    """A policy in one trial.

    Args:
        planner: the policy.
        seed: of the evaluation.
        epoch: of the trial.
    """

    def __init__(self, planner: Planner, seed: int, epoch: int) -> None:
        self.planner = planner
        self._seed = seed
        self._epoch = epoch
        self._seen: deque[tuple[Images, NDArray[np.float32]]] = deque(
            maxlen=planner.observation_steps
        )
        self._plan = np.empty(0)
        self._planned = self._due = 0  # steps of the current plan and of the next one

    def looks(self, step: int) -> bool:
        """Return whether the next plan uses the observation of a step."""
        return step > self._due - self.planner.observation_steps

    def see(self, images: Images, proprio: NDArray[np.float32]) -> None:
        """Add an observation: the image [H, W, 3] of each camera, and proprioception [P]."""
        self._seen.append((images, proprio))

    def plans(self, step: int) -> bool:
        """Return whether a plan is due."""
        return step == self._due

    def question(self) -> tuple[Images, NDArray[np.float32], tuple[int, int, int]]:
        """Return each camera's images [S, H, W, 3], proprioception [S, P], and the plan's seed.

        Observations before the first one equal the first one.
        """
        missing = self.planner.observation_steps - len(self._seen)
        seen = [self._seen[0]] * missing + list(self._seen)
        return (
            {
                camera: np.stack([images[camera] for images, _ in seen])
                for camera in self.planner.image_shapes
            },
            np.stack([proprio for _, proprio in seen]),
            (self._seed, self._epoch, self._due),
        )

    def follow(self, plan: NDArray[np.float64]) -> bool:
        """Set the current plan [K, A]; return whether it is finite."""
        self._plan = plan
        self._planned, self._due = self._due, self._due + self.planner.execute_horizon
        return bool(np.isfinite(plan).all())

    def action(self, step: int) -> NDArray[np.float64]:
        """Return the action [A] for the observation of a step."""
        action: NDArray[np.float64] = self._plan[step - self._planned]
        return action
