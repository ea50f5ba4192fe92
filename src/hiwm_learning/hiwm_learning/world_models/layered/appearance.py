"""Fitting background and canvases to recorded frames, from nothing but the frames and the arms.

The background is what is there most of the time. Arms are where proprioception says. What is left
over in one clean frame is the object's first canvas; every other frame is registered to it, and the
canvases are then fitted to all of them at once, which averages the camera's pixels away.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from hiwm_core.errors import CheckpointError
from hiwm_learning.world_models.layered.layers import LayeredDecoder, frames_to_float, to_logit
from hiwm_learning.world_models.layered.registration import centroid, difference_mask, register

SAMPLE = 600  # frames looked at
ROUNDS = 2  # of registering and fitting
FIT_STEPS, FIT_BATCH, FIT_RATE = 150, 24, 0.03
# Frames redrawn worse than this share of all are left out of a fit: hidden or mistaken objects.
KEPT_SHARE = 0.94


def arm_poses(decoder: LayeredDecoder, proprioception: Tensor) -> Tensor:
    """Return poses [B, L, 4] with the arms placed by proprioception [B, P] (m)."""
    poses = torch.zeros(len(proprioception), len(decoder.layers), 4)
    poses[..., 2] = 1.0
    for index, spec in enumerate(decoder.layers):
        if spec.proprioception is not None:
            poses[:, index, :2] = proprioception[:, list(spec.proprioception)]
    return poses


def fit_appearance(
    decoder: LayeredDecoder, frames: Tensor, proprioception: Tensor, seed: int,
    report: Callable[[str], None],
) -> float:
    """Fit a decoder's background and canvases in place.

    Args:
        decoder: fresh; its first layer is the object.
        frames: [N, H, W, 3] uint8, drawn from all over the recordings.
        proprioception: [N, P], m.
        seed: of the draw and the batches.
        report: takes progress lines.

    Returns:
        PSNR of the redrawn sample, dB.

    Raises:
        CheckpointError: no frame shows the object away from the arms.
    """
    generator = torch.Generator().manual_seed(seed)
    pick = torch.randperm(len(frames), generator=generator)[:SAMPLE]
    sample, values = frames[pick], proprioception[pick]
    decoder.background.data = to_logit(
        sample.median(0).values.permute(2, 0, 1).float() / 255.0
    )
    _open_arms(decoder)
    seen = frames_to_float(sample)
    poses = arm_poses(decoder, values)
    _take_reference(decoder, seen, poses)
    psnr = 0.0
    for round_number in range(ROUNDS):
        poses, error = register(decoder, seen, poses, 0, keep=3)
        kept = torch.nonzero(error <= error.quantile(KEPT_SHARE))[:, 0]
        optimiser = torch.optim.Adam(decoder.parameters(), lr=FIT_RATE)
        total = 0.0
        for step in range(FIT_STEPS):
            rows = kept[torch.randint(len(kept), (FIT_BATCH,), generator=generator)]
            loss = ((decoder(poses[rows]) - seen[rows]) ** 2).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if step >= FIT_STEPS - 20:
                total += float(loss.detach()) / 20
        psnr = -10 * float(torch.log10(torch.tensor(total)))
        report(f"appearance round {round_number + 1}/{ROUNDS}: redrawn at {psnr:.1f} dB")
    return psnr


def _open_arms(decoder: LayeredDecoder) -> None:
    """Begin each arm's canvas as an opaque disc, so that it hides from the object's mask."""
    for index, spec in enumerate(decoder.layers):
        if spec.kind != "arm":
            continue
        axis = (torch.arange(spec.canvas_px) + 0.5) / spec.canvas_px * 2 - 1
        radius = (axis[:, None] ** 2 + axis[None] ** 2).sqrt()
        decoder.canvases[index].data[3] = torch.where(radius < 0.75, 4.0, -4.0)


@torch.no_grad()
def _take_reference(decoder: LayeredDecoder, seen: Tensor, poses: Tensor) -> None:
    """Cut the object's first canvas out of a frame that shows it whole and alone."""
    spec = decoder.layers[0]
    mask = difference_mask(decoder, seen, poses, 0)
    middle = centroid(decoder, mask)
    area = (mask > 0.5).sum((1, 2)).float()
    away = (poses[:, 1:, :2] - middle[:, None]).norm(dim=-1).amin(1) > 0.5 * spec.extent_m
    inner = middle.abs().amax(1) < 0.25 * float(decoder.grid.abs().max()) * 2
    usual = (area - area.median()).abs() < 0.06 * area.median()
    clean = torch.nonzero(away & inner & usual)[:, 0]
    if len(clean) == 0:
        raise CheckpointError(
            "no frame shows the object away from the arms", where="appearance",
            remedy="record some episodes in which the arms stay clear of it for a while",
        )
    row = clean[(area[clean] - area.median()).abs().argmin()]
    axis = ((torch.arange(spec.canvas_px) + 0.5) / spec.canvas_px - 0.5) * spec.extent_m
    x = axis[None] + middle[row, 0]
    y = -axis[:, None] + middle[row, 1]
    half = decoder.grid[0, -1, 0] + (decoder.grid[0, 1, 0] - decoder.grid[0, 0, 0]) / 2
    tall = decoder.grid[0, 0, 1] + (decoder.grid[0, 0, 1] - decoder.grid[1, 0, 1]) / 2
    where = torch.stack(
        [(x / half).expand(spec.canvas_px, -1), (-y / tall).expand(-1, spec.canvas_px)], dim=-1
    )[None]
    colour = functional.grid_sample(seen[row][None], where, align_corners=False)[0]
    alpha = functional.grid_sample(mask[row][None, None], where, align_corners=False)[0]
    decoder.canvases[0].data = to_logit(torch.cat([colour, alpha.clamp(0.02, 0.98)]))
