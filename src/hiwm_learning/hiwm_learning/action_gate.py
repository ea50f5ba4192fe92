"""What every imagined world does with an action before its model sees it.

The limits need the measured counterpart of the action, which an imagined world reads out of the
proprioception that it predicts. Both families of world models use this, so that neither takes
proprioception for the action.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.limits import Limiter, LimiterState, LimitResult
from hiwm_core.measured import MeasuredFromProprioception


class ActionGate:
    """Limits actions of an imagined world.

    Args:
        embodiment: of the world.

    Raises:
        ConfigError: its proprioception does not measure every action entry; names the missing ones.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._limiter = Limiter(embodiment)
        self._measured = MeasuredFromProprioception(embodiment)

    def initial_state(self) -> LimiterState:
        """Return the limiter's state at the start of an episode."""
        return self._limiter.initial_state()

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
            self._limiter.limit(action, self._measured.array(seen), state)
            for action, seen, state in zip(actions, proprioception, states, strict=True)
        ]


def limiter_memory(parts: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the limiter's memory from a saved state's parts.

    States saved before limits worked from the last target have none; the next target then starts
    from the measured position.

    Raises:
        KeyError: a part is missing.
    """
    step = parts["previous_step"]
    return {"sent": parts.get("sent", np.full(step.shape, np.nan)), "previous_step": step}
