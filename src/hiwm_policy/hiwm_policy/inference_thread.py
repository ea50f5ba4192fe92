"""Inference beside the executor, so that a slow network never makes the node deaf.

While a chunk is being made the node goes on hearing ticks and control states, and so knows in the
end whether the chunk is still wanted.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hiwm_learning.policies.planning import Planner
from hiwm_policy.plan_schedule import Moment


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to plan from."""

    moment: Moment
    stamp_ns: int  # of the tick
    images: NDArray[np.uint8]  # [S, H, W, 3], newest last
    proprio: NDArray[np.float32]  # [S, P], newest last
    asked_at: float  # steady clock, s
    seed: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a question."""

    question: Question
    actions: NDArray[np.float64] | None  # [K, A]; None where inference failed
    failure: str


class InferenceThread:
    """One thread that answers one question at a time.

    Args:
        planner: the policy.
        threads: torch threads it may use.
        answered: called in this thread when an answer is there to be fetched.
    """

    def __init__(self, planner: Planner, threads: int, answered: Callable[[], None]) -> None:
        self._planner = planner
        self._threads = threads
        self._answered = answered
        self._questions: queue.SimpleQueue[Question | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    def ask(self, question: Question) -> None:
        """Hand over a question."""
        self._questions.put(question)

    def answer(self) -> Answer | None:
        """Return an answer not fetched yet, or None."""
        try:
            return self._answers.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """End the thread after what it is doing."""
        self._questions.put(None)
        self._thread.join(timeout=5.0)

    def _work(self) -> None:
        # OpenMP keeps the number of threads for each calling thread of its own.
        torch.set_num_threads(self._threads)
        while (question := self._questions.get()) is not None:
            actions, failure = None, ""
            try:
                actions = self._planner.plan(question.images, question.proprio, question.seed)
            except Exception as error:  # told to the node, which ends with it
                failure = f"{type(error).__name__}: {error}"
            self._answers.put(Answer(question=question, actions=actions, failure=failure))
            self._answered()


def warm_up(planner: Planner, rounds: int = 3) -> float:
    """Run the network on empty observations; return the seconds of the last round.

    The first passes allocate and choose kernels, and would otherwise fall on the first tick.
    """
    images = np.zeros((planner.observation_steps, *planner.image_shape), np.uint8)
    proprio = np.zeros((planner.observation_steps, planner.proprio_dim), np.float32)
    took = 0.0
    for _ in range(rounds):
        begun = time.monotonic()
        planner.plan(images, proprio, (0,))
        took = time.monotonic() - begun
    return took
