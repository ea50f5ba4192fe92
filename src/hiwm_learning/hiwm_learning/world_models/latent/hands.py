"""Where the hands are in a camera's picture, from the joints of each arm.

What an arm holds moves with its hand, so the dynamics needs its place. The points that a robot is
drawn with do not give it: most of them come to lie beside the robot.
"""

import torch
from torch import Tensor, nn

_WIDTH = 64


class Hands(nn.Module):
    """The place of each arm's hand in one camera.

    Args:
        arms: of each arm, its places in proprioception.
    """

    def __init__(self, arms: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self._arms = arms
        self.places = nn.ModuleList(
            nn.Sequential(
                nn.Linear(len(arm), _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU(),
                nn.Linear(_WIDTH, 2),
            )
            for arm in arms
        )

    def forward(self, posture: Tensor) -> Tensor:
        """Return places [B, arms, 2], x and y in -1..1, of standardised proprioception [B, P]."""
        with torch.autocast(posture.device.type, enabled=False):
            return torch.stack([
                place(posture[:, list(arm)])
                for place, arm in zip(self.places, self._arms, strict=True)
            ], dim=1)
