"""Whether a hand holds what lies around it, told by the picture there."""

import torch
from torch import Tensor, nn

_WIDTH = 64


class Grips(nn.Module):
    """Of each hand, how surely it holds what lies around it.

    What a thing between fingers looks like is learned from all hands together: grasps are few.

    Args:
        hands: their number.
        seen: features of the pictures around one hand.
        robot: features of how the robot stands.
    """

    def __init__(self, hands: int, seen: int, robot: int) -> None:
        super().__init__()
        self.look = nn.Linear(seen, _WIDTH)
        self.postures = nn.ModuleList(nn.Linear(robot, _WIDTH, bias=False) for _ in range(hands))
        self.judge = nn.Sequential(
            nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, 1)
        )

    def forward(self, seen: Tensor, robot: Tensor) -> Tensor:
        """Return logits [B, hands].

        Args:
            seen: [B, C * hands, S], what lies around each hand in each camera.
            robot: [B, G] its features.
        """
        looks = self.look(seen.unflatten(1, (-1, len(self.postures))).transpose(1, 2).flatten(2))
        stands = torch.stack([posture(robot) for posture in self.postures], dim=1)
        found: Tensor = self.judge(looks + stands)[..., 0]
        return found
