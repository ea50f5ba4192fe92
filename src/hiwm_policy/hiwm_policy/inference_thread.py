"""Inference in its own thread, so that a slow network never blocks the node.

During inference the node keeps receiving ticks and control states. So it knows at the end whether
the chunk is still needed.
"""

import functools
import itertools
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from hiwm_core.errors import HiwmError
from hiwm_learning.policies.planning import Planner
from hiwm_policy.plan_schedule import TickId

# The planner may do something of its own after so long without a question, s.
_IDLE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request for one plan: the observations and the seed."""

    tick_id: TickId
    stamp_ns: int  # of the tick
    images: Mapping[str, NDArray[np.uint8]]  # of each camera, [S, H, W, 3], newest last
    proprio: NDArray[np.float32]  # [S, P], newest last
    asked_at: float  # steady clock, s
    seed: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of a question."""

    question: Question
    actions: NDArray[np.float64] | None  # [K, A]; None where inference failed
    failure: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One of many plan requests that no tick waits for."""

    images: Mapping[str, NDArray[np.uint8]]  # of each camera, [S, H, W, 3], newest last
    proprio: NDArray[np.float32]  # [S, P], newest last
    seed: int


def reason_of(error: Exception) -> str:
    """Return why a plan failed: our own errors speak for themselves."""
    return str(error) if isinstance(error, HiwmError) else f"{type(error).__name__}: {error}"


@dataclass(kw_only=True)
class _Batch:
    """Rows planned together."""

    rows: Sequence[Row]
    done: Callable[[NDArray[np.float64] | None, str], None]
    plans: list[NDArray[np.float64]] = field(default_factory=list)  # [n, K, A] each
    failure: str = ""


class InferenceThread:
    """One thread that answers one question at a time; the session's questions come first.

    Args:
        planner: the policy.
        threads: torch threads it may use.
        answered: called in this thread when an answer is available.
    """

    def __init__(self, planner: Planner, threads: int, answered: Callable[[], None]) -> None:
        self._planner = planner
        self._threads = threads
        self._answered = answered
        # Priority and sequence number, so that questions themselves are never compared.
        self._questions: queue.PriorityQueue[tuple[int, int, Question | _Batch | None]] = (
            queue.PriorityQueue()
        )
        self._sequence = itertools.count()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._trouble = ""
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    def ask(self, question: Question) -> None:
        """Queue a question of the session."""
        self._put(1, question)

    def ask_many(
        self, rows: Sequence[Row], done: Callable[[NDArray[np.float64] | None, str], None]
    ) -> None:
        """Queue questions that can wait; the session's questions go before them.

        Args:
            rows: at least one.
            done: called in this thread with plans [N, K, A], or None and the failure.
        """
        batch = _Batch(rows=rows, done=done)
        for _ in range(0, len(rows), self._planner.rows_at_once):
            self._put(2, batch)

    def answer(self) -> Answer | None:
        """Return the next answer, or None."""
        try:
            return self._answers.get_nowait()
        except queue.Empty:
            return None

    @property
    def trouble(self) -> str:
        """Return the last error that no question could report, or nothing."""
        return self._trouble

    def close(self) -> None:
        """Stop the thread after the current question."""
        self._put(0, None)
        self._thread.join(timeout=5.0)

    def _put(self, priority: int, question: Question | _Batch | None) -> None:
        self._questions.put((priority, next(self._sequence), question))

    def _work(self) -> None:
        # OpenMP stores the number of threads per calling thread.
        torch.set_num_threads(self._threads)
        while (question := self._next()) is not None:
            if isinstance(question, _Batch):
                self._guarded(functools.partial(self._plan_rows, question))
            else:
                self._plan(question)
                self._guarded(self._answered)

    def _next(self) -> Question | _Batch | None:
        """Return the next question; while there is none, the planner may look after itself."""
        while True:
            try:
                return self._questions.get(timeout=_IDLE_S)[2]
            except queue.Empty:
                self._guarded(self._planner.idle)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do work whose error must not end the thread."""
        try:
            work()
        except Exception as error:  # a plug-in may raise anything
            self._trouble = reason_of(error)

    def _plan(self, question: Question) -> None:
        actions, failure = None, ""
        try:
            actions = self._planner.plan(question.images, question.proprio, question.seed)
        except Exception as error:  # passed to the node, which pauses the session with it
            failure = reason_of(error)
        self._answers.put(Answer(question=question, actions=actions, failure=failure))

    def _plan_rows(self, batch: _Batch) -> None:
        """Plan the next rows of a batch."""
        if batch.failure:
            return
        size = self._planner.rows_at_once
        first = len(batch.plans) * size
        rows = batch.rows[first : first + size]
        try:
            batch.plans.append(self._planner.plan_many(
                {
                    camera: np.stack([row.images[camera] for row in rows])
                    for camera in self._planner.image_shapes
                },
                np.stack([row.proprio for row in rows]), [(row.seed,) for row in rows],
            ))
            if first + len(rows) < len(batch.rows):
                return
            plans = np.concatenate(batch.plans)
        except Exception as error:  # passed to the client
            batch.failure = reason_of(error)
            batch.done(None, batch.failure)
            return
        batch.done(plans, "")
