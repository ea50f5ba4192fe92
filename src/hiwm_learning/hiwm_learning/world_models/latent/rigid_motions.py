"""Cells that belong to a stiff thing move as one piece, however long they are moved.

Were each cell to move by itself, a stiff thing would bend a little in each step, and after fifty
it would be pressed flat. So cells propose motions, and say to which of a few pieces they belong.
The shift and the turn that fit the proposals of a piece best, by least squares, move all of it.
Errors of single cells cancel out, and between cells, whose motions are interpolated, a shift and a
turn stay exact.
"""

import torch
from torch import Tensor, nn

from hiwm_learning.world_models.latent.robot_drawing import cell_centres

_TAKEN = 2.0  # logit of belonging to a piece before training, beside 0 for moving by itself
_LEAST = 1e-3  # share of a cell and square px: a piece of next to nothing does not turn


class RigidMotions(nn.Module):
    """Fits the motions of pieces to those that cells propose.

    Args:
        width: of a token.
        cameras: C.
        count: M, pieces of each camera.
        grid: cells of a camera, height and width.
        cell: px a side.
    """

    def __init__(
        self, width: int, cameras: int, count: int, grid: tuple[int, int], cell: int
    ) -> None:
        super().__init__()
        self._grid, self._cell, self._cameras = grid, cell, cameras
        self.belongs = nn.Linear(width, count + 1)
        with torch.no_grad():
            self.belongs.bias.copy_(torch.tensor([0.0] + [_TAKEN] * count))

    def forward(self, proposed: Tensor, tokens: Tensor, chosen: Tensor) -> Tensor:
        """Return how cells move, px, [B, N, 2], x before y.

        Args:
            proposed: [B, N, 2] how each would by itself.
            tokens: [B, N, W] of the cells in play, as many of each camera, in order.
            chosen: [B, N] these cells, counted over all cameras.
        """
        # In half of the bits, a motion would go in steps of a good part of a pixel.
        with torch.autocast(tokens.device.type, enabled=False):
            shares = self.belongs(tokens.float()).softmax(-1)
            shares = shares.unflatten(1, (self._cameras, -1))  # [B, C, n, 1 + M]
            moves = proposed.float().unflatten(1, (self._cameras, -1))  # [B, C, n, 2]
            size = moves.new_tensor([
                0.5 * self._cell * self._grid[1], 0.5 * self._cell * self._grid[0]
            ])
            cells = self._grid[0] * self._grid[1]
            places = cell_centres(self._grid, moves).flatten(0, 1)[chosen % cells] * size
            places = places.unflatten(1, (self._cameras, -1))
            each = fitted(places, moves, shares[..., 1:])
            found: Tensor = shares[..., :1] * moves + (shares[..., 1:, None] * each).sum(3)
            return found.flatten(1, 2)


def fitted(places: Tensor, moves: Tensor, shares: Tensor) -> Tensor:
    """Return how pieces move at all places, px, [..., n, M, 2], fitted to how these move.

    The best turn about the middle of a piece is that of Kabsch (1976), in the plane.

    Args:
        places: [..., n, 2] px, x before y, y downwards.
        moves: [..., n, 2] px, how far what comes to these places has moved.
        shares: [..., n, M] of places in pieces.
    """
    weights = shares / shares.sum(-2, keepdim=True).clamp_min(_LEAST)
    weights = weights.transpose(-1, -2)  # [..., M, n]
    middle, shift = weights @ places, weights @ moves  # [..., M, 2]
    now = places[..., None, :, :] - middle[..., None, :]  # [..., M, n, 2]
    was = now - (moves[..., None, :, :] - shift[..., None, :])
    across = was[..., 0] * now[..., 1] - was[..., 1] * now[..., 0]
    turn = torch.atan2(
        (weights * across).sum(-1), (weights * (was * now).sum(-1)).sum(-1) + _LEAST
    )
    return moved_by(
        places[..., None, :], shift[..., None, :, :], turn[..., None, :], middle[..., None, :, :]
    )


def moved_by(places: Tensor, shift: Tensor, turn: Tensor, middle: Tensor) -> Tensor:
    """Return how far what comes to places has moved, px, [..., 2].

    Args:
        places: [..., 2] px, x before y, y downwards.
        shift: [..., 2] px, of the middle.
        turn: [...] rad, from x towards y, about the middle.
        middle: [..., 2] px, where it has come to.
    """
    x, y = (places - middle).unbind(-1)
    cos, sin = turn.cos(), turn.sin()
    was = torch.stack([cos * x + sin * y, cos * y - sin * x], dim=-1)
    return places - middle + shift - was
