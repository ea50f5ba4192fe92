"""Frames to latents and back, in one pass each way.

Latents are L2-normalised over the channels of a camera, as in the Interactive World Simulator
(arXiv 2603.08546: 4 channels at a quarter of the resolution), then scaled so that a channel has
unit mean square: objectives may count on data of standard deviation 1, and a sampled latent is
brought back to where encoded ones lie by normalising it again.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Size of one camera's encoder and decoder."""

    channels: int = 4  # of the latent
    widths: tuple[int, ...] = (64, 128)  # at 1/2, 1/4 ... of the resolution; one a halving
    blocks: int = 2  # residual blocks at each resolution

    @property
    def downsampling(self) -> int:
        """Pixels a latent cell is wide."""
        return int(2 ** len(self.widths))


def unit_latents(raw: Tensor, channels: int) -> Tensor:
    """Return latents [..., C * Z, h, w] whose cells have the norm sqrt(Z) in each camera.

    Args:
        raw: [..., C * Z, h, w].
        channels: Z, of one camera.
    """
    cells = raw.unflatten(-3, (-1, channels))
    return functional.normalize(cells, dim=-3).mul(channels**0.5).flatten(-4, -3)


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        groups = max(1, width // 8)
        self.layers = nn.Sequential(
            nn.GroupNorm(groups, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(groups, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, width, h, w] of the same."""
        found: Tensor = x + self.layers(x)
        return found


class CameraAutoencoder(nn.Module):
    """The encoder and decoder of one camera."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.channels = config.channels
        widths = config.widths
        # 2 x 2 pixels become channels first: convolutions at full size would cost most of it all.
        down: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(12, widths[0], 3, padding=1)]
        up: list[nn.Module] = [nn.Conv2d(config.channels, widths[-1], 3, padding=1)]
        for i, width in enumerate(widths):
            down += [ResidualBlock(width) for _ in range(config.blocks)]
            if i + 1 < len(widths):
                down.append(nn.Conv2d(width, widths[i + 1], 3, stride=2, padding=1))
        for i in reversed(range(len(widths))):
            up += [ResidualBlock(widths[i]) for _ in range(config.blocks)]
            if i > 0:
                up += [
                    nn.Upsample(scale_factor=2), nn.Conv2d(widths[i], widths[i - 1], 3, padding=1)
                ]
        self.encoder = nn.Sequential(*down, nn.Conv2d(widths[-1], config.channels, 3, padding=1))
        self.decoder = nn.Sequential(*up, nn.Conv2d(widths[0], 12, 3, padding=1),
                                     nn.PixelShuffle(2))

    def encode(self, images: Tensor) -> Tensor:
        """Return latents [B, Z, h, w] of images [B, 3, H, W] in 0..1."""
        return unit_latents(self.encoder(images * 2.0 - 1.0), self.channels)

    def decode(self, latents: Tensor) -> Tensor:
        """Return images [B, 3, H, W], about 0..1, of latents [B, Z, h, w]."""
        images: Tensor = self.decoder(latents)
        return images * 0.5 + 0.5


class Autoencoder(nn.Module):
    """One encoder and decoder for each camera, their latents side by side in the channels.

    Args:
        config: size of each.
        cameras: how many.
        height: of every camera's frames, px.
        width: likewise.

    Raises:
        ConfigError: a frame is not a whole number of latent cells.
    """

    def __init__(self, config: AutoencoderConfig, cameras: int, height: int, width: int) -> None:
        super().__init__()
        cell = config.downsampling
        if height % cell or width % cell:
            raise ConfigError(
                f"frames of {width} x {height} px do not divide into cells of {cell} px",
                where="autoencoder", remedy=f"use a size that is a multiple of {cell}",
            )
        self.config = config
        self.latent_shape = (cameras * config.channels, height // cell, width // cell)
        self.cameras = nn.ModuleList(CameraAutoencoder(config) for _ in range(cameras))

    def encode(self, images: Tensor) -> Tensor:
        """Return latents [B, C * Z, h, w] of images [B, C, 3, H, W] in 0..1."""
        parts = [
            camera.encode(images[:, i])
            for i, camera in enumerate(self.cameras) if isinstance(camera, CameraAutoencoder)
        ]
        return torch.cat(parts, dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        """Return images [B, C, 3, H, W], about 0..1, of latents [B, C * Z, h, w]."""
        parts = latents.split(self.config.channels, dim=1)
        images = [
            camera.decode(part)
            for camera, part in zip(self.cameras, parts, strict=True)
            if isinstance(camera, CameraAutoencoder)
        ]
        return torch.stack(images, dim=1)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return images [B, C, 3, H, W] redrawn from their latents with noise added."""
        return self.decode(self.encode(images) + noise)
