"""How long a step of imagination takes, for one world and in batches."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hiwm_learning.world_models.evaluation.rollouts import Start
from hiwm_learning.world_models.simulators import WorldSimulator

BATCHES = (1, 8, 16, 32)
WARM_UP = 5


def latency(
    simulator: WorldSimulator[Any], start: Start, repeats: int
) -> dict[str, dict[str, float]]:
    """Return p50 and p95 in ms per state by states at once: limits, step, picture, heads, trust.

    Args:
        simulator: to time, on as many threads as torch is set to.
        start: to begin from; the arms are told to stay.
        repeats: measurements of one state; a quarter of them of several.
    """
    state = simulator.begin(start.views, start.proprioception, seed=0)
    table = {}
    for batch in BATCHES:
        states, actions = [state] * batch, [start.measured] * batch

        def together(states: list[Any] = states, actions: list[Any] = actions) -> None:
            following, _ = simulator.step_many(states, actions)
            simulator.observe_many(following)

        count = repeats if batch == 1 else max(WARM_UP, repeats // 4)
        table[str(batch)] = _timed(together, batch, count)
    return table


def _timed(work: Callable[[], None], states: int, repeats: int) -> dict[str, float]:
    for _ in range(WARM_UP):
        work()
    times, busy = [], []
    for _ in range(repeats):
        begun, begun_busy = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - begun) * 1e3 / states)
        busy.append((time.process_time() - begun_busy) * 1e3 / states)
    return {
        "p50_ms_per_state": float(np.percentile(times, 50)),
        "p95_ms_per_state": float(np.percentile(times, 95)),
        # What other work on the machine does not lengthen.
        "p50_processor_ms_per_state": float(np.percentile(busy, 50)),
        "repeats": float(repeats),
    }
