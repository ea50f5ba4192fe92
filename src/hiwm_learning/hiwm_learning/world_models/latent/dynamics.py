"""The network that predicts the next latents: a transformer over the cells that are in play.

A scene is mostly still. Only the cells that differ from the usual ones, or that a robot comes near,
become tokens; all others keep their latents. A token knows its recent latents, those of a reference
frame, and where the robot's points are relative to it: before, now and next. One further token
carries joints and commands, and gives back what the objects do to the joints (a grasp keeps fingers
open) and how far the prediction is likely to be off.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.world_models.latent.robot_drawing import cell_centres

_NEAR = 1.5  # cells, deviation of the bump by which a robot's point puts cells in play
_NEAR_WEIGHT = 0.3
_FAR = 4.0  # cells; longer offsets to points are clipped


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig:
    """Shape of the transformer."""

    context: int  # latents that a token sees, the present one included
    width: int
    blocks: int
    heads: int
    tokens: int  # cells in play, of all cameras together


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What a step depends on, of B worlds with C cameras."""

    latents: Tensor  # [B, T, C, Z, h, w] oldest first
    reference: Tensor  # [B, C, Z, h, w] of an earlier frame, as it was encoded
    points: Tensor  # [B, 3, C, K, 2] the robot's points before, now and next, -1..1
    robot: Tensor  # [B, G] joints, commands and changes, standardised
    doubt: Tensor  # [B] expected error so far


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The outcome of a step."""

    latents: Tensor  # [B, C, Z, h, w], not yet those that a coder could give
    joints: Tensor  # [B, P] what objects add to a joint's change, in its usual changes
    doubt: Tensor  # [B] expected error by now


class Block(nn.Module):
    """Attention and a perceptron, each beside an identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.before = nn.LayerNorm(width)
        self.inward = nn.Linear(width, 3 * width)
        self.outward = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 3 * width)
        self.narrow = nn.Linear(3 * width, width)
        nn.init.zeros_(self.outward.weight)
        nn.init.zeros_(self.narrow.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens [B, N, W] of the same."""
        mixed = self.inward(self.before(x)).unflatten(-1, (3, self._heads, -1))
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.outward(seen.transpose(1, 2).flatten(2))
        found: Tensor = x + self.narrow(functional.gelu(self.wide(self.between(x))))
        return found


class LatentDynamics(nn.Module):
    """Predicts latents one step ahead.

    Args:
        config: of the transformer.
        cameras: C.
        channels: Z, of a cell.
        grid: cells of a camera, height and width.
        points: K, of all arms in one camera.
        robot: G, length of the robot's features.
        joints: P, length of proprioception.
    """

    def __init__(
        self, config: DynamicsConfig, *, cameras: int, channels: int, grid: tuple[int, int],
        points: int, robot: int, joints: int,
    ) -> None:
        super().__init__()
        self._grid, self._cells = grid, grid[0] * grid[1]
        self._tokens = min(config.tokens, cameras * self._cells)
        width = config.width
        self.stem = nn.Linear(channels * (config.context + 1) + 9 * points, width)
        self.place = nn.Parameter(torch.randn(cameras * self._cells, width) * 0.02)
        self.told = nn.Sequential(
            nn.Linear(robot + 1, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.blocks))
        self.last = nn.LayerNorm(width)
        self.change = nn.Linear(width, channels)
        self.joints = nn.Linear(width, joints)
        self.doubt = nn.Linear(width, 1)
        for layer in (self.change, self.joints, self.doubt):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, condition: Condition) -> Prediction:
        """Return the state of affairs one step later."""
        latents, now = condition.latents, condition.latents[:, -1]
        chosen = self.in_play(now, condition.reference, condition.points[:, 2])
        cells = torch.cat([
            latents.transpose(1, 2).flatten(2, 3), condition.reference
        ], dim=2).flatten(3).transpose(2, 3).flatten(1, 2)  # [B, C * cells, Z * (T + 1)]
        picked = cells.gather(1, chosen[..., None].expand(-1, -1, cells.shape[-1]))
        features = torch.cat([picked, self._offsets(condition.points, chosen)], dim=-1)
        robot = self.told(torch.cat([condition.robot, condition.doubt[:, None]], dim=1))[:, None]
        tokens = torch.cat([self.stem(features) + self.place[chosen] + robot, robot], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.last(tokens)
        moved = self.change(tokens[:, :-1])
        flat = now.flatten(3).transpose(2, 3).flatten(1, 2)  # [B, C * cells, Z]
        index = chosen[..., None].expand(-1, -1, flat.shape[-1])
        after = flat.scatter_add(1, index, moved.to(flat.dtype))
        shaped = after.unflatten(1, (now.shape[1], self._cells)).transpose(2, 3)
        return Prediction(
            latents=shaped.unflatten(3, self._grid),
            joints=self.joints(tokens[:, -1]),
            doubt=functional.softplus(
                self.doubt(tokens[:, -1])[:, 0] + _inverse_softplus(condition.doubt)
            ),
        )

    @torch.no_grad()
    def in_play(self, now: Tensor, reference: Tensor, points: Tensor) -> Tensor:
        """Return the cells that become tokens, [B, N], counted over all cameras.

        Args:
            now: [B, C, Z, h, w].
            reference: [B, C, Z, h, w].
            points: [B, C, K, 2] where the robot comes next.
        """
        unusual = (now**2).mean(2) + 0.5 * (reference**2).mean(2)
        score = unusual + 0.5 * functional.max_pool2d(unusual, 3, 1, 1)
        offset = self._cells_to(points)  # [B, C, K, cells, 2]
        near = torch.exp(-0.5 * (offset**2).sum(-1) / _NEAR**2).amax(2)
        ranked: Tensor = score.flatten(2) + _NEAR_WEIGHT * near
        return ranked.flatten(1).topk(self._tokens, dim=1).indices

    def _cells_to(self, points: Tensor) -> Tensor:
        """Return offsets from all cells to points [B, C, K, 2], in cells, [B, C, K, cells, 2]."""
        centres = cell_centres(self._grid, points).flatten(0, 1)
        return (points[:, :, :, None] - centres) / self._cell(points)

    def _cell(self, like: Tensor) -> Tensor:
        return like.new_tensor([2.0 / self._grid[1], 2.0 / self._grid[0]])

    def _offsets(self, points: Tensor, chosen: Tensor) -> Tensor:
        """Return each token's offsets to the points of its camera, [B, N, 9K]."""
        batch = torch.arange(len(points), device=points.device)[:, None]
        ours = points.transpose(1, 2)[batch, chosen // self._cells]  # [B, N, 3, K, 2]
        centres = cell_centres(self._grid, points).flatten(0, 1)[chosen % self._cells]
        offset = (ours - centres[:, :, None, None]) / self._cell(points)
        bump = torch.exp(-0.5 * (offset**2).sum(-1, keepdim=True))
        return torch.cat([offset.clamp(-_FAR, _FAR) * 0.5, bump], dim=-1).flatten(2)


def _inverse_softplus(value: Tensor) -> Tensor:
    """Return x with softplus(x) = value, for values above 0; small values are bounded."""
    bounded = value.clamp_min(1e-3)
    return bounded + torch.log(-torch.expm1(-bounded))
