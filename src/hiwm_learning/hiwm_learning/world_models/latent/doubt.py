"""How far an imagined scene is likely to be off: more with each step that is hard to foresee."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_WIDTH = 64
_KEPT = 4.0  # logit of the share of the doubt that is kept in a step, before training
_ADDED = -5.0  # what is added in a step, before training, before its softplus
_FAR = 6.0  # deviations from the mean; what is farther is no more unusual
LEAST = 0.01  # doubts below it are alike


class Doubt(nn.Module):
    """Doubt after a step: a share of that before, and something new.

    So it stays bounded however long a world is left alone.

    Args:
        summary: length of the dynamics' summary of a step.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, summary: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(summary))
        self.register_buffer("deviation", torch.ones(summary))
        self.net = nn.Sequential(
            nn.Linear(summary + 1, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU(),
            nn.Linear(_WIDTH, 2),
        )
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, summary: Tensor, doubt: Tensor) -> Tensor:
        """Return the doubt [B] after a step, of the summary [B, S] and the doubt [B] before it."""
        with torch.autocast(summary.device.type, enabled=False):
            known = torch.log(doubt + LEAST)[:, None]
            usual = ((summary.float() - self.mean) / self.deviation).clamp(-_FAR, _FAR)
            kept, added = self.net(torch.cat([usual, known], dim=1)).unbind(1)
            found: Tensor = doubt * torch.sigmoid(kept + _KEPT) + functional.softplus(
                added + _ADDED
            )
            return found

    def set_units(self, summaries: Tensor) -> None:
        """Learn what summaries [N, S] usually are; a doubt that knows it keeps it.

        Not standardised, their features told so little of the error that its rank correlation,
        where something moves, was .2 and not .5.
        """
        if bool((self.deviation != 1.0).any()):
            return
        self.mean.copy_(summaries.float().mean(0))
        self.deviation.copy_(summaries.float().std(0).clamp_min(1e-3))


def doubt_error(doubt: Tensor, truth: Tensor) -> Tensor:
    """Return how wrong doubts [B] are of true distances [B]: by which factor, as a logarithm."""
    return (torch.log(doubt + LEAST) - torch.log(truth + LEAST)).abs()
