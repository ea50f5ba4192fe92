"""Whatever a planner raises, the thread answers the next question."""

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from hiwm_policy import inference_thread
from hiwm_policy.inference_thread import InferenceThread, Question, Row
from hiwm_policy.plan_schedule import TickId

WAIT_S = 60.0  # a hang guard


class Plugin:
    """A planner that fails where the test says."""

    rows_at_once = 1
    image_shapes: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.lengths: list[int] = []  # of the next chunks
        self.idled: SimpleQueue[None] = SimpleQueue()

    def idle(self) -> None:
        self.idled.put(None)
        raise LookupError("no such socket")

    def plan(self, images: Any, proprio: Any, seed: Any) -> Any:
        return np.zeros((4, 2))

    def plan_many(self, images: Any, proprio: Any, seeds: Any) -> Any:
        return np.zeros((len(seeds), self.lengths.pop(0), 2))


class Asked:
    """A thread and its planner."""

    def __init__(self) -> None:
        self.planner = Plugin()
        planner: Any = self.planner
        self.answered: SimpleQueue[None] = SimpleQueue()
        self.thread = InferenceThread(planner, 1, lambda: self.answered.put(None))

    def plans(self) -> bool:
        """Return whether a question still gets its answer."""
        self.thread.ask(Question(
            tick_id=TickId(1, 0), stamp_ns=0, images={}, proprio=np.zeros((1, 2), np.float32),
            asked_at=0.0, seed=(0,),
        ))
        self.answered.get(timeout=WAIT_S)
        answer = self.thread.answer()
        return answer is not None and answer.actions is not None


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    monkeypatch.setattr(inference_thread, "_IDLE_S", 0.01)
    asked = Asked()
    yield asked
    asked.thread.close()


def row() -> Row:
    return Row(images={}, proprio=np.zeros((1, 2), np.float32), seed=0)


def test_a_failure_while_idle_is_kept_for_the_diagnostics(asked: Asked) -> None:
    for _ in range(2):
        asked.planner.idled.get(timeout=WAIT_S)
    assert "no such socket" in asked.thread.trouble
    assert asked.plans()


def test_chunks_of_different_lengths_fail_their_batch_only(asked: Asked) -> None:
    results: SimpleQueue[tuple[Any, str]] = SimpleQueue()
    asked.planner.lengths = [4, 3]
    asked.thread.ask_many([row(), row()], lambda plans, failure: results.put((plans, failure)))
    plans, failure = results.get(timeout=WAIT_S)
    assert plans is None and "ValueError" in failure
    asked.planner.lengths = [4, 4]
    asked.thread.ask_many([row(), row()], lambda plans, failure: results.put((plans, failure)))
    assert results.get(timeout=WAIT_S)[0].shape == (2, 4, 2)
    assert asked.plans()


def test_a_client_that_is_gone_does_not_end_the_thread(asked: Asked) -> None:
    called: SimpleQueue[None] = SimpleQueue()

    def gone(plans: Any, failure: str) -> None:
        called.put(None)
        raise RuntimeError("the guard condition is destroyed")

    asked.planner.lengths = [4]
    asked.thread.ask_many([row()], gone)
    called.get(timeout=WAIT_S)  # a question would go before the batch
    assert asked.plans()
