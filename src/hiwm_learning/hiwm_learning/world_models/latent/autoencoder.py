"""Frames to latents and back, where both directions know the robot's state.

Since the decoder draws the robot from its joint state, the latents need not hold it; a slowness
penalty in training (`autoencoder_training`) makes sure that they do not. What remains are the
objects. A cell's latent has unit deviation over its channels, so that distances between latents
mean the same everywhere.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.world_models.latent.robot_drawing import Drawn, RobotDrawing, fine_channels

PATCH = 4  # px a side that are folded into channels first
CELL = 2 * PATCH  # px a side of a latent cell


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Widths and depths."""

    channels: int  # of a cell's latent
    widths: tuple[int, int]  # at half the cell size, and at the cell size
    blocks: int  # residual blocks at each, of the decoder's fine part one more
    points: int  # of each arm in each image
    arm_channels: int  # of an arm's coarse map


class Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        groups = max(1, width // 8)
        self.first = nn.GroupNorm(groups, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.third = nn.GroupNorm(groups, width)
        self.fourth = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, W, H, W] of the same."""
        inner = self.second(functional.silu(self.first(x)))
        found: Tensor = x + self.fourth(functional.silu(self.third(inner)))
        return found


def _residuals(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(width) for _ in range(count)))


class CameraCoder(nn.Module):
    """Encoder, decoder and robot drawing of one camera.

    Args:
        config: widths and depths.
        arms: of each arm, its places in the robot's state.
        grid: cells, height and width.
    """

    def __init__(
        self, config: AutoencoderConfig, arms: tuple[tuple[int, ...], ...], grid: tuple[int, int]
    ) -> None:
        super().__init__()
        self._config = config
        fine, coarse = config.widths
        pixels = 3 * PATCH**2
        drawn = fine_channels(len(arms), config.points)
        self.robot = RobotDrawing(arms, config.points, config.arm_channels, grid)
        self.seen = nn.Conv2d(drawn, fine, 1)
        self.shown = nn.Conv2d(drawn, fine, 1)
        self.entry = nn.Sequential(nn.PixelUnshuffle(PATCH), nn.Conv2d(pixels, fine, 3, padding=1))
        self.down = nn.Sequential(
            _residuals(fine, config.blocks), nn.Conv2d(fine, coarse, 3, stride=2, padding=1),
            _residuals(coarse, config.blocks), nn.Conv2d(coarse, config.channels, 1),
        )
        self.up = nn.Sequential(
            nn.Conv2d(config.channels + len(arms) * config.arm_channels, coarse, 3, padding=1),
            _residuals(coarse, config.blocks), nn.Conv2d(coarse, fine * 4, 1), nn.PixelShuffle(2),
        )
        self.leave = nn.Sequential(
            _residuals(fine, config.blocks + 1), nn.Conv2d(fine, pixels, 3, padding=1),
            nn.PixelShuffle(PATCH),
        )

    def encode(self, images: Tensor, robot: Drawn) -> Tensor:
        """Return latents [B, Z, h, w] of images [B, 3, H, W] in 0..1."""
        raw: Tensor = self.down(self.entry(images * 2.0 - 1.0) + self.seen(robot.fine))
        return unit_latents(raw)

    def decode(self, latents: Tensor, robot: Drawn) -> Tensor:
        """Return images [B, 3, H, W] of latents; about 0..1, not clamped."""
        coarse = self.up(torch.cat([latents, robot.coarse], dim=1))
        image: Tensor = self.leave(coarse + self.shown(robot.fine)) * 0.5 + 0.5
        return image


def unit_latents(raw: Tensor) -> Tensor:
    """Return latents [B, Z, h, w] with unit deviation over each cell's channels."""
    scaled: Tensor = functional.normalize(raw, dim=1) * raw.shape[1] ** 0.5
    return scaled
