"""Frames to latents and back. The robot is a layer of its own, drawn from its joint state.

The encoder sees the frame with the robot blanked, and the decoder draws the scene behind the robot,
so the latents need not hold it; training (`autoencoder_training`) makes sure that they do not. What
remains are the objects. A cell's latent has unit deviation over its channels, so that distances
between latents mean the same everywhere.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.world_models.latent.blocks import residuals
from hiwm_learning.world_models.latent.robot_layer import RobotLayer, RobotRenderer

PATCH = 4  # px a side that are folded into channels first
CELL = 2 * PATCH  # px a side of a latent cell


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Widths and depths."""

    channels: int  # of a cell's latent
    widths: tuple[int, int]  # at half the cell size, and at the cell size
    blocks: int  # residual blocks at each, of the fine parts that draw one more
    points: int  # of each arm in each image
    arm_channels: int  # of an arm's coarse map


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
        fine, coarse = config.widths
        pixels = PATCH**2
        self.robot = RobotRenderer(
            arms, config.points, config.arm_channels, grid, width=fine, blocks=config.blocks + 1,
            patch=PATCH,
        )
        self.entry = nn.Sequential(
            nn.PixelUnshuffle(PATCH), nn.Conv2d(4 * pixels, fine, 3, padding=1)
        )
        self.down = nn.Sequential(
            residuals(fine, config.blocks), nn.Conv2d(fine, coarse, 3, stride=2, padding=1),
            residuals(coarse, config.blocks), nn.Conv2d(coarse, config.channels, 1),
        )
        self.up = nn.Sequential(
            nn.Conv2d(config.channels, coarse, 3, padding=1), residuals(coarse, config.blocks),
            nn.Conv2d(coarse, fine * 4, 1), nn.PixelShuffle(2),
        )
        self.leave = nn.Sequential(
            residuals(fine, config.blocks + 1), nn.Conv2d(fine, 3 * pixels, 3, padding=1),
            nn.PixelShuffle(PATCH),
        )
        # The light of a scene falls on the robot as well.
        self.light = nn.Linear(config.channels, 3)
        nn.init.zeros_(self.light.weight)
        nn.init.zeros_(self.light.bias)

    def encode(self, images: Tensor, robot: RobotLayer) -> Tensor:
        """Return latents [B, Z, h, w] of images [B, 3, H, W] in 0..1."""
        raw: Tensor = self.down(self.entry(robot.without(images)))
        return unit_latents(raw)

    def decode(self, latents: Tensor, robot: RobotLayer) -> Tensor:
        """Return images [B, 3, H, W] of latents; about 0..1, not clamped."""
        return robot.lit(self.light_of(latents)).over(self.scene(latents))

    def scene(self, latents: Tensor) -> Tensor:
        """Return images [B, 3, H, W] without the robot."""
        found: Tensor = self.leave(self.up(latents)) * 0.5 + 0.5
        return found

    def light_of(self, latents: Tensor) -> Tensor:
        """Return factors [B, 3, 1, 1] on the robot's colours."""
        found: Tensor = 1.0 + self.light(latents.mean((2, 3)))
        return found[:, :, None, None]


def unit_latents(raw: Tensor) -> Tensor:
    """Return latents [B, Z, h, w] with unit deviation over each cell's channels."""
    scaled: Tensor = functional.normalize(raw, dim=1) * raw.shape[1] ** 0.5
    return scaled
