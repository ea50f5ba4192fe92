"""Pieces: cells that belong together move as one, by the shift and turn that fit them best."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hiwm_learning.world_models.latent.rigid_motions import RigidMotions, fitted, moved_by
from hiwm_learning.world_models.latent.scene_drawing import SceneDrawing

SIDE, GRID, WIDTH = 32, (4, 4), 12


def places() -> Tensor:
    """Return the middles of 16 cells of 8 px, [16, 2], px from the middle of the picture."""
    along = torch.arange(4) * 8.0 - 12.0
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1).flatten(0, 1)


def moves_of(shift: tuple[float, float], turn: float, pivot: tuple[float, float]) -> Tensor:
    return moved_by(places(), torch.tensor(shift), torch.tensor(turn), torch.tensor(pivot))


def test_what_is_shifted_was_before_where_it_came_from() -> None:
    torch.testing.assert_close(
        moves_of((3.0, -2.0), 0.0, (5.0, 5.0)), torch.tensor([3.0, -2.0]).expand(16, 2)
    )


def test_a_turn_goes_from_right_to_down_about_its_pivot() -> None:
    moves = moves_of((0.0, 0.0), math.pi / 2, (-4.0, -4.0))
    torch.testing.assert_close(moves[5], torch.zeros(2), atol=1e-5, rtol=0.0)  # at the pivot
    # What is now 8 px below it was 8 px to its right.
    torch.testing.assert_close(places()[9] - moves[9], torch.tensor([4.0, -4.0]))


@settings(deadline=None)
@given(
    shift=st.tuples(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0)), turn=st.floats(-0.5, 0.5),
    pivot=st.tuples(st.floats(-12.0, 12.0), st.floats(-12.0, 12.0)),
)
def test_a_rigid_motion_fits_itself(
    shift: tuple[float, float], turn: float, pivot: tuple[float, float]
) -> None:
    moves = moves_of(shift, turn, pivot)
    found = fitted(places(), moves, torch.ones(16, 1))[:, 0]
    torch.testing.assert_close(found, moves, atol=5e-3, rtol=1e-3)


def test_errors_of_single_cells_cancel_out() -> None:
    moves = moves_of((0.5, 0.2), 0.02, (2.0, 0.0))
    noise = 0.2 * torch.randn(200, 16, 2, generator=torch.Generator().manual_seed(0))
    found = fitted(places().expand(200, 16, 2), moves + noise, torch.ones(200, 16, 1))[:, :, 0]
    assert (found - moves).square().mean().sqrt() < 0.5 * noise.square().mean().sqrt()


def test_each_piece_heeds_only_its_own_cells() -> None:
    left = (torch.arange(16) % 4 < 2).float()
    moves = left[:, None] * torch.tensor([1.0, 0.0])
    found = fitted(places(), moves, torch.stack([left, 1.0 - left], dim=1))
    torch.testing.assert_close(found[:, 0], torch.tensor([1.0, 0.0]).expand(16, 2))
    torch.testing.assert_close(found[:, 1], torch.zeros(16, 2))


@pytest.mark.parametrize("cells", [0, 1])
def test_a_piece_of_nothing_or_of_one_cell_stays_finite(cells: int) -> None:
    shares = torch.zeros(16, 1)
    shares[:cells] = 1.0
    moves = torch.randn(16, 2, requires_grad=True)
    found = fitted(places(), moves, shares)
    found.square().sum().backward()
    assert found.isfinite().all() and moves.grad is not None and moves.grad.isfinite().all()


def piece(belongs: bool) -> RigidMotions:
    """Return one piece to which all cells belong, or none."""
    rigid = RigidMotions(WIDTH, cameras=1, count=1, grid=GRID, cell=8).requires_grad_(False)
    rigid.belongs.weight.zero_()
    rigid.belongs.bias.copy_(torch.tensor([-30.0, 30.0] if belongs else [30.0, -30.0]))
    return rigid


def bar() -> Tensor:
    """Return a scene with a bright bar, 16 px wide and 4 px high, in its middle."""
    scene = torch.zeros(1, 1, 3, SIDE, SIDE)
    scene[..., 14:18, 8:24] = 1.0
    return scene


def drawn_with(rigid: RigidMotions) -> Tensor:
    """Return the bar if cells propose to go down, some farther than others."""
    torch.manual_seed(0)
    by = SceneDrawing(WIDTH, 3, GRID, told=4).requires_grad_(False)
    tokens = torch.zeros(1, 16, WIDTH)
    tokens[0, :, :2] = moves_of((0.0, 2.0), 0.0, (0.0, 0.0))
    tokens[0, :, 1] += torch.tensor([2.0, -2.0]).repeat(8)  # neighbours disagree
    by.free.weight.zero_()
    by.free.weight[0, 0] = by.free.weight[1, 1] = 2.0  # half of it is the motion in px
    found: Tensor = by(
        bar(), torch.zeros(1, 1, 3, SIDE, SIDE), torch.zeros(1, 16, 3, 2),
        torch.arange(16)[None], tokens, rigid,
    )
    return found


def test_a_piece_does_not_bend_though_its_cells_disagree() -> None:
    def straightness(scene: Tensor) -> float:
        """Return how far the middles of the bar's columns lie from a line, px."""
        columns = scene[0, 0, 0, :, 10:22].clamp_min(0.0)
        rows = torch.arange(SIDE)[:, None].float()
        middles = (columns * rows).sum(0) / columns.sum(0)
        x = torch.arange(12.0)
        line = torch.stack([x, torch.ones(12)], dim=1)
        fit = torch.linalg.lstsq(line, middles[:, None]).solution
        return float((line @ fit - middles[:, None]).abs().max())

    assert straightness(drawn_with(piece(belongs=True))) < 0.1
    assert straightness(drawn_with(piece(belongs=False))) > 0.3


def test_cells_of_one_camera_do_not_move_those_of_another() -> None:
    rigid = RigidMotions(WIDTH, cameras=2, count=1, grid=GRID, cell=8).requires_grad_(False)
    proposed = torch.zeros(1, 8, 2)
    proposed[:, 4:] = torch.tensor([1.0, -1.0])
    chosen = torch.tensor([[0, 1, 4, 5, 16, 17, 20, 21]])
    found = rigid(proposed, torch.zeros(1, 8, WIDTH), chosen)
    torch.testing.assert_close(found, proposed)
