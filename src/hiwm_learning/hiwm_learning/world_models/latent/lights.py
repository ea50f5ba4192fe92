"""The light in a picture: how much brighter it is than another one of the same scene."""

import torch
from torch import Tensor

_DARK = 0.05  # added to brightness before it is compared
# Light is about white. A pixel whose colours are brighter by different factors, farther apart than
# this share, shows another thing: a cloth that fills most of a picture is not a change of light.
_TINT = 0.25
_ENOUGH = 0.05  # of the pixels; if fewer show the same thing, all count


def light_on(images: Tensor, picture: Tensor) -> Tensor:
    """Return how much brighter images [..., 3, H, W] are than a picture, [..., 3, 1, 1]."""
    ratio = ((images + _DARK) / (picture + _DARK)).flatten(-2)
    lowest, highest = ratio.amin(-2, keepdim=True), ratio.amax(-2, keepdim=True)
    same = (highest - lowest) < _TINT * highest
    few = same.float().mean(-1, keepdim=True) < _ENOUGH
    known = ratio.masked_fill(~(same | few), torch.nan)
    return known.nanmedian(-1).values[..., None, None]
