"""How the next scene is drawn: parts of the present one are moved, and little is painted.

Cells say how they move: shares of the motion of the robot's points, and a free motion. Between the
centres of cells, motion is interpolated; were it free at each place, the edges of a thing would get
teeth as far apart as cells. What is painted comes from convolutions over what has moved and what
cells tell of each place. They overlap cells, so no borders of cells are seen; whether a cell is
painted at all, it says itself.

Cells of a stiff thing move as one piece (`rigid_motions`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.world_models.latent.rigid_motions import RigidMotions
from hiwm_learning.world_models.latent.robot_drawing import cell_centres
from hiwm_learning.world_models.latent.robot_layer import CELL, STRONG

_BRUSH = 2  # px a side of the places that convolutions see
_PAINTED = -7.0  # logit of the share of a pixel that is painted, before training
# Smaller motions and shares of paint are set to 0, or a scene that is left alone would creep.
_LEAST_MOTION_PX, _LEAST_SHARE = 0.05, 0.01
_COVERED = 1e-3  # share of cells in play around a place, below which it does not move


class SceneDrawing(nn.Module):
    """Draws the next scene from the tokens of the cells in play.

    Args:
        width: of a token.
        points: K, of the robot in one camera.
        grid: cells of a camera, height and width.
        told: what a cell tells of each place that is painted.
    """

    def __init__(self, width: int, points: int, grid: tuple[int, int], told: int) -> None:
        super().__init__()
        self._grid, self._cells = grid, grid[0] * grid[1]
        self.shares = nn.Linear(width, points)
        self.free = nn.Linear(width, 2)
        self.gate = nn.Linear(width, 1)
        self.told = nn.Linear(width, told * (CELL // _BRUSH) ** 2)
        self.brush = nn.Sequential(nn.Conv2d(3 * _BRUSH**2 + told, told, 3, padding=1), nn.SiLU())
        self.painted = nn.Conv2d(told, 4 * _BRUSH**2, 3, padding=1)
        for layer in (self.shares, self.free, self.gate, self.painted):
            for weight in layer.parameters():
                nn.init.zeros_(weight)

    def forward(
        self, scene: Tensor, usual: Tensor, steps: Tensor, chosen: Tensor, tokens: Tensor,
        rigid: RigidMotions | None = None,
    ) -> Tensor:
        """Return the next scene [B, C, 3, H, W].

        Args:
            scene: [B, C, 3, H, W] the present one.
            usual: [B, C, 3, H, W] the usual pictures in their light.
            steps: [B, N, K, 2] how far the robot's points move, px.
            chosen: [B, N] cells in play, counted over all cameras.
            tokens: [B, N, W] of these cells.
            rigid: moves cells that belong together as one piece.
        """
        motion = self._motion(steps, tokens)
        if rigid is not None:
            motion = rigid(motion, tokens, chosen)
        images, normal = scene.flatten(0, 1), usual.flatten(0, 1)
        in_play, gate, told, motion = self._laid(torch.cat([
            tokens.new_ones(*chosen.shape, 1), self.gate(tokens), self.told(tokens),
            motion,
        ], dim=2), chosen, scene).split([1, 1, self.told.out_features, 2], dim=1)
        moved = _moved(images, motion, in_play)
        seen = functional.pixel_unshuffle(moved - normal, _BRUSH) * STRONG
        told = functional.pixel_shuffle(told, CELL // _BRUSH)
        painted = self.painted(self.brush(torch.cat([seen, told], dim=1)))
        painted = functional.pixel_shuffle(painted, _BRUSH)
        share = painted[:, :1] + _finer(gate, CELL)
        share = _none_below(torch.sigmoid(share * STRONG + _PAINTED), _LEAST_SHARE)
        drawn = moved + share * (normal + 0.5 * painted[:, 1:] - moved)
        in_play = functional.interpolate(in_play, scale_factor=CELL)
        found: Tensor = torch.where(in_play > 0.0, drawn, images).unflatten(0, scene.shape[:2])
        return found

    def _motion(self, steps: Tensor, tokens: Tensor) -> Tensor:
        """Return how cells move, px, [B, N, 2], x before y."""
        # In half of the bits, what is held would move in steps of a good part of a pixel.
        with torch.autocast(steps.device.type, enabled=False):
            shares = self.shares(tokens).float()
            along = (shares[:, :, None] @ steps.float())[:, :, 0]
        found: Tensor = along + 0.5 * self.free(tokens)
        return found

    def _laid(self, values: Tensor, chosen: Tensor, scene: Tensor) -> Tensor:
        """Return values [B, N, V] of the chosen cells in their places, [B * C, V, h, w]."""
        batch, cameras = scene.shape[:2]
        empty = values.new_zeros(batch, cameras * self._cells, values.shape[-1])
        index = chosen[..., None].expand(-1, -1, values.shape[-1])
        laid = empty.scatter(1, index, values).unflatten(1, (cameras, self._cells))
        found: Tensor = laid.flatten(0, 1).transpose(1, 2).unflatten(2, self._grid)
        return found


def _moved(images: Tensor, motion: Tensor, in_play: Tensor) -> Tensor:
    """Return pictures [M, 3, H, W] moved as cells [M, 2, h, w] do, x before y, px.

    Cells that are not in play, where [M, 1, h, w] is 0, do not hold back the others.
    """
    covered = _finer(in_play, CELL).clamp_min(_COVERED)
    motion = _none_below((_finer(motion, CELL) / covered).float(), _LEAST_MOTION_PX)
    motion = motion.movedim(1, -1)
    height, width = images.shape[-2:]
    pixel = motion.new_tensor([2.0 / width, 2.0 / height])
    return functional.grid_sample(
        images, cell_centres((height, width), motion) - motion * pixel, mode="bicubic",
        padding_mode="border", align_corners=False,
    )


def _finer(values: Tensor, times: int) -> Tensor:
    """Return values [M, V, h, w] on a grid that is finer by a factor."""
    found: Tensor = functional.interpolate(
        values, scale_factor=times, mode="bilinear", align_corners=False
    )
    return found


def _none_below(values: Tensor, least: float) -> Tensor:
    """Return values that are 0 where they are smaller than `least`; gradients pass unchanged."""
    kept = values.where(values.abs() >= least, torch.zeros_like(values))
    return values + (kept - values).detach()
