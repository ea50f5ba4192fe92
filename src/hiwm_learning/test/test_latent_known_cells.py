"""Frames that have left the training data are told from those that have not."""

import math

import numpy as np
import torch
from torch import Tensor

from hiwm_learning.world_models.latent.known_cells import KnownCells
from hiwm_learning.world_models.simulators import reading


def latents(count: int, seed: int, *, kinds: int = 6) -> Tensor:
    """Return latents [N, 1, 8, 10, 10] whose cells are noisy copies of a few."""
    some = torch.randn(kinds, 8, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(kinds, (count, 10, 10), generator=generator)
    cells = some[chosen] + 0.05 * torch.randn(count, 10, 10, 8, generator=generator)
    return cells.movedim(-1, 1)[:, None]


def fitted() -> KnownCells:
    known = KnownCells(8)
    known.fit(latents(80, 2), latents(40, 3), torch.Generator().manual_seed(0))
    return known


def test_new_frames_of_the_same_kind_are_known_and_blurred_cells_are_not() -> None:
    known, fresh = fitted(), latents(40, 4)
    assert float((known.strangeness(fresh) <= 1.0).float().mean()) >= 0.95
    melted = fresh.clone()
    # Two cells of a hundred lie between kinds, as an average over two outcomes does.
    melted[:, :, :, 4, 4:6] = 0.5 * (fresh[:, :, :, 4, 4:6] + fresh.roll(7, 0)[:, :, :, 5, 4:6])
    apart = (melted - fresh).square().sum((1, 2, 3, 4)) > 2.0
    assert float((known.strangeness(melted)[apart] > 1.0).float().mean()) > 0.9


def test_without_training_every_frame_is_known() -> None:
    assert not KnownCells(8).strangeness(latents(3, 5)).any()


def test_no_trust_in_a_frame_that_has_left_the_data() -> None:
    joints = np.zeros(2)

    def read(strangeness: float) -> float:
        return reading(
            {"trust"}, proprioception=joints, trust=0.9, progress=0.1, success=0.2,
            strangeness=strangeness,
        ).trust

    assert (read(0.9), read(1.1), read(math.nan)) == (0.9, 0.0, 0.9)
