"""How long a step of imagination takes, alone and in batches."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hiwm_core.limits import Limiter
from hiwm_learning.world_model import imagination
from hiwm_learning.world_model.layers import frames_to_bytes
from hiwm_learning.world_model.model import WorldModel
from hiwm_learning.world_model.simulator import Simulator

BATCHES = (8, 32)
WARM_UP = 5


def latency(
    model: WorldModel, limiter: Limiter, image: Tensor, hands: Tensor, repeats: int
) -> dict[str, dict[str, float]]:
    """Return p50 and p95 in ms per state by states at once: step, draw, heads and trust.

    Args:
        model: to time, on as many threads as torch is set to.
        limiter: of the simulator, which is timed where a state is alone.
        image: [H, W, 3] uint8 frame to begin from.
        hands: [P] its proprioception, m; held.
        repeats: measurements of each.
    """
    simulator = Simulator(model, limiter)
    state = simulator.begin(image.numpy(), hands.numpy(), seed=0)
    action = hands.double().numpy()

    def alone() -> None:
        following, _ = simulator.step(state, action)
        simulator.observe(following)

    table = {"1": _timed(alone, 1, repeats)}
    for batch in BATCHES:
        poses = torch.from_numpy(state.poses).expand(batch, -1, -1).contiguous()
        worlds = imagination.begin(model, poses)
        targets = poses[:, 1:, :2]

        @torch.no_grad()
        def together(
            worlds: imagination.Imagined = worlds, targets: Tensor = targets
        ) -> None:
            following = imagination.advance(model, worlds, targets)
            frames_to_bytes(model.decoder(following.poses))
            model.head(following.poses[:, 0])
            imagination.trust(imagination.doubt(model, following))

        table[str(batch)] = _timed(together, batch, max(WARM_UP, repeats // 4))
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
