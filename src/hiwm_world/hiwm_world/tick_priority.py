"""Who computes when: a tick goes before everything that nobody's hand waits for.

Two threads that both run many small operations of torch hand Python's lock to each other at every
one of them: on two loaded cores a tick beside continuations took twice as long. So these are made
in pieces, and none begins while a tick is being made. Held by `test_tick_priority.py`.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.limits import LimitResult
from hiwm_learning.simulators import ImaginedObservation, Reading, WorldSimulator

_PICTURES = 8  # drawn in one piece: about as long as a step


class TickPriority:
    """Lets one thread go before another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = threading.Event()
        self._free.set()

    @contextmanager
    def tick(self) -> Iterator[None]:
        """Work that goes first: it waits for the piece under way alone."""
        self._free.clear()
        try:
            with self._lock:
                yield
        finally:
            self._free.set()

    @contextmanager
    def piece(self) -> Iterator[None]:
        """Work that waits for its turn."""
        self._free.wait()
        with self._lock:
            yield


class YieldingSimulator:
    """What continuations need of a simulator, in pieces that wait for their turn."""

    def __init__(self, simulator: WorldSimulator[Any], priority: TickPriority) -> None:
        self._simulator = simulator
        self._priority = priority
        self.cameras = simulator.cameras

    def step_many(
        self, states: Sequence[Any], actions: Sequence[NDArray[np.float64]]
    ) -> tuple[list[Any], list[LimitResult]]:
        """Return the next state of each, and its action as it was let through."""
        with self._priority.piece():
            return self._simulator.step_many(states, actions)

    def read_many(self, states: Sequence[Any]) -> list[Reading]:
        """Return what joints and heads say of each."""
        with self._priority.piece():
            return self._simulator.read_many(states)

    def observe_many(self, states: Sequence[Any]) -> list[ImaginedObservation]:
        """Return the observation of each."""
        found: list[ImaginedObservation] = []
        for first in range(0, len(states), _PICTURES):
            with self._priority.piece():
                found += self._simulator.observe_many(states[first : first + _PICTURES])
        return found
