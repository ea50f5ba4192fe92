"""Losses of progress and success where labels are missing."""

import pytest
import torch

from hiwm_learning.world_models.outcome_losses import mean_known


def test_rows_without_a_label_do_not_count() -> None:
    nan = float("nan")
    losses = torch.tensor([1.0, nan, 3.0], requires_grad=True)
    mean = mean_known(losses, torch.tensor([0.0, nan, 1.0]))
    mean.backward()
    assert mean.item() == 2.0
    assert losses.grad is not None and losses.grad.tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("rows", [0, 3])
def test_without_labels_the_loss_is_zero(rows: int) -> None:
    assert float(mean_known(torch.ones(rows), torch.full((rows,), torch.nan))) == 0.0
