"""Frames that have left the training data are told from those that have not."""

import math

import numpy as np
import torch
from torch import Tensor

from hiwm_learning.world_models.latent.known_cells import KnownCells, cells_of
from hiwm_learning.world_models.simulators import reading


def scenes(count: int, seed: int, *, kinds: int = 6) -> Tensor:
    """Return differences [N, 1, 3, 80, 80] whose cells are noisy copies of a few."""
    some = 0.1 * torch.randn(kinds, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(kinds, (count, 10, 10), generator=generator)
    cells = some[chosen].permute(0, 3, 1, 4, 2, 5).reshape(count, 1, 3, 80, 80)
    return cells + 0.005 * torch.randn(cells.shape, generator=generator)


def fitted() -> KnownCells:
    known = KnownCells()
    known.fit(
        cells_of(scenes(80, 2)), cells_of(scenes(40, 3)), torch.Generator().manual_seed(0)
    )
    return known


def test_new_frames_of_the_same_kind_are_known_and_blurred_cells_are_not() -> None:
    known, fresh = fitted(), scenes(40, 4)
    assert float((known.strangeness(cells_of(fresh)) <= 1.0).float().mean()) >= 0.95
    melted = fresh.clone()
    # Two cells of a hundred lie between kinds, as an average over two outcomes does.
    place = (..., slice(32, 40), slice(32, 48))
    melted[place] = 0.5 * (fresh[place] + fresh.roll(7, 0)[..., 40:48, 32:48])
    apart = cells_of(melted - fresh).square().sum((1, 2)) > 0.05
    assert apart.sum() > 10
    found = known.strangeness(cells_of(melted))[apart]
    assert float((found > 1.0).float().mean()) > 0.9


def test_without_training_every_frame_is_known() -> None:
    assert not KnownCells().strangeness(cells_of(scenes(3, 5))).any()


def test_no_trust_in_a_frame_that_has_left_the_data() -> None:
    joints = np.zeros(2)

    def read(strangeness: float) -> float:
        return reading(
            {"trust"}, proprioception=joints, trust=0.9, progress=0.1, success=0.2,
            strangeness=strangeness,
        ).trust

    assert (read(0.9), read(1.1), read(math.nan)) == (0.9, 0.0, 0.9)
