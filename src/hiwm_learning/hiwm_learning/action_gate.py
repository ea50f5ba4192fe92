"""What every imagined world does with an action before its model sees it.

The limits need the measured counterpart of the action, which an imagined world reads out of the
proprioception that it predicts. Both families of world models use this, so that neither takes
proprioception for the action.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.limits import Limiter, LimiterState, LimitResult
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_core.workspace_check import WorkspaceCheck, leaves_workspace


class ActionGate:
    """Limits actions of an imagined world, and keeps them in a robot's workspace.

    Args:
        embodiment: of the world.
        workspace: the robot's check of targets; None checks nothing.

    Raises:
        ConfigError: its proprioception does not measure every action entry; names the missing ones.
    """

    def __init__(self, embodiment: Embodiment, workspace: WorkspaceCheck | None = None) -> None:
        self._workspace = workspace
        self._limiter = Limiter(embodiment)
        self._measured = MeasuredFromProprioception(embodiment)

    def initial_state(self) -> LimiterState:
        """Return the limiter's state at the start of an episode."""
        return self._limiter.initial_state()

    def measured(self, proprioception: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the measured counterpart [A] of the action, from proprioception [P]."""
        return self._measured.array(proprioception)

    def limit_many(
        self, actions: Sequence[NDArray[np.float64]],
        proprioception: Sequence[NDArray[np.float64]], states: Sequence[LimiterState],
    ) -> list[LimitResult]:
        """Return the actions [A] of several worlds after limits.

        Args:
            actions: [A] each; wrong length or not finite means hold.
            proprioception: [P] each, finite.
            states: the limiter's state in each.
        """
        return [
            self._limited(action, self._measured.array(seen), state)
            for action, seen, state in zip(actions, proprioception, states, strict=True)
        ]

    def settled(
        self, predicted: NDArray[np.float64], before: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return predicted proprioception [P] that a robot could have; the limits accept it.

        Args:
            predicted: [P], as the model says.
            before: [P] of the step before.
        """
        return self._measured.settled(predicted, before)

    def _limited(
        self, action: NDArray[np.float64], measured: NDArray[np.float64], state: LimiterState
    ) -> LimitResult:
        result = self._limiter.limit(action, measured, state)
        if self._workspace is None or result.held:
            return result
        start = measured if np.isnan(state.sent[0]) else state.sent
        problem = self._workspace.problem(result.action, start)
        return self._limiter.hold(measured, leaves_workspace(problem)) if problem else result
