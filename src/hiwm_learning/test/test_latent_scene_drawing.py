"""The next scene: cells in play move together, others stay, and edges get no teeth."""

import torch
from torch import Tensor

from hiwm_learning.world_models.latent.scene_drawing import SceneDrawing

GRID, SIDE, WIDTH, POINTS = (8, 8), 64, 12, 3
USUAL = torch.full((1, 1, 3, SIDE, SIDE), 0.5)


def drawing(seed: int = 0) -> SceneDrawing:
    torch.manual_seed(seed)
    return SceneDrawing(WIDTH, POINTS, GRID, told=4).requires_grad_(False)


def drawn(
    by: SceneDrawing, scene: Tensor, chosen: Tensor, tokens: Tensor, step_px: tuple[float, float]
) -> Tensor:
    """Return the next scene if each point of the robot moves by so much."""
    steps = torch.tensor(step_px).expand(1, len(chosen), POINTS, 2)
    found: Tensor = by(scene, USUAL, steps, chosen[None], tokens[None])
    return found


def cells(rows: range, columns: range) -> Tensor:
    return torch.tensor([row * GRID[1] + column for row in rows for column in columns])


def bar() -> Tensor:
    """Return a scene with a bright bar whose upper edge is row 27."""
    scene = USUAL.clone()
    scene[..., 27:32, 8:56] = 1.0
    return scene


def test_what_has_a_share_of_one_keeps_its_edges_straight() -> None:
    by = drawing()
    by.shares.bias[1] = 1.0
    in_play = cells(range(2, 6), range(8))
    found = drawn(by, bar(), in_play, torch.rand(len(in_play), WIDTH), (0.0, -3.0))
    torch.testing.assert_close(found, bar().roll(-3, dims=3), atol=1e-3, rtol=0.0)


def test_the_last_cells_in_play_move_as_far_as_the_others() -> None:
    """What lies beside them does not move, and does not hold them back."""
    by = drawing()
    by.shares.bias[1] = 1.0
    in_play = cells(range(3, 4), range(8))  # rows 24 to 31: the bar fills them
    found = drawn(by, bar(), in_play, torch.rand(len(in_play), WIDTH), (2.0, 0.0))
    torch.testing.assert_close(found[..., 27:32, 10:56], bar()[..., 27:32, 10:56])
    torch.testing.assert_close(found[..., 27:32, 8:10], USUAL[..., 27:32, 8:10])


def test_cells_that_are_not_in_play_stay_whatever_the_others_do() -> None:
    by = drawing()
    for layer in (by.shares, by.free, by.gate, by.painted):
        for weight in layer.parameters():
            torch.nn.init.normal_(weight)
    scene = torch.rand(1, 1, 3, SIDE, SIDE)
    in_play = cells(range(2, 4), range(2, 4))
    found = drawn(by, scene, in_play, torch.rand(len(in_play), WIDTH), (3.0, 1.0))
    changed = (found != scene).any(2)[0, 0]
    inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    inside[16:32, 16:32] = True
    assert changed[inside].float().mean() > 0.9 and not changed[~inside].any()


def test_only_cells_that_say_so_are_painted() -> None:
    by = drawing()
    for weight in by.painted.parameters():
        torch.nn.init.normal_(weight)
    scene = torch.rand(1, 1, 3, SIDE, SIDE)
    everywhere = torch.arange(GRID[0] * GRID[1])
    tokens = torch.zeros(len(everywhere), WIDTH)
    tokens[everywhere % GRID[1] < 4, 0] = 1.0  # the left half
    by.gate.weight[0, 0], by.gate.bias[0] = 40.0, -20.0
    painted = (drawn(by, scene, everywhere, tokens, (0.0, 0.0)) - scene).abs().amax(2)[0, 0] > 1e-3
    assert painted[:, :28].float().mean() > 0.9 and not painted[:, 36:].any()


def test_before_training_everything_stays_and_nothing_is_painted() -> None:
    scene = torch.rand(1, 1, 3, SIDE, SIDE)
    everywhere = torch.arange(GRID[0] * GRID[1])
    found = drawn(drawing(), scene, everywhere, torch.rand(len(everywhere), WIDTH), (5.0, 5.0))
    torch.testing.assert_close(found, scene, atol=1e-5, rtol=0.0)
