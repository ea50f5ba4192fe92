"""Cameras of different sizes in one model: every view is scaled to the model's size and back.

The pictures of all cameras are one tensor, so they need one size. A view of the model's own size
passes unchanged.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Size = tuple[int, int]  # height, width, px


def scaled(frames: Tensor, size: Size) -> Tensor:
    """Return frames [N, H, W, 3] uint8 in another size, averaged where they become smaller."""
    if tuple(frames.shape[1:3]) == size:
        return frames
    planes = functional.interpolate(
        frames.movedim(-1, 1).float(), size=size, mode="bilinear", antialias=True,
        align_corners=False,
    )
    return (planes + 0.5).clamp(0.0, 255.0).to(torch.uint8).movedim(1, -1).contiguous()


def side_by_side(views: Sequence[Tensor], size: Size) -> Tensor:
    """Return [N, C, H, W, 3] of the views [N, H, W, 3] of C cameras, each of its own size."""
    return torch.stack([scaled(view, size) for view in views], dim=1)


def apart(frames: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
    """Return the views [N, H, W, 3] of C cameras in their own sizes, of [N, C, H, W, 3]."""
    return [
        scaled(view, size) for view, size in zip(frames.unbind(1), sizes, strict=True)
    ]


def model_size(sizes: Sequence[Size], cell: int) -> Size:
    """Return the size in which a model sees its cameras: the largest, in whole cells of px."""
    height, width = (max(side) for side in zip(*sizes, strict=True))
    return -(-height // cell) * cell, -(-width // cell) * cell
