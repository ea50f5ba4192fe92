"""Drawing a next latent from a trained network; one sampler for each objective.

What a sampler draws comes through `draw`, one tensor of standard normal noise a call, so that who
calls decides where randomness comes from: a saved state replays exactly.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from hiwm_learning.latent_world.objectives import (
    CONSISTENCY_LARGEST,
    CONSISTENCY_SMALLEST,
    EDM_LARGEST,
    EDM_SMALLEST,
    Network,
    consistent,
    denoised,
    noise_levels,
)

Draw = Callable[[], Tensor]


class Sampler(Protocol):
    """A way from a network to a sample."""

    def __call__(self, network: Network, last: Tensor, draw: Draw, steps: int) -> Tensor:
        """Return a sample [B, ...].

        Args:
            network: as `objectives` describe it.
            last: [B, ...] what the sample follows.
            draw: returns noise of the sample's shape.
            steps: network calls.
        """


def _everywhere(level: float, like: Tensor) -> Tensor:
    return torch.full((len(like),), level, dtype=like.dtype, device=like.device)


def mean_change(network: Network, last: Tensor, draw: Draw, steps: int) -> Tensor:
    """Sample a regression: last + F(last, 0). One call, nothing drawn, whatever `steps`."""
    return last + network(last, _everywhere(0.0, last))


def flow(network: Network, last: Tensor, draw: Draw, steps: int) -> Tensor:
    """Follow a learned flow from noise by Euler steps: x += F(x, t) / steps."""
    x = draw()
    for i in range(steps):
        x = x + network(x, _everywhere(i / steps, x)) / steps
    return x


def edm(network: Network, last: Tensor, draw: Draw, steps: int) -> Tensor:
    """Solve EDM's probability-flow ODE by Euler steps (arXiv 2206.00364, eq. 1), as DIAMOND does.

    dx / ds = (x - D(x, s)) / s, over rho-spaced levels, the last one being 0.
    """
    descending = noise_levels(steps, EDM_SMALLEST, EDM_LARGEST).flip(0).tolist()
    if steps == 1:
        descending = [EDM_LARGEST]
    x = draw() * EDM_LARGEST
    for level, following in zip(descending, [*descending[1:], 0.0], strict=True):
        clean = denoised(network, x, _everywhere(level, x))
        x = clean + (x - clean) * (following / level)
    return x


def consistency(network: Network, last: Tensor, draw: Draw, steps: int) -> Tensor:
    """Jump to a sample, then add noise again and jump, ever less (arXiv 2303.01469, alg. 1)."""
    descending = noise_levels(steps + 1, CONSISTENCY_SMALLEST, CONSISTENCY_LARGEST).flip(0)
    x = consistent(network, draw() * CONSISTENCY_LARGEST, _everywhere(CONSISTENCY_LARGEST, last))
    for level in descending[1:-1].tolist():
        noise = draw() * (level**2 - CONSISTENCY_SMALLEST**2) ** 0.5
        x = consistent(network, x + noise, _everywhere(level, x))
    return x


# By the name of the objective; with it, how many steps are usual.
SAMPLERS: dict[str, tuple[Sampler, int]] = {
    "regression": (mean_change, 1), "flow": (flow, 4), "edm": (edm, 3),
    "consistency": (consistency, 1),
}
