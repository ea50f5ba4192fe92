"""Progress and success, read from latents and joints."""

import torch
from torch import Tensor, nn

from hiwm_learning.policies.networks import SpatialSoftmax


class OutcomeHead(nn.Module):
    """Progress and success of the present.

    Args:
        channels: of the latents of all cameras together.
        joints: P, length of proprioception.
        width: of the layers.
    """

    def __init__(self, channels: int, joints: int, width: int) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.SiLU(),
        )
        # Positions to a fraction of a cell; pooled features say what is there.
        self.places = SpatialSoftmax(width, 16)
        self.pooled = nn.AdaptiveAvgPool2d(4)
        self.judge = nn.Sequential(
            nn.Linear(32 + 16 * width + joints, 4 * width), nn.SiLU(),
            nn.Linear(4 * width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 2),
        )

    def forward(self, latents: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Return progress [B], 0..1, and the logit of success [B].

        Args:
            latents: [B, C, Z, h, w].
            joints: [B, P] standardised proprioception.
        """
        seen = self.look(latents.flatten(1, 2))
        out = self.judge(torch.cat([self.places(seen), self.pooled(seen).flatten(1), joints], 1))
        return torch.sigmoid(out[:, 0]), out[:, 1]
