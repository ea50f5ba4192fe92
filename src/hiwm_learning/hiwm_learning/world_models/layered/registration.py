"""The encoder: where each object's canvas lies in a frame.

Analysis by synthesis. Coarse: what differs from the background, arms left out, is matched against
the canvas turned to many angles about its centroid. Fine: the pose is moved until the drawn frame
agrees with the seen one. Anchoring every frame to one canvas is what keeps a rigid thing rigid.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from hiwm_learning.world_models.layered.layers import LayeredDecoder

ANGLES = 72
REFINE_STEPS = 10
# Largest single correction, rad and m: half the spacing of the angles tried, three pixels.
_LARGEST, _LARGEST_M = 0.1, 0.012
_CHUNK = 64  # frames refined at once: what stays in cache
PATCH = 48  # px of the patch matched around the centroid


def difference_mask(
    decoder: LayeredDecoder, frames: Tensor, poses: Tensor, object_index: int
) -> Tensor:
    """Return how far each pixel is from the background, the arms left out, [B, H, W] in 0..1.

    Args:
        decoder: background and arm canvases.
        frames: [B, 3, H, W] in 0..1.
        poses: [B, L, 4]; the arms' are used.
        object_index: layer looked for; layers above it are masked out.
    """
    background = torch.sigmoid(decoder.background)
    mask = ((frames - background).abs().sum(1) * 2.0).clamp(0, 1)
    for index in range(object_index + 1, len(decoder.layers)):
        _, alpha = decoder.place(index, poses[:, index])
        mask = mask * (1 - (alpha[:, 0] * 1.5).clamp(0, 1))
    return torch.where(mask > 0.25, mask, torch.zeros_like(mask))


def centroid(decoder: LayeredDecoder, mask: Tensor) -> Tensor:
    """Return the centre of a mask [B, H, W] on the table, [B, 2], m."""
    weight = mask / mask.sum((1, 2), keepdim=True).clamp_min(1e-6)
    return (weight[..., None] * decoder.grid).sum((1, 2))


@torch.no_grad()
def coarse_poses(
    decoder: LayeredDecoder, frames: Tensor, poses: Tensor, object_index: int, keep: int
) -> Tensor:
    """Return the `keep` best starting poses of an object in each frame, [B, keep, 4]."""
    mask = difference_mask(decoder, frames, poses, object_index)
    middle = centroid(decoder, mask)
    angles = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    turned = torch.stack(
        [torch.zeros(ANGLES), torch.zeros(ANGLES), angles.cos(), angles.sin()], dim=1
    )
    # The canvas's own centroid is where the mask's must come to lie.
    _, alpha = decoder.place(object_index, turned)
    own = centroid(decoder, alpha[:, 0])
    score = torch.empty(len(frames), ANGLES)
    patches = _patches(decoder, mask, middle).flatten(1)
    templates = _patches(decoder, alpha[:, 0], own).flatten(1)
    patches = patches / patches.norm(dim=1, keepdim=True).clamp_min(1e-6)
    templates = templates / templates.norm(dim=1, keepdim=True).clamp_min(1e-6)
    score = patches @ templates.T
    best = score.topk(ANGLES).indices
    chosen = [best[:, 0]]
    for _ in range(keep - 1):
        # The next best that is at least 30 degrees away from those taken.
        free = torch.ones_like(score, dtype=torch.bool)
        for index in chosen:
            gap = (torch.arange(ANGLES)[None] - index[:, None]) % ANGLES
            free &= torch.minimum(gap, ANGLES - gap) * (360 / ANGLES) >= 30
        chosen.append(score.masked_fill(~free, -1.0).argmax(dim=1))
    pick = torch.stack(chosen, dim=1)
    place = middle[:, None] - own[pick]
    return torch.cat([place, turned[pick][..., 2:]], dim=-1)


def _patches(decoder: LayeredDecoder, images: Tensor, centres: Tensor) -> Tensor:
    """Return PATCH x PATCH cut-outs of images [B, H, W] around table points [B, 2]."""
    height, width = images.shape[1:]
    span_x = float(decoder.grid[0, -1, 0] - decoder.grid[0, 0, 0]) * width / (width - 1)
    span_y = float(decoder.grid[0, 0, 1] - decoder.grid[-1, 0, 1]) * height / (height - 1)
    axis = (torch.arange(PATCH) + 0.5 - PATCH / 2) * 2
    x = axis[None, None] / width + centres[:, 0, None, None] * 2 / span_x
    y = axis[None, :, None] / height - centres[:, 1, None, None] * 2 / span_y
    where = torch.stack([x.expand(-1, PATCH, -1), y.expand(-1, -1, PATCH)], dim=-1)
    return functional.grid_sample(
        images[:, None], where, padding_mode="zeros", align_corners=False
    )[:, 0]


@torch.no_grad()
def refine_poses(
    decoder: LayeredDecoder, frames: Tensor, poses: Tensor, object_index: int,
    steps: int = REFINE_STEPS,
) -> tuple[Tensor, Tensor]:
    """Return poses that redraw the frames best, and the squared error left.

    Damped Gauss-Newton (Levenberg, Marquardt) on x, y and yaw, over the pixels the canvas reaches.

    Args:
        decoder: draws the frames; not changed.
        frames: [B, 3, H, W] in 0..1.
        poses: [B, L, 4] to start from; only the object's is moved.
        object_index: layer to move.
        steps: of Gauss-Newton.

    Returns:
        poses [B, L, 4] and mean squared error over the canvas's reach [B].
    """
    chunks = [
        _refine(decoder, frames[i : i + _CHUNK], poses[i : i + _CHUNK], object_index, steps)
        for i in range(0, len(frames), _CHUNK)
    ]
    return torch.cat([p for p, _ in chunks]), torch.cat([e for _, e in chunks])


def _refine(
    decoder: LayeredDecoder, frames: Tensor, poses: Tensor, object_index: int, steps: int
) -> tuple[Tensor, Tensor]:
    spec = decoder.layers[object_index]
    canvas = decoder.canvas(object_index)
    # Canvas and its slope along local x and y (per m): 12 channels looked up at once.
    texel = spec.extent_m / spec.canvas_px
    padded = functional.pad(canvas[None], (1, 1, 1, 1), mode="replicate")[0]
    along_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / (2 * texel)
    along_y = (padded[:, :-2, 1:-1] - padded[:, 2:, 1:-1]) / (2 * texel)
    stack = torch.cat([canvas, along_x, along_y])
    # What lies under and over the object does not move: draw it once.
    below = torch.sigmoid(decoder.background).expand(len(frames), -1, -1, -1)
    for index in range(object_index):
        colour, alpha = decoder.place(index, poses[:, index])
        below = below * (1 - alpha) + colour * alpha
    through = torch.ones_like(frames[:, :1])
    over = torch.zeros_like(frames)
    for index in range(object_index + 1, len(decoder.layers)):
        colour, alpha = decoder.place(index, poses[:, index])
        over = over * (1 - alpha) + colour * alpha
        through = through * (1 - alpha)
    wanted = frames - over

    rows, columns = _window(decoder, poses[:, object_index], spec.extent_m)
    batch = torch.arange(len(frames))[:, None, None]
    r, c = rows[:, :, None], columns[:, None, :]
    grid = decoder.grid[r, c]  # [B, h, w, 2]
    below_w = below[batch, :, r, c].permute(0, 3, 1, 2)
    wanted_w = wanted[batch, :, r, c].permute(0, 3, 1, 2)
    through_w = through[batch, 0, r, c][:, None]

    def measure(pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        offset = grid - pose[:, None, None, :2]
        cos, sin = pose[:, 2, None, None], pose[:, 3, None, None]
        x = cos * offset[..., 0] + sin * offset[..., 1]
        y = -sin * offset[..., 0] + cos * offset[..., 1]
        where = torch.stack([x, -y], dim=-1) * (2.0 / spec.extent_m)
        found = functional.grid_sample(
            stack.expand(len(pose), -1, -1, -1), where, padding_mode="zeros", align_corners=False
        )
        colour, alpha = found[:, :3], found[:, 3:4]
        residual = (below_w * (1 - alpha) + colour * alpha) * through_w - wanted_w

        def slope(k: int) -> Tensor:
            d = found[:, k : k + 4]
            return (d[:, :3] * alpha + (colour - below_w) * d[:, 3:4]) * through_w

        dx, dy = slope(4), slope(8)
        # Local coordinates move against the object: translation in its own frame, then yaw.
        jacobian = torch.stack([-dx, -dy, dx * y[:, None] - dy * x[:, None]], dim=-1)
        error = (residual**2).mean((1, 2, 3))
        flat = jacobian.reshape(len(pose), -1, 3)
        normal = flat.transpose(1, 2) @ flat
        slope_sum = (flat.transpose(1, 2) @ residual.reshape(len(pose), -1, 1))[..., 0]
        return error, normal, slope_sum

    pose = poses[:, object_index]
    damping = torch.full((len(frames),), 1e-3)
    error, normal, gradient = measure(pose)
    for _ in range(steps):
        damped = normal + torch.diag_embed(
            damping[:, None] * normal.diagonal(dim1=1, dim2=2) + 1e-9
        )
        step = -torch.linalg.solve(damped, gradient)
        step = step.clamp(-_LARGEST, _LARGEST)
        step[:, :2] = step[:, :2].clamp(-_LARGEST_M, _LARGEST_M)
        trial = _moved(pose, step)
        new_error, new_normal, new_gradient = measure(trial)
        better = new_error < error
        damping = torch.where(better, damping * 0.3, damping * 8.0).clamp(1e-6, 1e6)
        pose = torch.where(better[:, None], trial, pose)
        error = torch.where(better, new_error, error)
        normal = torch.where(better[:, None, None], new_normal, normal)
        gradient = torch.where(better[:, None], new_gradient, gradient)
    found = poses.clone()
    found[:, object_index] = pose
    return found, error


def _moved(pose: Tensor, step: Tensor) -> Tensor:
    """Return poses [B, 4] moved by steps [B, 3] = x, y (m, own frame) and yaw (rad)."""
    c, s = pose[:, 2], pose[:, 3]
    turn_c, turn_s = step[:, 2].cos(), step[:, 2].sin()
    return torch.stack(
        [
            pose[:, 0] + c * step[:, 0] - s * step[:, 1],
            pose[:, 1] + s * step[:, 0] + c * step[:, 1],
            c * turn_c - s * turn_s,
            s * turn_c + c * turn_s,
        ],
        dim=1,
    )


def _window(decoder: LayeredDecoder, pose: Tensor, extent_m: float) -> tuple[Tensor, Tensor]:
    """Return rows [B, n] and columns [B, n] of a square around poses that holds the canvas."""
    height, width = decoder.grid.shape[:2]
    pitch_x = float(decoder.grid[0, 1, 0] - decoder.grid[0, 0, 0])
    pitch_y = float(decoder.grid[0, 0, 1] - decoder.grid[1, 0, 1])
    size = min(height, width, int(1.2 * extent_m / min(pitch_x, pitch_y)))
    column = ((pose[:, 0] - decoder.grid[0, 0, 0]) / pitch_x).round().long()
    row = ((decoder.grid[0, 0, 1] - pose[:, 1]) / pitch_y).round().long()
    first_row = (row - size // 2).clamp(0, height - size)
    first_column = (column - size // 2).clamp(0, width - size)
    axis = torch.arange(size)
    return first_row[:, None] + axis, first_column[:, None] + axis


def register(
    decoder: LayeredDecoder, frames: Tensor, poses: Tensor, object_index: int, keep: int = 2,
    steps: int = REFINE_STEPS,
) -> tuple[Tensor, Tensor]:
    """Return each frame's poses with the object's found from scratch, and the error left.

    Args:
        decoder: canvases and background.
        frames: [B, 3, H, W] in 0..1.
        poses: [B, L, 4] with the arms' already set.
        object_index: layer to find.
        keep: how many starting angles are refined.
        steps: of refinement each.
    """
    starts = coarse_poses(decoder, frames, poses, object_index, keep)
    found: list[tuple[Tensor, Tensor]] = []
    for k in range(keep):
        trial = poses.clone()
        trial[:, object_index] = starts[:, k]
        found.append(refine_poses(decoder, frames, trial, object_index, steps))
    error = torch.stack([e for _, e in found])
    pick = error.argmin(0)
    every = torch.stack([p for p, _ in found])
    rows = torch.arange(len(frames))
    return every[pick, rows], error[pick, rows]
