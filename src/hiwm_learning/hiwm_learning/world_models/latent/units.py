"""The unit of latents outside the coders: how far a cell is from usual, in usual changes.

Coders are free to tell things apart by small differences, and they do: a rope changes its cells by
a fifth of the deviation that a cell has over its channels. Measured in that deviation, an object
would be lost beside the other losses, and behind the robot when cells are put in play.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.world_models.latent.autoencoder import unit_latents

_LEAST = 1e-3  # of a usual change; a scene in which nothing moves has none


class LatentUnits(nn.Module):
    """Converts the coders' latents, which have unit deviation over the channels of a cell.

    Args:
        cameras: C.
        channels: Z, of a cell.
        grid: cells of a camera, height and width.
    """

    usual: Tensor
    change: Tensor

    def __init__(self, cameras: int, channels: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("usual", torch.zeros(cameras, channels, *grid))
        self.register_buffer("change", torch.ones(()))

    @property
    def unset(self) -> bool:
        """Whether nothing is converted yet."""
        return not bool(self.usual.any())

    def fit(self, now: Tensor, later: Tensor) -> None:
        """Set the units by raw latents [N, C, Z, h, w] of frames, and of the same runs later.

        A usual change is the root mean square one of a cell, weighted by its own square: most cells
        are still, and would make it small.
        """
        middle = now.median(dim=0).values
        self.usual.copy_(functional.normalize(middle, dim=1) * middle.shape[1] ** 0.5)
        square = ((later - now) ** 2).mean(2).double()
        mean = (square**2).sum() / square.sum().clamp_min(1e-12)
        self.change.fill_(float(mean.sqrt().clamp_min(_LEAST)))

    def of(self, raw: Tensor) -> Tensor:
        """Return latents of raw ones, [..., C, Z, h, w]."""
        return (raw - self.usual) / self.change

    def raw(self, latents: Tensor) -> Tensor:
        """Return raw latents, [..., C, Z, h, w]."""
        return latents * self.change + self.usual

    def settled(self, latents: Tensor) -> Tensor:
        """Return the nearest latents that a coder could give, [B, C, Z, h, w]."""
        whole = unit_latents(self.raw(latents).flatten(0, 1)).unflatten(0, latents.shape[:2])
        return self.of(whole)
