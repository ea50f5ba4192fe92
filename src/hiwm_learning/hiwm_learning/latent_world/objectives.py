"""What the dynamics network is trained for; one class an objective, switched by name.

Every objective sees a network as `(noisy [B, ...], level [B]) -> [B, ...]`, everything it is
conditioned on bound already, and data of standard deviation 1. `samplers` holds the sampler that
belongs to each. The preconditioning of both is here, so that it cannot differ between them.

Numbers of sources that assume data of standard deviation 0.5 are doubled.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Generator, Tensor

from hiwm_core.errors import ConfigError

Network = Callable[[Tensor, Tensor], Tensor]

# Noise levels of the EDM objective: log-normal, as in DIAMOND (arXiv 2405.12399, table 4).
EDM_MEAN, EDM_SPREAD = -0.4 + math.log(2.0), 1.2
EDM_SMALLEST, EDM_LARGEST = 0.004, 10.0
# Of consistency training: arXiv 2310.14189, sections 3.4 and 3.5.
CONSISTENCY_MEAN, CONSISTENCY_SPREAD = -1.1 + math.log(2.0), 2.0
CONSISTENCY_SMALLEST, CONSISTENCY_LARGEST = 0.004, 160.0
FEWEST_LEVELS, MOST_LEVELS = 10, 1280
RHO = 7.0  # spacing of noise levels (EDM, arXiv 2206.00364, eq. 5)


class Objective(Protocol):
    """A loss on pairs of present and next latents."""

    def loss(
        self, network: Network, target: Tensor, last: Tensor, generator: Generator,
        progress: float,
    ) -> Tensor:
        """Return the loss of each sample, [B].

        Args:
            network: see the module.
            target: [B, ...] what is to come out.
            last: [B, ...] what it follows; objectives that begin from noise ignore it.
            generator: of every draw, on the device of `target`.
            progress: share of the training done, 0..1.
        """


def normal_like(like: Tensor, generator: Generator) -> Tensor:
    """Return standard normal noise of the shape of `like`, on the generator's device."""
    return torch.randn(like.shape, generator=generator, device=generator.device)


def over(level: Tensor, like: Tensor) -> Tensor:
    """Return levels [B] shaped to multiply [B, ...]."""
    return level.reshape(-1, *[1] * (like.dim() - 1))


def noise_levels(count: int, smallest: float, largest: float) -> Tensor:
    """Return `count` levels from smallest to largest, rho-spaced (EDM eq. 5), float64 [count]."""
    ramp = torch.linspace(0.0, 1.0, count, dtype=torch.float64)
    low, high = smallest ** (1 / RHO), largest ** (1 / RHO)
    levels: Tensor = (low + ramp * (high - low)) ** RHO
    return levels


def denoised(network: Network, noisy: Tensor, sigma: Tensor) -> Tensor:
    """Return the EDM denoiser D (arXiv 2206.00364, eq. 7) at sigma [B], data of deviation 1.

    D = x / (s^2 + 1) + s / sqrt(s^2 + 1) * F(x / sqrt(s^2 + 1), ln(s) / 4)
    """
    s = over(sigma, noisy)
    root = (s**2 + 1.0).sqrt()
    return noisy / root**2 + s / root * network(noisy / root, sigma.log() / 4.0)


def consistent(network: Network, noisy: Tensor, sigma: Tensor) -> Tensor:
    """Return the consistency function f, which leaves the least noisy sample as it is.

    With e the smallest level (arXiv 2303.01469, appendix C; input scaled as in EDM):
    f = x / ((s - e)^2 + 1) + (s - e) / sqrt(s^2 + 1) * F(x / sqrt(s^2 + 1), ln(s) / 4)
    """
    s = over(sigma, noisy)
    root = (s**2 + 1.0).sqrt()
    gap = s - CONSISTENCY_SMALLEST
    skip = noisy / (gap**2 + 1.0)
    return skip + gap / root * network(noisy / root, sigma.log() / 4.0)


class Regression:
    """The mean change: |F(last, 0) - (target - last)|^2."""

    def loss(
        self, network: Network, target: Tensor, last: Tensor, generator: Generator,
        progress: float,
    ) -> Tensor:
        """Return the loss of each sample, [B]."""
        level = torch.zeros(len(last), device=last.device)
        return ((network(last, level) - (target - last)) ** 2).flatten(1).mean(1)


