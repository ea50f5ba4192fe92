"""Motions that all of a thing shares: the picture moves as a whole, and still things stay."""

import math

import torch
from torch import Tensor

from hiwm_learning.world_models.latent.rigid_motions import Motions, RigidMotions, moved_rigidly
from hiwm_learning.world_models.latent.scene_drawing import SceneDrawing

SIDE, GRID, WIDTH = 32, (4, 4), 12


def motions(
    shift: tuple[float, float], turn: float, pivot: tuple[float, float], cells: int = 16
) -> Motions:
    """Return one motion of one camera, to which all cells belong."""
    return Motions(
        shift=torch.tensor([[[shift]]]), turn=torch.tensor([[[turn]]]),
        pivot=torch.tensor([[[pivot]]]), belongs=torch.full((1, cells, 1), 30.0),
    )


def bar() -> Tensor:
    """Return a scene with a bright bar, 8 px wide and 4 px high, its middle at (24, 12)."""
    scene = torch.zeros(1, 1, 3, SIDE, SIDE)
    scene[..., 10:14, 20:28] = 1.0
    return scene


def test_a_shift_moves_right_and_down() -> None:
    moved = moved_rigidly(bar(), motions((-3.0, 2.0), 0.0, (5.0, 5.0)))
    torch.testing.assert_close(moved[:, 0], bar()[0].roll((2, -3), dims=(-2, -1)))


def test_a_turn_goes_about_its_pivot_from_right_to_down() -> None:
    about_its_middle = moved_rigidly(bar(), motions((0.0, 0.0), math.pi / 2, (8.0, -4.0)))
    expected = torch.zeros(3, SIDE, SIDE)
    expected[:, 8:16, 22:26] = 1.0
    torch.testing.assert_close(about_its_middle[0, 0], expected, atol=1e-5, rtol=0.0)
    # Right of the middle of the picture and a little up: a quarter turn brings it below.
    about_the_picture = moved_rigidly(bar(), motions((0.0, 0.0), math.pi / 2, (0.0, 0.0)))
    expected = torch.zeros(3, SIDE, SIDE)
    expected[:, 20:28, 18:22] = 1.0
    torch.testing.assert_close(about_the_picture[0, 0], expected, atol=1e-5, rtol=0.0)


def test_two_quarter_turns_are_a_half_turn() -> None:
    scene = torch.rand(1, 1, 3, SIDE, SIDE)
    quarter = motions((0.0, 0.0), math.pi / 2, (0.0, 0.0))
    twice = moved_rigidly(moved_rigidly(scene, quarter), quarter)
    torch.testing.assert_close(twice[0, 0], scene[0, 0].flip(-1, -2), atol=1e-4, rtol=0.0)


def test_no_motion_leaves_every_pixel() -> None:
    scene = torch.rand(1, 1, 3, SIDE, SIDE)
    moved = moved_rigidly(scene, motions((0.0, 0.0), 0.0, (3.3, 7.1)))
    torch.testing.assert_close(moved[:, 0], scene[0], atol=1e-5, rtol=0.0)


def test_tiny_motions_are_none_and_still_learn() -> None:
    told = RigidMotions(WIDTH, cameras=1, count=2, grid=GRID, cell=8)
    with torch.no_grad():
        told.motion.bias.copy_(torch.tensor([0.01, 0.0, 0.0]))  # 0.005 px
    found = told(torch.zeros(1, 2, WIDTH), torch.zeros(1, 3, WIDTH), torch.tensor([[0, 1, 2]]))
    assert not found.shift.any() and not found.turn.any()
    found.shift.sum().backward()
    assert told.motion.bias.grad is not None and told.motion.bias.grad[0] > 0.0


def test_a_thing_turns_about_the_cells_that_belong_to_it() -> None:
    """Each camera has its own cells; their places are in px from the middle of its picture."""
    told = RigidMotions(WIDTH, cameras=2, count=1, grid=GRID, cell=8).requires_grad_(False)
    told.query.weight.copy_(torch.eye(WIDTH))
    told.query.bias.zero_()
    told.key.weight.copy_(torch.eye(WIDTH))
    of_motion = torch.zeros(1, 2, WIDTH)
    of_motion[..., 0] = 30.0
    of_cells = torch.zeros(1, 6, WIDTH)
    of_cells[0, [1, 4, 5], 0] = 10.0
    chosen = torch.tensor([[0, 3, 12, 16 + 0, 16 + 5, 16 + 6]])
    found = told(of_motion, of_cells, chosen)
    torch.testing.assert_close(found.pivot[0, 0, 0], torch.tensor([12.0, -12.0]))
    torch.testing.assert_close(found.pivot[0, 1, 0], torch.tensor([0.0, -4.0]))


def test_a_thing_that_takes_a_shared_motion_does_not_bend() -> None:
    torch.manual_seed(0)
    by = SceneDrawing(WIDTH, 3, GRID, told=4, rigid=1).requires_grad_(False)
    everywhere, scene = torch.arange(16)[None], bar()
    for turn in (0.0, 0.3, -0.8):
        moving = motions((1.5, -0.5), turn, (8.0, -4.0))
        found = by(
            scene, torch.zeros_like(scene), torch.zeros(1, 16, 3, 2), everywhere,
            torch.randn(1, 16, WIDTH), moving,
        )
        torch.testing.assert_close(found, moved_rigidly(scene, moving), atol=2e-3, rtol=0.0)


def test_cells_that_belong_to_none_stay() -> None:
    torch.manual_seed(0)
    by = SceneDrawing(WIDTH, 3, GRID, told=4, rigid=1).requires_grad_(False)
    moving = motions((3.0, 0.0), 0.0, (0.0, 0.0))
    left = torch.arange(16) % 4 < 2
    moving.belongs[:, left] = -30.0
    scene = torch.rand(1, 1, 3, SIDE, SIDE)
    found = by(
        scene, torch.zeros_like(scene), torch.zeros(1, 16, 3, 2), torch.arange(16)[None],
        torch.randn(1, 16, WIDTH), moving,
    )
    torch.testing.assert_close(found[..., :12], scene[..., :12], atol=2e-3, rtol=0.0)
    torch.testing.assert_close(
        found[..., 20:29], scene.roll(3, -1)[..., 20:29], atol=2e-3, rtol=0.0
    )
