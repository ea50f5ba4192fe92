"""What each hand is about to meet, as a token of its own.

A push is decided by parts of a pixel: does the hand reach the edge of a thing, and where? Cells of
a fixed grid show that badly. Here the picture is sampled around the place where the hand comes
next, finely for the edge, and coarsely for the whole thing, which says how it will turn.
"""

import torch
from torch import Tensor, nn

from hiwm_learning.world_models.latent.glimpses import around

_STEPS = (1, 3)  # px between samples: of an edge, and of a whole thing


class Touch(nn.Module):
    """Makes a token of what each hand is about to meet, and of its way there.

    Args:
        width: of a token.
        cameras: C.
        hands: their number.
        side: samples a side.
        size: of a picture, height and width, px.
    """

    def __init__(
        self, width: int, cameras: int, hands: int, side: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        self._side, self._size = side, size
        self.hands = nn.Parameter(torch.randn(hands, width) * 0.02)
        self.look = nn.Sequential(
            nn.Linear(cameras * (3 * len(_STEPS) * side**2 + 4), 2 * width), nn.SiLU(),
            nn.Linear(2 * width, width),
        )

    def forward(self, difference: Tensor, hands: Tensor) -> Tensor:
        """Return tokens [B, hands, W].

        Args:
            difference: [B, C, 3, H, W] of scenes from the usual pictures.
            hands: [B, 3, C, hands, 2] their places before, now and next, -1..1, x before y.
        """
        seen = torch.cat(
            [around(difference, hands[:, 2], self._side, step) for step in _STEPS], dim=2
        )
        seen = seen.unflatten(1, (-1, hands.shape[3])).transpose(1, 2).flatten(2)
        half = hands.new_tensor([0.5 * self._size[1], 0.5 * self._size[0]])
        ways = (hands[:, 1:] - hands[:, :-1]) * half  # [B, 2, C, hands, 2] px
        ways = ways.permute(0, 3, 1, 2, 4).flatten(2)
        found: Tensor = self.hands + self.look(torch.cat([seen, ways], dim=-1))
        return found
