"""Smoothly deformed frames: what an imperfect imagination of them may look like."""

import torch
from torch import Tensor
from torch.nn import functional

KNOTS = 8  # of the displacement, each way


def warped(images: Tensor, largest_px: float, generator: torch.Generator) -> Tensor:
    """Return images [B, 3, H, W] with a smooth random displacement of up to `largest_px` each."""
    batch, _, height, width = images.shape
    amplitude = torch.rand(batch, 1, 1, 1, generator=generator) * largest_px
    knots = torch.randn(batch, 2, KNOTS, KNOTS, generator=generator) * amplitude
    moved = functional.interpolate(
        knots, size=(height, width), mode="bicubic", align_corners=False
    ).to(images.device)
    straight = torch.eye(2, 3, device=images.device).expand(batch, 2, 3)
    grid = functional.affine_grid(straight, list(images.shape), align_corners=False)
    places = grid + moved.movedim(1, -1) * grid.new_tensor([2.0 / width, 2.0 / height])
    return functional.grid_sample(
        images, places, mode="bilinear", padding_mode="border", align_corners=False
    )
