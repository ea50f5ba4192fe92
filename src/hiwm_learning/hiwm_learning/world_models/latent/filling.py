"""What is behind the robot, guessed from what is seen around it."""

import torch
from torch import Tensor, nn

from hiwm_learning.world_models.latent.blocks import residuals
from hiwm_learning.world_models.latent.robot_layer import STRONG


class Filler(nn.Module):
    """Fills what is hidden in scenes of one camera.

    It sees three sizes of the picture: a thin thing is continued finely, a large one from afar.

    Args:
        width: of the convolutions at half the size.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        wide, widest = 2 * width, 3 * width
        self.entry = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, width, 3, padding=1))
        self.at_half = residuals(width, 1)
        self.down = nn.Conv2d(width, wide, 3, stride=2, padding=1)
        self.at_quarter = residuals(wide, 1)
        self.further = nn.Conv2d(wide, widest, 3, stride=2, padding=1)
        self.at_eighth = residuals(widest, 2)
        self.up = nn.Sequential(nn.Conv2d(widest, 4 * wide, 1), nn.PixelShuffle(2))
        self.at_quarter_again = residuals(wide, 1)
        self.up_more = nn.Sequential(nn.Conv2d(wide, 4 * width, 1), nn.PixelShuffle(2))
        self.at_half_again = residuals(width, 1)
        leave = nn.Conv2d(width, 12, 3, padding=1)
        nn.init.zeros_(leave.weight)
        assert leave.bias is not None
        nn.init.zeros_(leave.bias)
        self.leave = nn.Sequential(leave, nn.PixelShuffle(2))

    def forward(self, difference: Tensor, hidden: Tensor) -> Tensor:
        """Return differences [B, 3, H, W] from the usual picture, also where they are hidden.

        Args:
            difference: [B, 3, H, W] of the scene; where it is hidden, of any value.
            hidden: [B, 1, H, W] in 0..1.
        """
        seen = torch.cat([STRONG * difference * (1.0 - hidden), hidden], dim=1)
        half = self.at_half(self.entry(seen))
        quarter = self.at_quarter(self.down(half))
        eighth = self.at_eighth(self.further(quarter))
        quarter = self.at_quarter_again(quarter + self.up(eighth))
        found: Tensor = self.leave(self.at_half_again(half + self.up_more(quarter))) / STRONG
        return found
