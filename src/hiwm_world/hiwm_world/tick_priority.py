"""Priority of ticks over background work.

Two threads that both run many small torch operations pass the GIL back and forth at every one: on
two loaded cores a tick beside continuations took twice as long. So continuations run in pieces, and
no piece starts during a tick. Tested by `test_tick_priority.py`.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.limits import LimitResult
from hiwm_learning.world_models.simulators import ImaginedObservation, Reading, WorldSimulator

_PICTURES = 8  # rendered in one piece: takes about as long as a step


class TickPriority:
    """Gives one thread priority over another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = threading.Event()
        self._free.set()

    @contextmanager
    def tick(self) -> Iterator[None]:
        """Run the body with priority: it waits only for the running piece."""
        self._free.clear()
        try:
            with self._lock:
                yield
        finally:
            self._free.set()

    @contextmanager
    def piece(self) -> Iterator[None]:
        """Run the body when no tick is running."""
        self._free.wait()
        with self._lock:
            yield


class YieldingSimulator:
    """A `BatchSimulator` that works in pieces and yields to ticks."""

    def __init__(self, simulator: WorldSimulator[Any], priority: TickPriority) -> None:
        self._simulator = simulator
        self._priority = priority
        self.cameras = simulator.cameras

    def step_many(
        self, states: Sequence[Any], actions: Sequence[NDArray[np.float64]]
    ) -> tuple[list[Any], list[LimitResult]]:
        """Return the next state of each, and its limited action."""
        with self._priority.piece():
            return self._simulator.step_many(states, actions)

    def read_many(self, states: Sequence[Any]) -> list[Reading]:
        """Return proprioception and head outputs of each."""
        with self._priority.piece():
            return self._simulator.read_many(states)

    def observe_many(self, states: Sequence[Any]) -> list[ImaginedObservation]:
        """Return the observation of each."""
        found: list[ImaginedObservation] = []
        for first in range(0, len(states), _PICTURES):
            with self._priority.piece():
                found += self._simulator.observe_many(states[first : first + _PICTURES])
        return found
