"""The robot as a layer of the picture, from its joint state only: its colours and what it covers.

The layer knows nothing of the scene, and the scene nothing of the layer: so the robot can be
neither blurred nor moved by what the objects do. It needs neither masks nor calibration: it is
learned from how well frames are redrawn.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.world_models.latent.blocks import residuals
from hiwm_learning.world_models.latent.robot_drawing import RobotDrawing, fine_channels

PATCH = 4  # px a side of what one place of the finer grid becomes
CELL = 2 * PATCH  # px a side of a cell
STRONG = 4.0  # factor on differences from the usual picture, which are small

_UNCOVERED = -1.4  # of a pixel's cover before training, see `_cover`
_UNSET = 0.5  # brightness of the usual picture before training
# Covers from here on hide what is behind them, more and more.
_HIDES_FROM, _HIDES_FULLY = 0.1, 0.5
_BEYOND = 5  # px a side of the area that is hidden around a covered pixel


@dataclass(frozen=True, kw_only=True)
class RobotLayer:
    """A robot drawn in the images of one camera."""

    colours: Tensor  # [B, 3, H, W] in 0..1
    cover: Tensor  # [B, 1, H, W] 0..1; 1: nothing of the scene is seen

    def lit(self, light: Tensor) -> "RobotLayer":
        """Return the robot in another light [B, 3, 1, 1], factors."""
        return RobotLayer(colours=self.colours * light, cover=self.cover)

    def over(self, scene: Tensor) -> Tensor:
        """Return images [B, 3, H, W] of scenes [B, 3, H, W] behind the robot."""
        return scene + self.cover * (self.colours - scene)

    def hidden(self) -> Tensor:
        """Return how much of the scene is hidden at each pixel, [B, 1, H, W] in 0..1."""
        hides = ((self.cover - _HIDES_FROM) / (_HIDES_FULLY - _HIDES_FROM)).clamp(0.0, 1.0)
        return functional.max_pool2d(hides, _BEYOND, 1, _BEYOND // 2)

    def taken_from(self, images: Tensor) -> Tensor:
        """Return the scenes [B, 3, H, W] of images [B, 3, H, W]; right where nothing is hidden.

        A thin cover, as of a shadow, is taken away.
        """
        cover = self.cover.clamp_max(_HIDES_FULLY)
        return ((images - cover * self.colours) / (1.0 - cover)).clamp(0.0, 1.0)


class RobotRenderer(nn.Module):
    """Draws the robot in the images of one camera.

    Its colours are those of the usual picture and a change. From any other start, a robot that
    looks like its surroundings is never drawn: it covers less while its colours are still wrong.

    Args:
        arms: of each arm, its places in proprioception.
        points: learned points of an arm.
        channels: of an arm's coarse map.
        grid: cells of the image, height and width.
        width: of the convolutions.
        blocks: residual blocks.
    """

    usual: Tensor

    def __init__(
        self, arms: tuple[tuple[int, ...], ...], points: int, channels: int,
        grid: tuple[int, int], *, width: int, blocks: int,
    ) -> None:
        super().__init__()
        # The camera's usual picture; set before training.
        self.register_buffer(
            "usual", torch.full((3, CELL * grid[0], CELL * grid[1]), _UNSET)
        )
        self.drawing = RobotDrawing(arms, points, channels, grid)
        self.fine = nn.Conv2d(fine_channels(len(arms), points), width, 1)
        self.coarse = nn.Sequential(
            nn.Conv2d(len(arms) * channels, width * 4, 1), nn.PixelShuffle(2)
        )
        self.leave = nn.Sequential(
            residuals(width, blocks), nn.Conv2d(width, 4 * PATCH**2, 3, padding=1),
            nn.PixelShuffle(PATCH),
        )

    @property
    def untrained(self) -> bool:
        """Whether the usual picture has never been set."""
        return bool((self.usual == _UNSET).all())

    def points(self, posture: Tensor) -> Tensor:
        """Return the learned points [B, K, 2] of standardised proprioception [B, P]."""
        return self.drawing.points(posture)

    def forward(self, posture: Tensor) -> RobotLayer:
        """Return the robot drawn, from standardised proprioception [B, P]."""
        drawn = self.drawing(posture)
        raw = self.leave(self.fine(drawn.fine) + self.coarse(drawn.coarse))
        return RobotLayer(
            colours=self.usual + raw[:, :3] * 0.5,
            cover=_cover(raw[:, 3:] * 2.0 + _UNCOVERED),
        )


def _cover(logit: Tensor) -> Tensor:
    """Return the cover of pixels, 0..1.

    Steeper than a sigmoid: a faint cover in the colours of the scene costs hardly anything, is
    found everywhere, and would leave a smudge on any object.
    """
    share = torch.sigmoid(logit)
    found: Tensor = share**2 * (3.0 - 2.0 * share)
    return found
