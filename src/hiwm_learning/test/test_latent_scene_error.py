"""How far imagined scenes are from true ones, and what is taken for true under a hand."""

import torch

from hiwm_learning.world_models.latent.scene_error import (
    contrast_error,
    distance,
    left_alone,
    scene_error,
    seen_weight,
    stays_hidden,
)

SIZE = 32


def test_an_error_where_the_robot_hides_it_is_none() -> None:
    truth, usual = torch.rand(2, 1, 3, SIZE, SIZE), torch.full((2, 1, 3, SIZE, SIZE), 0.5)
    found, hidden = truth.clone(), torch.zeros(2, 1, SIZE, SIZE)
    found[..., 4:12, 4:12] = 1.0 - truth[..., 4:12, 4:12]
    hidden[1, :, 2:14, 2:14] = 1.0
    errors = scene_error(found, truth, seen_weight(truth, truth, usual, hidden))
    assert errors[0] > 0.1 and errors[1] == 0.0
    apart = distance(found, truth, hidden)
    assert apart[0] > 0.01 and apart[1] < 1e-4


def test_a_thin_thing_beside_its_place_is_less_wrong_than_one_far_away() -> None:
    usual = torch.full((1, 1, 3, SIZE, SIZE), 0.5)
    scenes = [usual.clone() for _ in range(3)]
    for scene, column in zip(scenes, (8, 10, 24), strict=True):
        scene[..., column : column + 2] = 1.0
    weight = seen_weight(scenes[0], scenes[0], usual, torch.zeros(1, 1, SIZE, SIZE))
    beside, away = (scene_error(scene, scenes[0], weight) for scene in scenes[1:])
    assert beside < 0.95 * away


def test_fading_and_smearing_do_not_pay_though_being_beside_costs_more_per_pixel() -> None:
    usual = torch.full((1, 1, 3, SIZE, SIZE), 0.5)
    true, beside, faded, smeared = (usual.clone() for _ in range(4))
    true[..., 8:10], beside[..., 10:12], faded[..., 8:10], smeared[..., 5:13] = 1.0, 1.0, 0.6, 0.625
    hidden = torch.zeros(1, 1, SIZE, SIZE)
    weight = seen_weight(true, true, usual, hidden)
    off = [scene_error(scene, true, weight) for scene in (beside, faded, smeared)]
    assert off[0] > off[1] and off[0] > off[2]
    lost = [contrast_error(scene, true, usual, hidden) for scene in (beside, faded, smeared)]
    assert lost[0] < 0.3 * lost[1] and lost[0] < 0.3 * lost[2]


def test_what_is_hidden_has_no_contrast() -> None:
    usual, hidden = torch.full((1, 1, 3, SIZE, SIZE), 0.5), torch.zeros(1, 1, SIZE, SIZE)
    true, found = usual.clone(), usual.clone()
    found[..., 4:12, 4:12] = 1.0
    hidden[..., 4:12, 4:12] = 1.0
    assert contrast_error(found, true, usual, hidden) == 0.0


def test_all_stays_where_hands_are_told_that_they_are_empty() -> None:
    now, true = (torch.full((2, 2, 3, 4, 4), value) for value in (0.2, 0.8))
    hidden = torch.full((2, 2, 4, 4), 0.4)
    empty, still = torch.tensor([True, False]), torch.tensor([True, False])
    truth, masked = left_alone(now, true, hidden, empty, still)
    assert torch.equal(truth[0, 0], now[0, 0]) and not masked[0, 0].any()
    assert (masked[0, 1] == 1.0).all(), "a camera that moves sees something else, nobody knows what"
    assert torch.equal(truth[1], true[1]) and torch.equal(masked[1], hidden[1])


def test_what_is_hidden_stays_unless_a_hand_holds_something() -> None:
    now, true = (torch.full((2, 1, 3, 4, 4), value) for value in (0.2, 0.8))
    hidden = torch.zeros(2, 1, 4, 4)
    hidden[:, :, :2] = 1.0
    truth, masked = stays_hidden(now, true, hidden, torch.tensor([True, False]))
    assert torch.equal(truth[0, ..., :2, :], now[0, ..., :2, :])
    assert torch.equal(truth[0, ..., 2:, :], true[0, ..., 2:, :])
    assert torch.equal(truth[1], true[1])
    assert masked[0].sum() == 0.0 and torch.equal(masked[1], hidden[1])
