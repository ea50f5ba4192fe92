"""Inference beside the executor, so that a slow network never makes the node deaf.

While a chunk is being made the node goes on hearing ticks and control states, and so knows in the
end whether the chunk is still wanted.
"""

import itertools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from hiwm_learning.policies.planning import Planner
from hiwm_policy.plan_schedule import TickId

# A question of the session waits no longer than these take: about as long as two of its own.
ROWS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to plan from."""

    tick_id: TickId
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


@dataclass(frozen=True, kw_only=True)
class Row:
    """One of many questions that no tick waits for."""

    images: NDArray[np.uint8]  # [S, H, W, 3], newest last
    proprio: NDArray[np.float32]  # [S, P], newest last
    seed: int


@dataclass(kw_only=True)
class _Batch:
    """Rows under way together."""

    rows: Sequence[Row]
    done: Callable[[NDArray[np.float64] | None, str], None]
    plans: list[NDArray[np.float64]] = field(default_factory=list)  # [n, K, A] each
    failure: str = ""


class InferenceThread:
    """One thread that answers one question at a time, those of the session before all others.

    Args:
        planner: the policy.
        threads: torch threads it may use.
        answered: called in this thread when an answer is there to be fetched.
    """

    def __init__(self, planner: Planner, threads: int, answered: Callable[[], None]) -> None:
        self._planner = planner
        self._threads = threads
        self._answered = answered
        # Urgency and turn, so that what is asked about never has to be compared.
        self._questions: queue.PriorityQueue[tuple[int, int, Question | _Batch | None]] = (
            queue.PriorityQueue()
        )
        self._turns = itertools.count()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    def ask(self, question: Question) -> None:
        """Hand over a question of the session."""
        self._put(1, question)

    def ask_many(
        self, rows: Sequence[Row], done: Callable[[NDArray[np.float64] | None, str], None]
    ) -> None:
        """Hand over questions that can wait; those of the session go between.

        Args:
            rows: at least one.
            done: called in this thread with plans [N, K, A], or None and what failed.
        """
        batch = _Batch(rows=rows, done=done)
        for _ in range(0, len(rows), ROWS_AT_ONCE):
            self._put(2, batch)

    def answer(self) -> Answer | None:
        """Return an answer not fetched yet, or None."""
        try:
            return self._answers.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """End the thread after the question it is at."""
        self._put(0, None)
        self._thread.join(timeout=5.0)

    def _put(self, urgency: int, asked: Question | _Batch | None) -> None:
        self._questions.put((urgency, next(self._turns), asked))

    def _work(self) -> None:
        # OpenMP keeps the number of threads for each calling thread of its own.
        torch.set_num_threads(self._threads)
        while (asked := self._questions.get()[2]) is not None:
            if isinstance(asked, _Batch):
                self._plan_rows(asked)
                continue
            actions, failure = None, ""
            try:
                actions = self._planner.plan(asked.images, asked.proprio, asked.seed)
            except Exception as error:  # told to the node, which ends with it
                failure = f"{type(error).__name__}: {error}"
            self._answers.put(Answer(question=asked, actions=actions, failure=failure))
            self._answered()

    def _plan_rows(self, batch: _Batch) -> None:
        """Plan the next rows of a batch."""
        if batch.failure:
            return
        begun = len(batch.plans) * ROWS_AT_ONCE
        rows = batch.rows[begun : begun + ROWS_AT_ONCE]
        try:
            batch.plans.append(self._planner.plan_many(
                np.stack([row.images for row in rows]), np.stack([row.proprio for row in rows]),
                [(row.seed,) for row in rows],
            ))
        except Exception as error:  # told to whoever asked
            batch.failure = f"{type(error).__name__}: {error}"
            batch.done(None, batch.failure)
            return
        if begun + len(rows) == len(batch.rows):
            batch.done(np.concatenate(batch.plans), "")


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
