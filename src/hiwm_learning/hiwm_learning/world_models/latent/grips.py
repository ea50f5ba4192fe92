"""Whether a hand holds what lies around it, told by the picture there."""

import torch
from torch import Tensor, nn

_WIDTH = 64


class Grips(nn.Module):
    """Of each hand, how surely it holds what lies around it.

    Args:
        hands: their number.
        features: of the pictures around one hand, and of the robot.
    """

    def __init__(self, hands: int, features: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(
                nn.Linear(features, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU(),
                nn.Linear(_WIDTH, 1),
            )
            for _ in range(hands)
        )

    def forward(self, seen: Tensor, robot: Tensor) -> Tensor:
        """Return logits [B, hands].

        Args:
            seen: [B, C * hands, S], what lies around each hand in each camera.
            robot: [B, G] its features.
        """
        of_hand = seen.unflatten(1, (-1, len(self.nets)))
        return torch.cat([
            net(torch.cat([of_hand[:, :, i].flatten(1), robot], dim=1))
            for i, net in enumerate(self.nets)
        ], dim=1)
