"""How far scenes are from the true ones, where those are seen."""

import torch
from torch import Tensor
from torch.nn import functional

# Pixels this far from the usual picture weigh more: most of a scene is still.
UNUSUAL, UNUSUAL_WEIGHT = 0.06, 8.0
# A thin thing that is a little beside its place is all wrong in each pixel, but not in the mean of
# some: sides of these areas, and their distances, px.
AREAS = ((5, 2), (11, 3))
CONTRAST_AREA, CONTRAST_STRIDE = 16, 8  # of the contrast that must not fade, px
HIDES = 0.3  # share from which on a pixel counts as hidden
_SHARP = 1e-4  # of squares, below which the error is smooth
_PLAIN = 1e-4  # of squares, below which a picture hardly differs from the usual one


def seen_weight(truth: Tensor, now: Tensor, usual: Tensor, hidden: Tensor) -> Tensor:
    """Return weights [B, C, 1, H, W] of the pixels of scenes.

    Args:
        truth: [B, C, 3, H, W] the true scenes.
        now: [B, C, 3, H, W] those of the step before.
        usual: [B, C, 3, H, W] usual pictures in their light.
        hidden: [B, C, H, W] what is hidden in the true scenes, 0..1.
    """
    unusual = [(scene - usual).abs().amax(2, keepdim=True) > UNUSUAL for scene in (truth, now)]
    weight = 1.0 + UNUSUAL_WEIGHT * (unusual[0] | unusual[1]).float()
    seen: Tensor = weight * (1.0 - hidden[:, :, None])
    return seen


def scene_error(found: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the errors [B] of scenes [B, C, 3, H, W]: absolute ones, at several sharpnesses."""
    off = ((found - truth) * weight).flatten(0, 1)
    smooth = ((found - truth).square() + _SHARP).sqrt() - _SHARP**0.5
    total = (smooth * weight).flatten(0, 1).flatten(1).mean(1)
    for side, stride in AREAS:
        blurred = functional.avg_pool2d(off, side, stride, side // 2)
        total = total + blurred.abs().flatten(1).mean(1)
    errors: Tensor = total.unflatten(0, found.shape[:2]).mean(1)
    return errors


def contrast_error(found: Tensor, truth: Tensor, usual: Tensor, hidden: Tensor) -> Tensor:
    """Return how much less, or more, scenes differ from the usual pictures than true ones do, [B].

    Per pixel, a thin thing that is not quite in its place costs twice what no thing costs, so a
    model that is unsure of the place lets it fade. The root mean square difference in an area falls
    when a thing fades or smears, but hardly changes when it is a little beside its place.

    Args:
        found: [B, C, 3, H, W] scenes.
        truth: [B, C, 3, H, W] the true ones.
        usual: [B, C, 3, H, W] usual pictures in their light.
        hidden: [B, C, H, W] what is hidden in the true scenes, 0..1.
    """
    seen = 1.0 - hidden[:, :, None]
    contrasts = []
    for scene in (found, truth):
        square = ((scene - usual) * seen).square().mean(2)
        area = functional.avg_pool2d(square, CONTRAST_AREA, CONTRAST_STRIDE, CONTRAST_STRIDE)
        contrasts.append(torch.sqrt(area + _PLAIN))
    off: Tensor = (contrasts[0] - contrasts[1]).abs().flatten(1).mean(1)
    return off


def distance(found: Tensor, truth: Tensor, hidden: Tensor) -> Tensor:
    """Return root mean square distances [B] of scenes, where they are seen, on areas of 4 px."""
    off = ((found - truth) * (1.0 - hidden[:, :, None])).flatten(0, 1)
    square: Tensor = functional.avg_pool2d(off, 4).square().unflatten(0, found.shape[:2])
    return torch.sqrt(square.flatten(1).mean(1) + 1e-10)


def left_alone(
    now: Tensor, truth: Tensor, hidden: Tensor, empty: Tensor, still: Tensor
) -> tuple[Tensor, Tensor]:
    """Return true pictures and what is hidden in them; where hands are empty, all is as it was.

    A camera that moves sees other things all the same: nothing is known of its picture then.

    Args:
        now: [B, C, 3, H, W] scenes of the step before.
        truth: [B, C, 3, H, W] the true ones.
        hidden: [B, C, H, W] in those, 0..1.
        empty: [B] whether hands are told that they hold nothing, though they took something.
        still: [C] whether a camera stands still.
    """
    kept = empty[:, None] & still
    hidden = hidden.masked_fill(kept[..., None, None], 0.0)
    return (
        torch.where(kept[..., None, None, None], now, truth),
        hidden.masked_fill((empty[:, None] & ~still)[..., None, None], 1.0),
    )


def stays_hidden(
    now: Tensor, truth: Tensor, hidden: Tensor, still: Tensor
) -> tuple[Tensor, Tensor]:
    """Return true pictures and what is hidden in them; what is hidden and not held is as it was.

    Nothing else says what happens under a hand. Free to move there, things went along with it, and
    then looked as if they were held.

    Args:
        now: [B, C, 3, H, W] scenes of the step before.
        truth: [B, C, 3, H, W] the true ones.
        hidden: [B, C, H, W] in those, 0..1.
        still: [B] whether no hand holds anything.
    """
    stays = (hidden > HIDES) & still[:, None, None, None]
    return torch.where(stays[:, :, None], now, truth), hidden.masked_fill(stays, 0.0)
