"""The noise of a diffusion policy: squared-cosine schedule and deterministic DDIM steps.

Same mathematics as the schedulers of diffusers; a test compares them. It is reimplemented because
importing diffusers costs a policy process 90 MB and over a second.

The network predicts the "velocity" between noise and signal. A prediction of the noise would make
the first step, where hardly any signal is left, divide by almost zero.

Sources: Nichol and Dhariwal 2021 (arXiv 2102.09672) for the schedule, Song et al. 2020
(arXiv 2010.02502) for DDIM, Salimans and Ho 2022 (arXiv 2202.00512) for the velocity.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


class NoiseSchedule(nn.Module):
    """Squared-cosine noise levels.

    Args:
        levels: number of noise levels in training.
    """

    signal: Tensor  # [levels], fraction of the signal's variance at each level

    def __init__(self, levels: int) -> None:
        super().__init__()

        def cosine(share: float) -> float:
            return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

        betas = [
            min(0.999, 1.0 - cosine((i + 1) / levels) / cosine(i / levels)) for i in range(levels)
        ]
        signal = torch.cumprod(1.0 - torch.tensor(betas, dtype=torch.float64), 0).float()
        # Computed from `levels`, so checkpoints need not store it.
        self.register_buffer("signal", signal, persistent=False)
        self.levels = levels

    def add_noise(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Return clean [N, D] with noise [N, D] at levels [N]."""
        signal = self.signal[level][:, None]
        return signal.sqrt() * clean + (1.0 - signal).sqrt() * noise

    def velocity(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Return the network's target [N, D] at levels [N]."""
        signal = self.signal[level][:, None]
        return signal.sqrt() * noise - (1.0 - signal).sqrt() * clean

    def sample(
        self, predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int,
        lower: Tensor, upper: Tensor,
    ) -> Tensor:
        """Return a clean sample by DDIM without added noise.

        Args:
            predict: (noisy [N, D], levels [N]) -> velocity [N, D].
            noise: initial standard normal noise, [N, D].
            steps: network calls, evenly spaced over the levels from the noisiest on.
            lower: lower bound of the clean estimate at every step, [D].
            upper: its upper bound, [D].
        """
        levels = [round(self.levels * (steps - i) / steps) - 1 for i in range(steps)]
        noisy = noise
        for level, following in zip(levels, [*levels[1:], None], strict=True):
            signal = self.signal[level]
            at = torch.full((noise.shape[0],), level, dtype=torch.long, device=noise.device)
            clean = signal.sqrt() * noisy - (1.0 - signal).sqrt() * predict(noisy, at)
            clean = torch.minimum(torch.maximum(clean, lower), upper)
            if following is None:
                return clean
            # The noise consistent with the clipped estimate.
            present = (noisy - signal.sqrt() * clean) / (1.0 - signal).sqrt()
            left = self.signal[following]
            noisy = left.sqrt() * clean + (1.0 - left).sqrt() * present
        return noisy
