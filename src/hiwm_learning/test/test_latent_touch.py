"""What each hand is about to meet: seen where it comes next, by each hand for itself."""

import torch
from torch import Tensor

from hiwm_learning.world_models.latent.touch import Touch

SIDE, WIDTH = 32, 12


def touch(cameras: int = 1, hands: int = 2) -> Touch:
    torch.manual_seed(0)
    return Touch(WIDTH, cameras, hands, side=4, size=(SIDE, SIDE)).requires_grad_(False)


def hands_at(*next_px: tuple[float, float], now_px: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """Return hands that come to places, px from the middle of the picture, [1, 3, 1, hands, 2]."""
    found = torch.tensor(now_px).expand(1, 3, 1, len(next_px), 2) / (SIDE / 2)
    found = found.clone()
    found[0, 2, 0] = torch.tensor(next_px) / (SIDE / 2)
    return found


def test_a_hand_sees_what_is_where_it_comes_and_nothing_else() -> None:
    sees = touch()
    hands = hands_at((8.0, 8.0), (-8.0, -8.0))
    empty = sees(torch.zeros(1, 1, 3, SIDE, SIDE), hands)
    scene = torch.zeros(1, 1, 3, SIDE, SIDE)
    scene[..., 22:26, 22:26] = 1.0  # where the first hand comes
    changed = (sees(scene, hands) - empty).abs().amax(-1)[0]
    assert changed[0] > 0.01 and changed[1] == 0.0


def test_it_notices_half_a_pixel() -> None:
    sees = touch()
    edge = torch.zeros(1, 1, 3, SIDE, SIDE)
    edge[..., 20:] = 1.0
    near = sees(edge, hands_at((3.0, 0.0), (0.0, 0.0)))
    nearer = sees(edge, hands_at((3.5, 0.0), (0.0, 0.0)))
    assert (near - nearer)[0, 0].abs().amax() > 0.01
    assert torch.equal(near[0, 1], nearer[0, 1])


def test_a_hand_knows_from_where_it_comes() -> None:
    sees = touch(hands=1)
    scene = torch.rand(1, 1, 3, SIDE, SIDE)
    from_left = sees(scene, hands_at((4.0, 0.0), now_px=(3.0, 0.0)))
    from_right = sees(scene, hands_at((4.0, 0.0), now_px=(5.0, 0.0)))
    assert (from_left - from_right).abs().amax() > 0.01


def test_hands_differ_and_cameras_are_seen_together() -> None:
    sees = touch(cameras=2)
    scene = torch.zeros(1, 2, 3, SIDE, SIDE)
    hands = torch.zeros(1, 3, 2, 2, 2)
    alike = sees(scene, hands)
    assert alike.shape == (1, 2, WIDTH)
    assert not torch.equal(alike[0, 0], alike[0, 1])
    for camera in range(2):
        other = scene.clone()
        other[:, camera] = 1.0
        assert (sees(other, hands) - alike).abs().amax() > 0.01
