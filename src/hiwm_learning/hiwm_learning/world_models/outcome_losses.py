"""Losses of progress and success, for data in which not every frame has a label."""

import torch
from torch import Tensor


def mean_known(losses: Tensor, labels: Tensor) -> Tensor:
    """Return the mean loss of the rows with a label; 0 if no row has one.

    Args:
        losses: [N], of any value where there is no label.
        labels: [N], NaN where there is none.
    """
    known = ~labels.isnan()
    kept = torch.where(known, losses, torch.zeros_like(losses))
    return kept.sum() / known.sum().clamp_min(1)
