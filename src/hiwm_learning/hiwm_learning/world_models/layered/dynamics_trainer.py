"""Fitting the dynamics to tracked poses: one step first, then ever longer unrolls.

Each member sees its own draw of starts, most of them with the object in motion, since most recorded
ticks move nothing. Unrolling teaches it to live with its own errors; the loss is robust, because at
a contact's edge the same state goes two ways and the median is what a rollout should follow.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hiwm_learning.training_loop import rate_factor
from hiwm_learning.world_models.layered.dynamics import (
    ARC_RADIUS_M,
    NEAR_M,
    STEP_M,
    DynamicsEnsemble,
    advance,
    motion,
)

# The object counts as moving above this in one step: over the noise of tracking, far below a push.
MOVING_M = 0.0006
NEAR_SHARE, MOVING_SHARE = 0.3, 0.55  # of starts; the rest is drawn from everything
UNROLL_AT = ((0.0, 1), (0.35, 3), (0.55, 6), (0.75, 10), (0.9, 16))  # progress, steps unrolled
LEARNING_RATE = 1.5e-3
EMA_DECAY = 0.999
# Tracking scatters by about 0.1 mm and 0.1 degrees; starts are shaken by a little more, so that
# the network does not read motion out of that scatter.
SHAKE_M = 0.0003
# Share of starts at which both arms are made to stay: then nothing moves, wherever they touch. Such
# moments are rare in recordings, and an idle world that creeps would be useless to an operator.
IDLE_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """Tracked episodes, one after another: rows of one episode are consecutive."""

    poses: Tensor  # [N, L, 4] object first, then arms
    targets: Tensor  # [N, arms, 2] applied action at each row; of no meaning at an episode's last
    episode: Tensor  # [N] which episode a row belongs to

    def starts(self, length: int) -> Tensor:
        """Return rows with one row of history before and `length` rows after, in one episode."""
        rows = torch.arange(1, max(1, len(self.episode) - length))
        same = (self.episode[rows - 1] == self.episode[rows]) & (
            self.episode[rows + length] == self.episode[rows]
        )
        return rows[same]

    def moving(self) -> Tensor:
        """Return whether the object moves between each row and the next, [N]."""
        step = motion(self.poses[:-1, 0], self.poses[1:, 0])
        moved = step.norm(dim=1) > MOVING_M
        same = self.episode[:-1] == self.episode[1:]
        return torch.cat([moved & same, torch.zeros(1, dtype=torch.bool)])


class DynamicsTrainer:
    """A `training_loop.Trainable` for the ensemble.

    Args:
        model: the ensemble, its shape set.
        tracks: to train on.
        held_out: to measure on.
        batch: starts a member and step of the loop; divided among the steps unrolled.
        seed: of everything drawn.
        on_export: called to write a checkpoint.
    """

    def __init__(
        self, model: DynamicsEnsemble, tracks: Tracks, held_out: Tracks, *, batch: int = 768,
        seed: int = 0, on_export: Any = None,
    ) -> None:
        self.model = model
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self._tracks = tracks
        self._held_out = held_out
        self._batch = batch
        self._seed = seed
        self._on_export = on_export
        self._optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=1e-4)
        self._pools: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def train_step(self, step: int, progress: float) -> dict[str, float]:
        """Take one optimiser step."""
        unroll = [length for begin, length in UNROLL_AT if progress >= begin][-1]
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        batch = max(64, self._batch // unroll)
        members = self.model.config.members
        rows = torch.stack([self._draw(batch, unroll, generator) for _ in range(members)])
        for group in self._optimiser.param_groups:
            group["lr"] = LEARNING_RATE * rate_factor(progress, step)
        loss = self._unrolled_loss(rows, unroll, generator)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimiser.step()
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)
        return {"loss": float(loss.detach()), "unroll": float(unroll)}

    def _draw(self, batch: int, unroll: int, generator: torch.Generator) -> Tensor:
        if unroll not in self._pools:
            starts = self._tracks.starts(unroll)
            moving = self._tracks.moving()
            busy = torch.stack([moving[starts + k] for k in range(unroll)]).any(0)
            gap = self._gaps(starts)
            self._pools[unroll] = (starts[busy], starts[(gap < 0.035) & ~busy], starts)
        pools = self._pools[unroll]
        counts = [int(batch * MOVING_SHARE), int(batch * NEAR_SHARE)]
        counts.append(batch - sum(counts))
        drawn = [
            pool[torch.randint(len(pool), (count,), generator=generator)]
            for pool, count in zip(pools, counts, strict=True) if len(pool)
        ]
        rows = torch.cat(drawn)
        # A pool can be empty in tiny data sets; fill up from everything.
        extra = pools[2][torch.randint(len(pools[2]), (batch - len(rows),), generator=generator)]
        return torch.cat([rows, extra])

    def _gaps(self, rows: Tensor) -> Tensor:
        """Return how near any arm is to the object's outline, m."""
        features = self.model.features(
            self._tracks.poses[rows], self._tracks.poses[rows - 1], self._tracks.targets[rows]
        )
        distances = torch.stack([features[:, 12 * k + 6] for k in range(self.model.arms)])
        return distances.min(0).values * NEAR_M

    def _unrolled_loss(self, rows: Tensor, unroll: int, generator: torch.Generator) -> Tensor:
        """Return the loss of members [M] each starting at its own rows [M, B]."""
        tracks = self._tracks
        now, before = tracks.poses[rows], tracks.poses[rows - 1]
        now = _shaken(now, generator)
        # Arms are the same kind: which is first carries no meaning. Half the batch sees them
        # swapped.
        swap = torch.rand(rows.shape, generator=generator) < 0.5
        order = _swap_order(now.shape[2], swap)
        now, before = _reordered(now, order), _reordered(before, order)
        idle = torch.rand(rows.shape, generator=generator)[..., None, None] < IDLE_SHARE
        still = now
        loss = torch.zeros(())
        for k in range(unroll):
            targets = torch.gather(
                tracks.targets[rows + k], 2,
                (order[..., 1:] - 1)[..., None].expand(-1, -1, -1, 2),
            )
            targets = torch.where(idle, still[:, :, 1:, :2], targets)
            following = self.model.step_members(now, before, targets)
            wanted = _reordered(tracks.poses[rows + k + 1], order)
            wanted = torch.where(idle, still, wanted)
            loss = loss + _distance(following, wanted)
            now, before = following, now
        return loss / unroll

    def held_out(self) -> dict[str, float]:
        """Return medians after 10 and 50 steps, moving object, mean of the members: mm, deg."""
        kept = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        scores: dict[str, float] = {}
        with torch.no_grad():
            tracks = self._held_out
            for horizon in (10, 50):
                starts = tracks.starts(horizon)
                if len(starts) == 0:
                    continue
                moved = motion(tracks.poses[starts, 0], tracks.poses[starts + horizon, 0])
                starts = starts[moved.norm(dim=1) > 0.01]
                if len(starts) == 0:
                    continue
                starts = starts[:: max(1, len(starts) // 256)]
                final = self.rollout(tracks, starts, horizon)
                wanted = tracks.poses[starts + horizon]
                error = motion(wanted[:, 0], final[:, 0])
                scores[f"mm_h{horizon}"] = float(error[:, :2].norm(dim=1).median() * 1e3)
                angle = (error[:, 2] / ARC_RADIUS_M).abs().median()
                scores[f"deg_h{horizon}"] = float(torch.rad2deg(angle))
        self.model.load_state_dict(kept)
        return scores

    def rollout(self, tracks: Tracks, starts: Tensor, horizon: int) -> Tensor:
        """Return poses [B, L, 4] after `horizon` steps from rows, members averaged at each."""
        now, before = tracks.poses[starts], tracks.poses[starts - 1]
        for k in range(horizon):
            following = self.model.mean_step(now, before, tracks.targets[starts + k])
            now, before = following, now
        return now

    def state(self) -> dict[str, Any]:
        """Return everything resuming needs."""
        return {
            "model": self.model.state_dict(), "average": self.average,
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self._optimiser.load_state_dict(state["optimiser"])

    def export(self, step: int, elapsed_s: float, scores: dict[str, float]) -> None:
        """Write the checkpoint that others use."""
        if self._on_export is not None:
            self._on_export(self.average, step, elapsed_s, scores)


def _distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the robust distance of poses [M, B, L, 4] from those wanted, in control steps."""
    members, batch = found.shape[:2]
    a = found.reshape(members * batch, -1, 4)
    b = wanted.reshape(members * batch, -1, 4)
    body = motion(b[:, 0], a[:, 0]) / STEP_M
    hands = (a[:, 1:, :2] - b[:, 1:, :2]) / STEP_M
    return _robust(body).sum(1).mean() + 0.5 * _robust(hands).sum((1, 2)).mean()


def _robust(error: Tensor, knee: float = 0.04) -> Tensor:
    """Return |error| rounded off below the knee (about half a millimetre)."""
    return (error**2 + knee**2).sqrt() - knee


def _shaken(poses: Tensor, generator: torch.Generator) -> Tensor:
    """Return poses [M, B, L, 4] with the object moved by tracking's scatter."""
    noise = torch.randn(*poses.shape[:2], 3, generator=generator) * SHAKE_M
    body = advance(poses[:, :, 0].reshape(-1, 4), noise.reshape(-1, 3))
    return torch.cat([body.reshape(*poses.shape[:2], 1, 4), poses[:, :, 1:]], dim=2)


def _swap_order(layers: int, swap: Tensor) -> Tensor:
    """Return layer orders [M, B, L]: the arms reversed where `swap`."""
    plain = torch.arange(layers)
    turned = torch.cat([plain[:1], plain[1:].flip(0)])
    return torch.where(swap[..., None], turned, plain)


def _reordered(poses: Tensor, order: Tensor) -> Tensor:
    return torch.gather(poses, 2, order[..., None].expand(-1, -1, -1, poses.shape[-1]))
