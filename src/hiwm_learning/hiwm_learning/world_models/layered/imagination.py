"""Many imagined worlds side by side: the one step, doubt and trust that everything imagined uses.

The simulator runs it with a batch of one, the evaluation with hundreds.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hiwm_learning.world_models.layered.dynamics import motion
from hiwm_learning.world_models.layered.model import WorldModel

# Expected error of the object's place at which trust has fallen to 1/e, m: a
# correction made on the frame would miss the object by about its width.
TRUST_M = 0.02


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """B worlds at one step: where everything is, for all members together and for each."""

    poses: Tensor  # [B, L, 4]: x, y (m), cos, sin of each layer
    previous: Tensor  # [B, L, 4] one step earlier
    own: Tensor  # [M, B, L, 4] each member's world since the beginning
    own_previous: Tensor  # [M, B, L, 4] one step earlier


def begin(model: WorldModel, poses: Tensor) -> Imagined:
    """Return worlds at rest at poses [B, L, 4], with no doubt."""
    own = poses.expand(model.dynamics.config.members, -1, -1, -1)
    return Imagined(poses=poses, previous=poses, own=own, own_previous=own)


@torch.no_grad()
def advance(model: WorldModel, worlds: Imagined, targets: Tensor) -> Imagined:
    """Return worlds one step later, under targets [B, arms, 2], m, table frame."""
    poses, own = model.dynamics.step(
        worlds.poses, worlds.previous, worlds.own, worlds.own_previous, targets
    )
    return Imagined(poses=poses, previous=worlds.poses, own=own, own_previous=worlds.own)


def parting(worlds: Imagined) -> Tensor:
    """Return how far the members' objects lie from the imagined one, mean over members, m, [B]."""
    members, batch = worlds.own.shape[:2]
    centre = worlds.poses[:, 0].repeat(members, 1)
    apart: Tensor = motion(centre, worlds.own[:, :, 0].flatten(0, 1)).norm(dim=1)
    return apart.reshape(members, batch).mean(dim=0)


def doubt(model: WorldModel, worlds: Imagined) -> Tensor:
    """Return the error expected of the object's place by now, m, [B]."""
    return parting(worlds) * model.doubt_scale


def trust(doubt_m: Tensor) -> Tensor:
    """Return trust, 0..1, of doubts in m."""
    return torch.exp(-doubt_m / TRUST_M)
