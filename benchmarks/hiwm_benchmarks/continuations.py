"""The cost of many continuations of a state relative to one, while the session runs at rate 10."""

import time
from collections.abc import Sequence
from typing import Any

from hiwm_interfaces.msg import Command, Tick
from hiwm_interfaces.srv import Continue

from hiwm_core.stamps import stamp_ns

from .rows import Measured, quantile
from .watcher import Watcher

MANY = 16
STEPS = 50
ANSWER_S = 300.0
ALONE_S = 10.0


def continued(watcher: Watcher, repeats: int) -> dict[str, Measured]:
    """Alternate many continuations and one, of a state about twenty steps into an episode."""
    watcher.until_running(Command.SOURCE_POLICY)
    node = f"{watcher.tick.branch_id}:{watcher.tick.step}"
    # The baseline without continuations; meanwhile the node gets into the tree.
    alone = _intervals(watcher.watch(ALONE_S))
    seconds: dict[int, list[float]] = {1: [], MANY: []}
    steps: dict[int, list[float]] = {1: [], MANY: []}
    intervals: list[float] = []
    for number in range(repeats):
        for count in seconds:
            first = len(watcher.ticks)
            start = time.monotonic()
            answer: Any = watcher.call(Continue, "branches/continue", Continue.Request(
                node_id=node, count=count, steps=STEPS, seed=MANY * number, frames=1
            ), ANSWER_S)
            seconds[count].append(time.monotonic() - start)
            steps[count].append(sum(one.steps for one in answer.continuations) / count)
            if count == MANY:
                intervals += _intervals(watcher.ticks[first:])
    one, many = (quantile(seconds[count], 0.5) for count in (1, MANY))
    made = quantile(steps[MANY], 0.5)
    return {
        "continuations": Measured(
            value=many / one,
            details={
                "s for 16": many, "s for one": one, "steps of each": made,
                "ms per continuation and step": 1e3 * many / (MANY * made),
                "tick interval meanwhile p50 ms": quantile(intervals, 0.5),
                "p99 ms": quantile(intervals, 0.99), "p99 ms without": quantile(alone, 0.99),
                "n": len(seconds[MANY]),
            },
        ),
    }


def _intervals(received: Sequence[tuple[float, Tick]]) -> list[float]:
    """Return the intervals between ticks, ms."""
    stamps = [stamp_ns(tick.header.stamp) / 1e6 for _, tick in received]
    return [b - a for a, b in zip(stamps, stamps[1:], strict=False)]
