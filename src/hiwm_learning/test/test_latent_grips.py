"""What hands hold: shown by recorded scenes, and learned from them."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.config import latent_config
from hiwm_learning.world_models.latent.recorded_scenes import RecordedScenes
from hiwm_learning.world_models.latent.shown_grips import grip_error, shown_grips, while_shut
from hiwm_test_support.arms import two_arms
from hiwm_test_support.latent_worlds import embodiment_with, moving_square

SIZE, LENGTH = 64, 30
START, SPEED = 12, 1  # column of hand and thing, and px per tick


@pytest.fixture(scope="module")
def clips() -> Clips:
    return moving_square(embodiment_with(32), runs=1, length=LENGTH, seed=0)


def scenes_with(columns: list[int]) -> RecordedScenes:
    """Return scenes with a square thing in row 30, at a column at each tick; -9: nowhere."""
    pictures = torch.full((len(columns), 1, 3, SIZE, SIZE), 40, dtype=torch.uint8)
    for picture, column in zip(pictures, columns, strict=True):
        if column >= 0:
            picture[..., 27:33, column - 3 : column + 3] = 220
    return RecordedScenes(
        pictures=pictures, hidden=torch.zeros(len(columns), 1, SIZE, SIZE, dtype=torch.uint8),
        light=torch.ones(len(columns), 1, 3), moving=torch.ones(len(columns), dtype=torch.bool),
    )


def hand_at(columns: list[int]) -> Tensor:
    """Return points [N, 1, 1, 2] of one hand in row 30."""
    x = (torch.tensor(columns) + 0.5) * 2.0 / SIZE - 1.0
    return torch.stack([x, torch.full_like(x, 30.5 * 2.0 / SIZE - 1.0)], dim=1)[:, None, None]


MOVES = [START + SPEED * tick for tick in range(LENGTH)]


@pytest.mark.parametrize(("things", "wanted"), [(MOVES, 1.0), ([START] * LENGTH, 0.0)])
def test_what_moves_with_a_hand_is_held(clips: Clips, things: list[int], wanted: float) -> None:
    found = shown_grips(clips, scenes_with(things), hand_at(MOVES), [None])[:, 0]
    assert found[0] == wanted
    assert found[-1].isnan(), "nothing follows the last tick"


def test_a_hand_that_stays_or_has_nothing_near_shows_nothing(clips: Clips) -> None:
    still = [START] * LENGTH
    assert shown_grips(clips, scenes_with(still), hand_at(still), [None]).isnan().all()
    assert shown_grips(clips, scenes_with([-9] * LENGTH), hand_at(MOVES), [None]).isnan().all()


def test_each_hand_is_told_apart(clips: Clips) -> None:
    hands = torch.cat([hand_at([START] * LENGTH), hand_at(MOVES)], dim=2)
    found = shown_grips(clips, scenes_with(MOVES), hands, [None] * 2)
    assert found[:, 0].isnan().all() and found[0, 1] == 1.0


def test_only_a_gripper_that_is_shut_shows_what_it_holds(clips: Clips) -> None:
    last = clips.actions.shape[1] - 1
    gripped = told(clips, [0.9] * 4 + [0.0] * (LENGTH - 4))
    found = shown_grips(gripped, scenes_with(MOVES), hand_at(MOVES), [last])[:, 0]
    assert found[:4].isnan().all() and found[4] == 1.0


def test_what_is_not_known_is_no_error_and_the_hard_ones_count_most() -> None:
    logits = torch.tensor([[4.0], [-1.0], [5.0]], requires_grad=True)
    unknown = torch.full_like(logits, torch.nan)
    assert float(grip_error(logits, unknown)) == 0.0
    wanted = torch.tensor([[1.0], [1.0], [torch.nan]])
    grip_error(logits, wanted).backward()
    assert logits.grad is not None
    sure, wrong, unseen = (-logits.grad[:, 0]).tolist()
    assert unseen == 0.0 and 0.0 < sure < 0.001 * wrong


def told(clips: Clips, command: list[float]) -> Clips:
    """Return the clips with a gripper told so at each tick, last in the action."""
    actions = torch.ones_like(clips.actions)
    actions[:, -1] = torch.tensor(command)
    return dataclasses.replace(clips, actions=actions)


def test_ticks_at_which_a_gripper_begins_to_close_are_found(clips: Clips) -> None:
    last = clips.actions.shape[1] - 1
    command = [0.9] * 5 + [0.6, 0.3, 0.0, 0.0] + [0.9] * 3 + [0.8] + [0.9] * 16 + [math.nan]
    gripped = told(clips, command)
    assert torch.nonzero(gripped.shut(last))[:, 0].tolist() == [6, 7, 8]
    assert gripped.closings([last]).tolist() == [6]
    assert gripped.closings([]).tolist() == []


def test_what_a_gripper_holds_it_holds_until_it_opens(clips: Clips) -> None:
    last = clips.actions.shape[1] - 1
    shut = [0.0] * 6
    gripped = told(clips, [0.9] * 3 + shut + [0.9] * 3 + shut + [0.9] * 3 + shut + [0.9] * 3)
    shown = torch.full((LENGTH, 1), torch.nan)
    shown[1] = 1.0  # still open: it only comes along
    shown[4:7, 0] = torch.tensor([1.0, 0.0, 1.0])
    shown[13] = 0.0
    found = while_shut(shown, gripped, [last])[:, 0].tolist()
    assert found[3:9] == [1.0] * 6 and found[12:18] == [0.0] * 6
    assert all(math.isnan(one) for one in found[21:27]), "nothing showed it"
    assert found[:3] == found[9:12] == found[18:21] == found[27:] == [0.0] * 3
    assert torch.equal(while_shut(shown, gripped, [None]).isnan(), shown.isnan())


def test_each_arm_has_its_own_gripper_or_none() -> None:
    assert latent_config(embodiment_with(32), network="tiny").grippers == (None, None)
    two = two_arms()
    grippers = [group for group in two.groups if group.kind == "gripper"]
    assert latent_config(two, network="tiny").grippers == tuple(
        next((g.start for g in grippers if g.arm == arm), None) for arm in two.arms
    )
