"""The network that predicts the next scene: a transformer that says how its parts move.

The next picture is drawn by moving parts of the present one; only what no motion explains is
painted. So a thin thing stays as sharp as it was, however often it is moved, and what stands still
stays as it is. `scene_drawing` does that.

A scene is mostly still. Only the cells with the edges of things, or that a hand comes near, become
tokens; all others are copied. A token knows its pixels, and where the robot's points are relative
to it: before, now and next. It says how it moves: shares of the motion of the robot's points, and a
free motion. What is held moves as the hand does, by a share of one: that is much easier to learn
than a number of pixels. Cells of a stiff thing move as one piece (`rigid_motions`), and what hands
are about to touch has tokens of its own. Whether a hand holds what lies around it depends on a few
millimetres, which cells of a fixed grid show badly: `grips` tells it to all tokens. What a gripper
holds when it has shut, it holds until it opens or it slips, so the evidence since then is summed.
Slips are a matter of luck: `slips` only tells how likely they are. One further token carries joints
and commands, and gives back what the objects do to the joints (a grasp keeps fingers open).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.world_models.latent.glimpses import around
from hiwm_learning.world_models.latent.grips import Grips, Slips
from hiwm_learning.world_models.latent.rigid_motions import RigidMotions
from hiwm_learning.world_models.latent.robot_drawing import cell_centres
from hiwm_learning.world_models.latent.robot_layer import CELL, STRONG
from hiwm_learning.world_models.latent.scene_drawing import SceneDrawing
from hiwm_learning.world_models.latent.scene_error import distance
from hiwm_learning.world_models.latent.touch import Touch

# Cells are put in play by how much the picture varies in and around them, by a hand that comes
# near, and, least, by being unusual: inside of a large thing nothing is seen to move.
_NEAR, _NEAR_WEIGHT = 1.5, 0.3  # deviation of the bump around a hand, cells
_UNUSUAL_WEIGHT = 0.05
_FAR = 4.0  # cells; longer offsets to points are clipped
_UNSURE = 0.5  # decay of how unsure a grip is with its evidence
_STILL = 1e-4  # changes of a scene below it are alike
# Evidence from which on it is decided what a hand holds (Wald's sequential test). Later pictures
# only confirm it: the scene has moved as was decided.
_SURE = 4.0


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig:
    """Shape of the transformer."""

    width: int
    blocks: int
    heads: int
    tokens: int  # cells in play, of all cameras together
    told: int  # what a cell tells of each place that is painted
    glimpse: int  # samples a side of the picture around a hand
    rigid: int  # stiff pieces to which the cells of a camera may belong
    touch: int  # samples a side of what a hand is about to meet; 0: it is not seen


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What a step depends on, of B worlds with C cameras."""

    scene: Tensor  # [B, C, 3, H, W] in 0..1
    usual: Tensor  # [B, C, 3, H, W] the usual pictures, in the light of each world
    points: Tensor  # [B, 3, C, K, 2] the robot's points before, now and next, -1..1
    robot: Tensor  # [B, G] joints, commands and changes, standardised
    shut: Tensor  # [B, hands] whether a gripper is told to be shut; True for hands without one
    evidence: Tensor  # [B, hands] logit of holding something, summed since its gripper shut
    # [B, hands] what hands hold, 1, 0, or NaN, unknown, while it is learned; None: as it looks
    known_grips: Tensor | None = None
    # [B, hands] uniform in 0..1: what is less likely than that does not slip; None: nothing slips
    luck: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The outcome of a step."""

    scene: Tensor  # [B, C, 3, H, W], about 0..1
    joints: Tensor  # [B, P] what objects add to a joint's change, in its usual changes
    # [B, S] of the robot's token, the mean cell, how unsure grips are, their evidence, and how much
    # changed
    summary: Tensor
    evidence: Tensor  # [B, hands] that of the condition, including this step
    held: Tensor  # [B, hands] whether a hand is held to hold something in this step


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


class SceneDynamics(nn.Module):
    """Predicts scenes one step ahead.

    Args:
        config: of the transformer.
        cameras: C.
        grid: cells of a camera, height and width.
        points: K, of all arms in one camera; the last ones are the hands.
        hands: number of hands.
        robot: G, length of the robot's features.
        joints: P, length of proprioception.
        grips: of each hand, whether it grips: nothing moves with an arm whose gripper holds
            nothing, though it may be pushed. () if none does.
        stance: places in the robot's features of how it stands, which `grips` is told; those of
            how it moves follow `joints` places later.
    """

    change: Tensor

    def __init__(
        self, config: DynamicsConfig, *, cameras: int, grid: tuple[int, int], points: int,
        hands: int, robot: int, joints: int, grips: tuple[bool, ...] = (),
        stance: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self._grid, self._cells = grid, grid[0] * grid[1]
        self._points, self._hands = points, hands
        self._grips = grips if any(grips) else ()
        # Each camera has its share: in one that moves, everything is unusual.
        self._tokens = min(max(1, config.tokens // cameras), self._cells)
        width, pixels = config.width, 3 * CELL**2
        # Mean square change of a cell in which something moves: the unit of being unusual.
        self.register_buffer("change", torch.full((), 1e-2))
        self.summary = 2 * width + 2 * hands + 1  # its length
        self.stem = nn.Linear(pixels + 9 * points, width)
        self.place = nn.Parameter(torch.randn(cameras * self._cells, width) * 0.02)
        self._glimpse, self._stance = config.glimpse, list(stance)
        self.grips = Grips(hands, 3 * cameras * config.glimpse**2, len(stance))
        self._moves = [*stance, *(joints + place for place in stance)]
        self.moving = len(self._moves)  # features that `slips` is told
        self.slips = Slips(hands, self.moving)
        self.gripped = nn.Linear(hands, width, bias=False)
        nn.init.zeros_(self.gripped.weight)
        self.told = nn.Sequential(
            nn.Linear(robot, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.blocks))
        self.last = nn.LayerNorm(width)
        self.drawing = SceneDrawing(width, points, grid, config.told)
        self.rigid = (
            RigidMotions(width, cameras, config.rigid, grid, CELL) if config.rigid else None
        )
        size = (CELL * grid[0], CELL * grid[1])
        self.touch = Touch(width, cameras, hands, config.touch, size) if config.touch else None
        self.joints = nn.Linear(width, joints)
        nn.init.zeros_(self.joints.weight)
        nn.init.zeros_(self.joints.bias)

    def forward(self, condition: Condition) -> Prediction:
        """Return the state of affairs one step later."""
        difference = condition.scene - condition.usual
        chosen = self.in_play(difference, condition.points[:, 2])
        cells = functional.pixel_unshuffle(difference, CELL).flatten(3).transpose(2, 3)
        cells = cells.flatten(1, 2)  # [B, C * cells, pixels]
        picked = cells.gather(1, chosen[..., None].expand(-1, -1, cells.shape[-1]))
        features = torch.cat(
            [picked * STRONG, self._offsets(condition.points, chosen)], dim=-1
        )
        evidence = self._evidence(condition)
        decided = _decided(evidence, condition)
        robot = (self.told(condition.robot) + self.gripped(decided))[:, None]
        tokens = torch.cat([
            self.stem(features) + self.place[chosen] + robot, robot,
            *([] if self.touch is None else [self.touch(
                STRONG * difference, condition.points[..., self._points - self._hands :, :]
            ) + robot]),
        ], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.last(tokens)
        last = chosen.shape[1]
        of_cells, of_robot = tokens[:, :last], tokens[:, last]
        unsure = torch.exp(-_UNSURE * evidence.abs()).masked_fill(~condition.shut, 0.0)
        scene = self.drawing(
            condition.scene, condition.usual, self._steps(condition.points, chosen, decided),
            chosen, of_cells, self.rigid,
        )
        changed = distance(scene, condition.scene, torch.zeros_like(scene[:, :, 0]))
        return Prediction(
            scene=scene, joints=self.joints(of_robot),
            evidence=self._after_slips(evidence, condition),
            held=(decided > 0.0) & condition.shut,
            summary=torch.cat([
                of_robot, of_cells.mean(1), unsure, evidence,
                torch.log(changed + _STILL)[:, None],
            ], dim=1),
        )

    @torch.no_grad()
    def _evidence(self, condition: Condition) -> Tensor:
        """Return the evidence of holding something, [B, hands], including this step.

        It begins anew when a gripper opens. What a hand without a gripper moves may change at any
        time, so for it only this step counts.
        """
        held = self.grips(*self.around_hands(condition)).float()
        lasts = held.new_tensor(self._grips or (False,) * self._hands).bool()
        before = condition.evidence.masked_fill(~lasts, 0.0)
        together = torch.where(before.abs() < _SURE, before + held, before)
        return together.masked_fill(~condition.shut, 0.0)

    @torch.no_grad()
    def _after_slips(self, evidence: Tensor, condition: Condition) -> Tensor:
        """Return the evidence [B, hands] that remains: what has slipped is not held any more."""
        if condition.luck is None or not self._grips:
            return evidence
        chance = torch.sigmoid(self.slips(self.moves(condition.robot)).float())
        grips = evidence.new_tensor(self._grips).bool()
        lost = (evidence > 0.0) & (condition.luck < chance) & grips
        return evidence.masked_fill(lost, -_SURE)

    def moves(self, robot: Tensor) -> Tensor:
        """Return what `slips` is told, [B, M]: how the robot stands and moves, of [B, G]."""
        return robot[:, self._moves]

    def around_hands(self, condition: Condition) -> tuple[Tensor, Tensor]:
        """Return what `grips` sees around hands, [B, C * hands, S], and their stance [B, P]."""
        hands = condition.points[:, 1, :, self._points - self._hands :]
        seen = around(condition.scene - condition.usual, hands, self._glimpse) * STRONG
        return seen, condition.robot[:, self._stance]

    @torch.no_grad()
    def in_play(self, difference: Tensor, points: Tensor) -> Tensor:
        """Return the cells that become tokens, [B, N], counted over all cameras.

        Args:
            difference: [B, C, 3, H, W] of scenes from the usual pictures.
            points: [B, C, K, 2] where the robot comes next.
        """
        flat = difference.flatten(0, 1)
        mean = functional.avg_pool2d(flat, CELL)
        square = functional.avg_pool2d(flat**2, CELL)
        around = [
            functional.avg_pool2d(one, 3, 1, 1, count_include_pad=False) for one in (mean, square)
        ]
        varied = (around[1] - around[0] ** 2).mean(1) / self.change
        unusual = square.mean(1) / self.change
        score = (varied + _UNUSUAL_WEIGHT * unusual).unflatten(0, difference.shape[:2])
        offset = self._cells_to(points[:, :, self._points - self._hands :])  # [B, C, K, cells, 2]
        near = torch.exp(-0.5 * (offset**2).sum(-1) / _NEAR**2).amax(2)
        ranked = score.flatten(2) + _NEAR_WEIGHT * near
        chosen = ranked.topk(self._tokens, dim=2).indices
        first = torch.arange(chosen.shape[1], device=chosen.device)[:, None] * self._cells
        found: Tensor = (chosen + first).flatten(1)
        return found

    def _steps(self, points: Tensor, chosen: Tensor, decided: Tensor) -> Tensor:
        """Return how far the points in each token's camera move, px, [B, N, K, 2].

        Those of an arm whose gripper holds nothing are 0.
        """
        ours = self._of_camera(points, chosen)  # [B, N, 3, K, 2]
        size = points.new_tensor([0.5 * CELL * self._grid[1], 0.5 * CELL * self._grid[0]])
        step = (ours[:, :, 2] - ours[:, :, 1]) * size
        if self._grips:
            empty = (decided < 0.0) & decided.new_tensor(self._grips).bool()
            of_arm = self._points // self._hands - 1  # points besides the hand
            empty = torch.cat([empty.repeat_interleave(of_arm, 1), empty], dim=1)
            step = step.masked_fill(empty[:, None, :, None], 0.0)
        return step

    def _cells_to(self, points: Tensor) -> Tensor:
        """Return offsets from all cells to points [B, C, K, 2], in cells, [B, C, K, cells, 2]."""
        centres = cell_centres(self._grid, points).flatten(0, 1)
        return (points[:, :, :, None] - centres) / self._cell(points)

    def _cell(self, like: Tensor) -> Tensor:
        return like.new_tensor([2.0 / self._grid[1], 2.0 / self._grid[0]])

    def _of_camera(self, points: Tensor, chosen: Tensor) -> Tensor:
        """Return the points in each token's camera, [B, N, 3, K, 2]."""
        batch = torch.arange(len(points), device=points.device)[:, None]
        return points.transpose(1, 2)[batch, chosen // self._cells]

    def _offsets(self, points: Tensor, chosen: Tensor) -> Tensor:
        """Return each token's offsets to the points of its camera, [B, N, 9K]."""
        ours = self._of_camera(points, chosen)
        centres = cell_centres(self._grid, points).flatten(0, 1)[chosen % self._cells]
        offset = (ours - centres[:, :, None, None]) / self._cell(points)
        bump = torch.exp(-0.5 * (offset**2).sum(-1, keepdim=True))
        return torch.cat([offset.clamp(-_FAR, _FAR) * 0.5, bump], dim=-1).flatten(2)


def _decided(evidence: Tensor, condition: Condition) -> Tensor:
    """Return 1 for what is held and -1 for what is not, [B, hands], by evidence [B, hands].

    A grasp is decided. Told how likely it is, the dynamics moves what may be held by a part of the
    way, and then it looks as if it were held. While it learns, what is not known is 0: it learns
    to rely on a decision only where that is right.
    """
    known = condition.known_grips
    if known is not None:
        return torch.nan_to_num(2.0 * known.to(evidence.dtype) - 1.0)
    return 2.0 * (evidence > 0.0).to(evidence.dtype) - 1.0
