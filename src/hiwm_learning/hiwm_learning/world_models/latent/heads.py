"""Progress and success, read from the scene and the joints."""

import torch
from torch import Tensor, nn

from hiwm_learning.policies.networks import SpatialSoftmax
from hiwm_learning.world_models.latent.robot_layer import STRONG

_FOLD = 4  # px a side that are folded into channels first


class OutcomeHead(nn.Module):
    """Progress and success of the present.

    Args:
        cameras: C.
        joints: P, length of proprioception.
        width: of the layers.
    """

    def __init__(self, cameras: int, joints: int, width: int) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.PixelUnshuffle(_FOLD), nn.Conv2d(3 * cameras * _FOLD**2, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.SiLU(),
        )
        # Positions to a fraction of a place; pooled features say what is there.
        self.places = SpatialSoftmax(width, 16)
        self.pooled = nn.AdaptiveAvgPool2d(4)
        self.judge = nn.Sequential(
            nn.Linear(32 + 16 * width + joints, 4 * width), nn.SiLU(),
            nn.Linear(4 * width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 2),
        )

    def forward(self, difference: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Return progress [B], 0..1, and the logit of success [B].

        Args:
            difference: [B, C, 3, H, W] of the scene from the usual pictures.
            joints: [B, P] standardised proprioception.
        """
        seen = self.look(STRONG * difference.flatten(1, 2))
        out = self.judge(torch.cat([self.places(seen), self.pooled(seen).flatten(1), joints], 1))
        return torch.sigmoid(out[:, 0]), out[:, 1]
