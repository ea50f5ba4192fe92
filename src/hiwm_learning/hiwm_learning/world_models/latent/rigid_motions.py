"""A few motions, each shared by all of a thing: what is stiff stays so, however long it is moved.

Were each cell to move by itself, a stiff thing would bend a little in each step, and after fifty it
would be pressed flat. Here a few tokens of each camera each tell one motion, a shift and a turn,
and the picture is moved by it as a whole. Each place of the next picture then takes shares of these
(`scene_drawing`). Related: SE3-Nets (Byravan and Fox, 2017).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.world_models.latent.robot_drawing import cell_centres

# Outputs of 1 mean these: about what a pushed thing does in a step.
_SHIFT_PX, _TURN = 0.5, 0.05
# A motion that nowhere near its thing exceeds this is none, or a scene left alone would creep.
_LEAST_PX, _REACH_PX = 0.05, 10.0


@dataclass(frozen=True, kw_only=True)
class Motions:
    """How M things move in each of C cameras, and what moves with them."""

    shift: Tensor  # [B, C, M, 2] px, x before y
    turn: Tensor  # [B, C, M] rad, from x towards y
    pivot: Tensor  # [B, C, M, 2] of the turn, px from the middle of the picture
    belongs: Tensor  # [B, N, M] logit of a cell in play moving with each in its camera


class RigidMotions(nn.Module):
    """Tells motions from tokens that have attended to the cells.

    Args:
        width: of a token.
        cameras: C.
        count: M, of each camera.
        grid: cells of a camera, height and width.
        cell: px a side.
    """

    def __init__(
        self, width: int, cameras: int, count: int, grid: tuple[int, int], cell: int
    ) -> None:
        super().__init__()
        self._grid, self._cell, self._cameras, self.count = grid, cell, cameras, count
        self.tokens = nn.Parameter(torch.randn(cameras * count, width) * 0.02)
        self.motion = nn.Linear(width, 3)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.motion.weight)
        nn.init.zeros_(self.motion.bias)

    def forward(self, tokens: Tensor, of_cells: Tensor, chosen: Tensor) -> Motions:
        """Return the motions.

        Args:
            tokens: [B, C * M, W] of the motions.
            of_cells: [B, N, W] of the cells in play, as many of each camera, in order.
            chosen: [B, N] these cells, counted over all cameras.
        """
        cameras, cells = self._cameras, self._grid[0] * self._grid[1]
        # In half of the bits, a motion would go in steps of a good part of a pixel.
        with torch.autocast(tokens.device.type, enabled=False):
            tokens, of_cells = tokens.float(), of_cells.float()
            told = self.motion(tokens).unflatten(1, (cameras, self.count))
            query = self.query(tokens).unflatten(1, (cameras, self.count))
            key = self.key(of_cells).unflatten(1, (cameras, -1))
            belongs = key @ query.transpose(2, 3) / query.shape[-1] ** 0.5  # [B, C, n, M]
            size = told.new_tensor([0.5 * self._cell * self._grid[1],
                                    0.5 * self._cell * self._grid[0]])
            places = cell_centres(self._grid, told).flatten(0, 1)[chosen % cells] * size
            pivot = belongs.softmax(2).transpose(2, 3) @ places.unflatten(1, (cameras, -1))
            shift, turn = _SHIFT_PX * told[..., :2], _TURN * told[..., 2]
            moves = shift.norm(dim=-1) + _REACH_PX * turn.abs() >= _LEAST_PX
            return Motions(
                shift=_only_if(moves[..., None], shift), turn=_only_if(moves, turn), pivot=pivot,
                belongs=belongs.flatten(1, 2),
            )


def moved_rigidly(images: Tensor, motions: Motions) -> Tensor:
    """Return pictures [B, C, 3, H, W], each moved by each of its M motions, [B * C, M, 3, H, W]."""
    height, width = images.shape[-2:]
    count = motions.turn.shape[2]
    shift, pivot = (one.flatten(0, 2)[:, None, None] for one in (motions.shift, motions.pivot))
    turn = motions.turn.flatten()[:, None, None]
    half = shift.new_tensor([0.5 * width, 0.5 * height])
    place = cell_centres((height, width), shift) * half - pivot - shift
    # Where what comes to a place was before: turned back.
    cos, sin = turn.cos(), turn.sin()
    x, y = place.unbind(-1)
    was = torch.stack([cos * x + sin * y, cos * y - sin * x], dim=-1) + pivot
    each = images.flatten(0, 1)[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1)
    moved = functional.grid_sample(
        each, was / half, mode="bicubic", padding_mode="border", align_corners=False,
    )
    found: Tensor = moved.unflatten(0, (-1, count))
    return found


def _only_if(moves: Tensor, values: Tensor) -> Tensor:
    """Return values that are 0 where nothing moves; gradients pass unchanged."""
    kept = values.where(moves, torch.zeros_like(values))
    return values + (kept - values).detach()
