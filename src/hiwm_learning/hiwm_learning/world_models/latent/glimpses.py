"""The picture around each hand, always with the hand in the middle."""

import torch
from torch import Tensor
from torch.nn import functional

STEP = 2  # px between samples, usually


def around(pictures: Tensor, hands: Tensor, side: int, step: int = STEP) -> Tensor:
    """Return what lies around each hand in each camera, [B, C * hands, 3 * side * side].

    Args:
        pictures: [B, C, 3, H, W].
        hands: [B, C, hands, 2] their places, -1..1, x before y.
        side: samples along a side.
        step: between samples, px.
    """
    height, width = pictures.shape[-2:]
    # Means of squares as wide as the samples are apart: a thin thing is not missed between them.
    # With 2 px, each lies half a pixel to the right of, and below, the pixel that stores it.
    wider = functional.pad(pictures.flatten(0, 1), (0, step - 1, 0, step - 1), mode="replicate")
    smooth = functional.avg_pool2d(wider, step, 1)
    middle = torch.arange(side, device=hands.device) - 0.5 * side + 0.5
    along = middle * step - 0.5 * (step - 1)
    offsets = torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1)
    places = hands.flatten(0, 2)[:, None, None] + offsets * offsets.new_tensor(
        [2.0 / width, 2.0 / height]
    )
    seen = functional.grid_sample(
        smooth.repeat_interleave(hands.shape[2], 0), places, align_corners=False
    )
    found: Tensor = seen.flatten(1).unflatten(0, (len(pictures), -1))
    return found
