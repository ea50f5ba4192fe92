"""What a hand sees around it depends on where things lie relative to it, and on nothing else."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from hiwm_learning.world_models.latent.glimpses import around

SIZE = (40, 48)


def pictures_of(row: int, column: int) -> torch.Tensor:
    """Return a picture [1, 1, 3, H, W] with a small square at a place, px."""
    found = torch.zeros(1, 1, 3, *SIZE)
    found[..., row : row + 3, column : column + 3] = 1.0
    return found


def place(row: float, column: float) -> torch.Tensor:
    """Return a place in px as [2], x before y, -1..1."""
    return torch.tensor([(column + 0.5) * 2 / SIZE[1] - 1, (row + 0.5) * 2 / SIZE[0] - 1])


@given(st.integers(-4, 4), st.integers(-4, 4))
def test_a_hand_that_moves_with_a_thing_sees_the_same(down: int, right: int) -> None:
    still = around(pictures_of(18, 22), place(20, 24)[None, None, None], 4)
    moved = around(
        pictures_of(18 + down, 22 + right), place(20 + down, 24 + right)[None, None, None], 4
    )
    torch.testing.assert_close(still, moved, atol=1e-4, rtol=0.0)


def test_a_pixel_beside_the_hand_shows() -> None:
    hands = torch.stack([place(20, 24), place(10, 10)])[None, None]
    beside = around(pictures_of(19, 25), hands, 6)
    assert beside.shape == (1, 2, 3 * 36)
    assert (beside[0, 0] - around(pictures_of(19, 26), hands, 6)[0, 0]).abs().max() > 0.2
    assert beside[0, 1].abs().max() == 0.0  # the other hand is far away
    # The middle of the samples lies on the hand.
    centre = around(pictures_of(19, 23), hands, 2)[0, 0].reshape(3, 2, 2)
    torch.testing.assert_close(centre.amax((1, 2)), centre.amin((1, 2)), atol=1e-4, rtol=0.0)


def test_each_camera_and_hand_has_its_own_picture() -> None:
    pictures = torch.cat([pictures_of(5, 5), pictures_of(30, 30)], dim=1)
    hands = torch.stack([
        torch.stack([place(6, 6), place(31, 31)]), torch.stack([place(6, 6), place(31, 31)])
    ])[None]
    seen = around(pictures, hands, 4)[0].abs().amax(1)
    assert (seen > 0.5).tolist() == [True, False, False, True]
