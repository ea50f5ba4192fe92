"""How a robot is drawn in a picture: learned points and links in the picture, from joint state.

Each arm's joint state becomes a few points in the image of a camera. They are drawn as smooth
features on a grid, with the links between them, beside a coarse map of features. Neither
calibration nor masks are needed: the points are learned from how well frames are redrawn.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

WIDTH = 128
# Divisors of squared distances, in cells, of the bump at a point, its surroundings, a link and its
# surroundings.
_POINT, _AROUND, _LINK, _BESIDE = 2.0, 18.0, 2.0, 12.0
_FAR = 3.0  # cells; longer offsets are clipped


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A robot drawn for one camera."""

    fine: Tensor  # [B, F, 2h, 2w] points and links
    coarse: Tensor  # [B, arms * C, h, w] features of any kind


class ArmDrawing(nn.Module):
    """One arm in one camera.

    Args:
        inputs: length of the arm's joint state.
        points: K, of the arm in the image.
        channels: C, of the coarse map.
        grid: cells of the coarse map, height and width.
    """

    def __init__(self, inputs: int, points: int, channels: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self._shape = (channels, *grid)
        self.body = nn.Sequential(
            nn.Linear(inputs, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU()
        )
        self.places = nn.Linear(WIDTH, points * 2)
        self.map = nn.Linear(WIDTH, channels * grid[0] * grid[1])
        nn.init.normal_(self.places.bias, std=0.5)

    def points(self, hidden: Tensor) -> Tensor:
        """Return points [B, K, 2], x and y in -1..1 of the image, of hidden features."""
        found: Tensor = self.places(hidden).unflatten(1, (-1, 2))
        return found

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return points [B, K, 2] and map [B, C, h, w] of standardised states [B, D]."""
        hidden = self.body(state)
        return self.points(hidden), self.map(hidden).unflatten(1, self._shape)


class RobotDrawing(nn.Module):
    """All arms in one camera.

    Args:
        arms: of each arm, its places in proprioception.
        points: K, of an arm in the image.
        channels: C, of an arm's coarse map.
        grid: cells of the image, height and width; points are drawn on twice as many.
    """

    def __init__(
        self, arms: tuple[tuple[int, ...], ...], points: int, channels: int, grid: tuple[int, int]
    ) -> None:
        super().__init__()
        self._places = arms
        self._fine = (2 * grid[0], 2 * grid[1])
        self.arms = nn.ModuleList(ArmDrawing(len(arm), points, channels, grid) for arm in arms)

    def forward(self, state: Tensor) -> Drawn:
        """Return the robot drawn, from standardised proprioception [B, P]."""
        # Places keep all their bits: half of them are not enough for a fraction of a pixel.
        with torch.autocast(state.device.type, enabled=False):
            found = [arm(part) for arm, part in zip(self.arms, self._parts(state), strict=True)]
            return Drawn(
                fine=torch.cat([point_features(points, self._fine) for points, _ in found], dim=1),
                coarse=torch.cat([coarse for _, coarse in found], dim=1),
            )

    def points(self, state: Tensor) -> Tensor:
        """Return only the points [B, arms * K, 2]."""
        found = []
        with torch.autocast(state.device.type, enabled=False):
            for arm, part in zip(self.arms, self._parts(state), strict=True):
                assert isinstance(arm, ArmDrawing)
                found.append(arm.points(arm.body(part)))
        return torch.cat(found, dim=1)

    def _parts(self, state: Tensor) -> list[Tensor]:
        return [state[:, list(places)] for places in self._places]


def fine_channels(arms: int, points: int) -> int:
    """Return the number of features that `arms` arms of K points are drawn with."""
    return arms * (4 * points + 2 * (points - 1))


def cell_centres(grid: tuple[int, int], like: Tensor) -> Tensor:
    """Return x, y of the centres of cells, [h, w, 2], in -1..1."""
    y, x = (
        (torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n * 2.0 - 1.0 for n in grid
    )
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def point_features(points: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return smooth features [B, 6K - 2, H, W] of a chain of points [B, K, 2] on a grid.

    Of each point: a bump of about a cell, a wider one, and the offset to it; of each link between
    neighbours: a narrow and a wider ridge.
    """
    centres = cell_centres(grid, points)
    cell = points.new_tensor([2.0 / grid[1], 2.0 / grid[0]])
    offset = (points[:, :, None, None] - centres) / cell
    square = (offset**2).sum(-1)
    around = torch.exp(-square / _AROUND)
    toward = offset.clamp(-_FAR, _FAR) * around[..., None]
    start, along = points[:, :-1, None, None], (points[:, 1:] - points[:, :-1])[:, :, None, None]
    share = ((centres - start) * along).sum(-1) / ((along**2).sum(-1) + 1e-4)
    beside = (start + share.clamp(0.0, 1.0)[..., None] * along - centres) / cell
    apart = (beside**2).sum(-1)
    return torch.cat([
        torch.exp(-square / _POINT), around, toward[..., 0], toward[..., 1],
        torch.exp(-apart / _LINK), torch.exp(-apart / _BESIDE),
    ], dim=1)
