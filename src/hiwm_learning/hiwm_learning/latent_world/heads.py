"""What is read from latents besides pictures: proprioception, progress, success, and doubt."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.latent_world.dynamics import ActionScale
from hiwm_learning.policies.networks import SpatialSoftmax

COARSE = 8  # doubt compares latents averaged to this many cells a side


def _known(actions: Tensor) -> Tensor:
    """Return scaled actions [B, A] with NaN as 0, and whether each was known, [B, A + 1]."""
    return torch.cat([torch.nan_to_num(actions), (~actions[:, :1].isnan()).float()], dim=1)


class OutcomeHead(nn.Module):
    """Proprioception, progress and success of the present.

    Args:
        channels: of the latents of all cameras, K.
        action_dim: length of an action.
        proprio_dim: length of a proprioception array.
        width: of the layers.
    """

    def __init__(self, channels: int, action_dim: int, proprio_dim: int, width: int) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(2 * channels, width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.SiLU(),
        )
        # Where things are, to a fraction of a cell; pooled features tell what is there.
        self.places = SpatialSoftmax(width, 16)
        self.pooled = nn.AdaptiveAvgPool2d(3)
        self.judge = nn.Sequential(
            nn.Linear(32 + 9 * width + action_dim + 1, 4 * width), nn.SiLU(),
            nn.Linear(4 * width, 4 * width), nn.SiLU(), nn.Linear(4 * width, proprio_dim + 2),
        )

    def forward(
        self, before: Tensor, now: Tensor, action: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return proprioception [B, P] in standard deviations, progress [B], success logit [B].

        Args:
            before: [B, K, h, w] the latent before the present one.
            now: [B, K, h, w] the present one.
            action: [B, A] scaled, the one that led here; NaN = none known.
        """
        seen = self.look(torch.cat([now, now - before], dim=1))
        features = [self.places(seen), self.pooled(seen).flatten(1), _known(action)]
        out = self.judge(torch.cat(features, dim=1))
        return out[:, :-2], torch.sigmoid(out[:, -2]), out[:, -1]


class DoubtEnsemble(nn.Module):
    """Small predictors of the next latent, coarsely, that differ where the data were thin.

    Trained alike from different initial weights; their disagreement is the novelty of a step, as in
    Plan2Explore (arXiv 2005.05960). It costs little beside the dynamics.

    Args:
        channels: of the latents of all cameras, K.
        action_dim: length of an action.
        members: how many.
        width: of each.
        scale: draws the actions.
    """

    def __init__(
        self, channels: int, action_dim: int, members: int, width: int, scale: ActionScale
    ) -> None:
        super().__init__()
        self._scale = [scale]  # in a list: not a submodule
        inputs = 2 * channels + action_dim + 1 + len(scale.planes)
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, width, 3, padding=1), nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1), nn.SiLU(),
                nn.Conv2d(width, channels, 3, padding=1),
            )
            for _ in range(members)
        )

    def forward(self, before: Tensor, now: Tensor, action: Tensor) -> Tensor:
        """Return each member's change to the coarse next latent, [M, B, K, COARSE, COARSE].

        Args:
            before: [B, K, h, w] the latent before the present one.
            now: [B, K, h, w] the present one.
            action: [B, A] scaled, the one to be taken.
        """
        planes = coarse(self._scale[0].drawn(action))
        told = _known(action)[:, :, None, None].expand(-1, -1, COARSE, COARSE)
        seen = torch.cat([coarse(now), coarse(now - before), told, planes], dim=1)
        return torch.stack([member(seen) for member in self.members])

    def spread(self, before: Tensor, now: Tensor, action: Tensor) -> Tensor:
        """Return how far the members are apart, root mean square over cells, [B]."""
        guesses = self(before, now, action)
        spread: Tensor = guesses.var(0).flatten(1).mean(1).sqrt()
        return spread


def coarse(latents: Tensor) -> Tensor:
    """Return latents [B, K, h, w] averaged to [B, K, COARSE, COARSE]."""
    return functional.adaptive_avg_pool2d(latents, COARSE)
