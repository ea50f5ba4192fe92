"""What the model says of a state besides its picture: progress and success."""

import torch
from torch import Tensor, nn

from hiwm_learning.world_models.outcome_losses import mean_known

# Object positions are divided by this before they enter, m: half the table.
REACH_M = 0.2
FREQUENCIES = 3


class OutcomeHead(nn.Module):
    """Progress and success from the object's pose; labels come from people or the stand-in."""

    def __init__(self, hidden: int = 96) -> None:
        super().__init__()
        inputs = 4 * (1 + 2 * FREQUENCIES)
        self.net = nn.Sequential(
            nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, 2),
        )

    def forward(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Return progress [B] and the logit of success [B] for object poses [B, 4]."""
        x = torch.cat([pose[:, :2] / REACH_M, pose[:, 2:]], dim=1)
        waves = [x]
        for k in range(FREQUENCIES):
            waves += [(x * 2.0**k * torch.pi).sin(), (x * 2.0**k * torch.pi).cos()]
        out = self.net(torch.cat(waves, dim=1))
        return torch.sigmoid(out[:, 0]), out[:, 1]


def fit_head(
    head: OutcomeHead, poses: Tensor, progress_labels: Tensor, success_labels: Tensor,
    success_progress: float, seed: int, steps: int = 4000, batch: int = 512,
) -> tuple[float, float]:
    """Fit a head in place.

    Args:
        head: to fit.
        poses: [N, 4] object poses.
        progress_labels: [N], NaN where there is none.
        success_labels: [N] 0 or 1, NaN where there is none.
        success_progress: progress that counts as success.
        seed: of the batches.
        steps: of Adam.
        batch: rows a step.

    Returns:
        mean absolute error of progress, and accuracy of success, on the last tenth of the rows;
        NaN without labels of it.
    """
    generator = torch.Generator().manual_seed(seed)
    cut = int(len(poses) * 0.9)
    optimiser = torch.optim.Adam(head.parameters(), lr=2e-3)
    # Most ticks are far from the goal: half of every batch is drawn from those near it.
    good = (progress_labels[:cut] > success_progress - 0.25) | (success_labels[:cut] > 0.5)
    near = torch.nonzero(good)[:, 0]
    for step in range(steps):
        rows = torch.randint(cut, (batch,), generator=generator)
        if len(near):
            half = near[torch.randint(len(near), (batch // 2,), generator=generator)]
            rows = torch.cat([rows[: batch // 2], half])
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps) + 1e-5
        progress, logit = head(poses[rows])
        wanted, solved = progress_labels[rows], success_labels[rows]
        right = nn.functional.binary_cross_entropy_with_logits(
            logit, torch.nan_to_num(solved), reduction="none"
        )
        loss = mean_known((progress - wanted).abs(), wanted) + 0.2 * mean_known(right, solved)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        progress, logit = head(poses[cut:])
        wanted, solved = progress_labels[cut:], success_labels[cut:]
        error = (progress - wanted).abs()[~wanted.isnan()].mean()
        hits = ((logit > 0) == (solved > 0.5)).float()[~solved.isnan()].mean()
    return float(error), float(hits)