class FlowMatching:
    """Straight paths from noise to data (arXiv 2210.02747, eq. 23; rectified flow 2209.03003).

    x_t = (1 - t) noise + t target, t uniform;  |F(x_t, t) - (target - noise)|^2
    """

    def loss(
        self, network: Network, target: Tensor, last: Tensor, generator: Generator,
        progress: float,
    ) -> Tensor:
        """Return the loss of each sample, [B]."""
        noise = normal_like(target, generator)
        time = torch.rand(len(target), generator=generator, device=generator.device)
        t = over(time, target)
        found = network((1.0 - t) * noise + t * target, time)
        return ((found - (target - noise)) ** 2).flatten(1).mean(1)


class Denoising:
    """EDM (arXiv 2206.00364): |F - (target - c_skip x) / c_out|^2, which is eq. 8 with eq. 2.

    Noise levels as in DIAMOND, the world model that uses the same objective.
    """

    def loss(
        self, network: Network, target: Tensor, last: Tensor, generator: Generator,
        progress: float,
    ) -> Tensor:
        """Return the loss of each sample, [B]."""
        draw = torch.randn(len(target), generator=generator, device=generator.device)
        sigma = (draw * EDM_SPREAD + EDM_MEAN).exp().clamp(EDM_SMALLEST, EDM_LARGEST)
        noisy = target + over(sigma, target) * normal_like(target, generator)
        # The weight 1 / c_out^2 makes this the network's own error, the same at every level.
        weight = (sigma**2 + 1.0) / sigma**2
        error = (denoised(network, noisy, sigma) - target) ** 2
        return error.flatten(1).mean(1) * weight


class ConsistencyTraining:
    """Neighbouring noise levels of one path must lead to the same sample; no teacher is needed.

    Improved consistency training (arXiv 2310.14189): pseudo-Huber distance between
    f(x + s_{i+1} z, s_{i+1}) and f(x + s_i z, s_i), the latter held fixed, over s_{i+1} - s_i;
    i log-normal, the number of levels doubling from 10 to 1280 as training goes on.
    """

    def loss(
        self, network: Network, target: Tensor, last: Tensor, generator: Generator,
        progress: float,
    ) -> Tensor:
        """Return the loss of each sample, [B]."""
        levels = self.levels(progress).to(target.device)
        chosen = torch.multinomial(
            self.weights(levels).float(), len(target), replacement=True, generator=generator
        )
        low, high = levels[chosen].float(), levels[chosen + 1].float()
        noise = normal_like(target, generator)
        upper = consistent(network, target + over(high, target) * noise, high)
        with torch.no_grad():
            lower = consistent(network, target + over(low, target) * noise, low)
        size = target[0].numel()
        knee = 0.00054 * math.sqrt(size)
        square = ((upper - lower) ** 2).flatten(1).sum(1)
        return ((square + knee**2).sqrt() - knee) / (high - low)

    @staticmethod
    def levels(progress: float) -> Tensor:
        """Return the noise levels in use after a share of the training (eq. 11), float64."""
        doublings = math.log2(MOST_LEVELS / FEWEST_LEVELS) + 1.0
        count = min(FEWEST_LEVELS * 2 ** int(progress * doublings), MOST_LEVELS) + 1
        return noise_levels(count, CONSISTENCY_SMALLEST, CONSISTENCY_LARGEST)

    @staticmethod
    def weights(levels: Tensor) -> Tensor:
        """Return how often each interval between levels is drawn, [levels - 1] (eq. 10)."""
        place = (levels.log() - CONSISTENCY_MEAN) / (math.sqrt(2.0) * CONSISTENCY_SPREAD)
        share: Tensor = torch.erf(place[1:]) - torch.erf(place[:-1])
        return share


OBJECTIVES: dict[str, type[Objective]] = {
    "regression": Regression, "flow": FlowMatching, "edm": Denoising,
    "consistency": ConsistencyTraining,
}


def objective_named(name: str) -> Objective:
    """Return an objective by name; raises ConfigError where there is none."""
    if name not in OBJECTIVES:
        raise ConfigError(
            f"no objective {name!r}", where="world model",
            remedy=f"use one of {', '.join(OBJECTIVES)}",
        )
    return OBJECTIVES[name]()
