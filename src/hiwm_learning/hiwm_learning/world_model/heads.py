"""What the model says of a state besides its picture: progress and success."""

import torch
from torch import Tensor, nn

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
    head: OutcomeHead, poses: Tensor, labels: Tensor, success_progress: float, seed: int,
    steps: int = 4000, batch: int = 512,
) -> tuple[float, float]:
    """Fit a head in place.

    Args:
        head: to fit.
        poses: [N, 4] object poses.
        labels: [N] of progress.
        success_progress: progress that counts as success.
        seed: of the batches.
        steps: of Adam.
        batch: rows a step.

    Returns:
        mean absolute error of progress, and accuracy of success, on the last tenth of the rows.
    """
    generator = torch.Generator().manual_seed(seed)
    cut = int(len(poses) * 0.9)
    optimiser = torch.optim.Adam(head.parameters(), lr=2e-3)
    # Most ticks are far from the goal: half of every batch is drawn from those near it.
    near = torch.nonzero(labels[:cut] > success_progress - 0.25)[:, 0]
    for step in range(steps):
        rows = torch.randint(cut, (batch,), generator=generator)
        if len(near):
            half = near[torch.randint(len(near), (batch // 2,), generator=generator)]
            rows = torch.cat([rows[: batch // 2], half])
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps) + 1e-5
        progress, logit = head(poses[rows])
        wanted = labels[rows]
        loss = (progress - wanted).abs().mean() + nn.functional.binary_cross_entropy_with_logits(
            logit, (wanted >= success_progress).float()
        ) * 0.2
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        progress, logit = head(poses[cut:])
        error = float((progress - labels[cut:]).abs().mean())
        right = float(((logit > 0) == (labels[cut:] >= success_progress)).float().mean())
    return error, right
