"""Whether a hand holds what lies around it, told by the picture there, and when it loses it."""

import torch
from torch import Tensor, nn

_WIDTH, _NARROW = 64, 32
_NEVER = -16.0  # logit of losing something in a step, before training


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


class Slips(nn.Module):
    """Of each hand, how likely it loses in this step what it holds.

    Whether a grasp was a good one is hardly seen. What can be told is how the arms stand and move:
    things slip when they are lifted and pulled.

    Args:
        hands: their number.
        robot: features of how the robot stands and moves.
    """

    def __init__(self, hands: int, robot: int) -> None:
        super().__init__()
        self.postures = nn.ModuleList(nn.Linear(robot, _NARROW) for _ in range(hands))
        self.judge = nn.Sequential(
            nn.SiLU(), nn.Linear(_NARROW, _NARROW), nn.SiLU(), nn.Linear(_NARROW, 1)
        )
        last = self.judge[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, _NEVER)

    def forward(self, robot: Tensor) -> Tensor:
        """Return logits [B, hands] of features [B, G]."""
        found: Tensor = self.judge(
            torch.stack([posture(robot) for posture in self.postures], dim=1)
        )[..., 0]
        return found
