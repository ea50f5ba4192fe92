"""What hands hold, told by fingers that stay open."""

import dataclasses

import pytest
import torch
from torch import Tensor

from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.finger_grips import by_fingers, telling_fingers
from hiwm_test_support.latent_worlds import embodiment_with, moving_square

LENGTH = 24
OPEN, THICK = 0.8, 0.2
CLOSES = [0.6, 0.4]  # openings while a gripper closes
GRIPPERS = {0: 1}


def gripped(*runs: list[float]) -> tuple[Clips, Tensor]:
    """Return clips whose gripper is told to shut from tick 4 to 17, with its openings; and shut."""
    clips = moving_square(embodiment_with(32), runs=len(runs), length=LENGTH, seed=0)
    tick = torch.arange(len(clips)) - clips.first
    told = (tick >= 4) & (tick < 18)
    actions, measured = clips.actions.clone(), clips.measured.clone()
    actions[:, 1] = torch.where(told, 0.0, OPEN)
    measured[:, 1] = torch.tensor([opening for run in runs for opening in run])
    shut = torch.stack([told, torch.ones_like(told)], dim=1)
    return dataclasses.replace(clips, actions=actions, measured=measured), shut


def openings(shut: list[float]) -> list[float]:
    """Return the openings of a run: open, those while it shuts, and open again.

    A command leads to the next tick: at the first one, the gripper is still open.
    """
    return [*[OPEN] * 5, *CLOSES, *shut, *[0.5, 0.7], *[OPEN] * 3]


HELD, MISSED = openings([THICK] * 12), openings([0.2, *[0.0] * 11])
SLIPPED = openings([*[THICK] * 6, 0.1, *[0.0] * 5])


def labels(*runs: list[float], shown: float = torch.nan) -> list[list[float]]:
    clips, shut = gripped(*runs)
    pictures = torch.full((len(clips), 2), shown)
    found = by_fingers(pictures, clips, shut, GRIPPERS, [0])
    assert torch.equal(found[:, 1].isnan(), pictures[:, 1].isnan()), "the other hand has none"
    return found[:, 0].view(len(runs), LENGTH).tolist()


def test_what_keeps_fingers_open_is_held_from_when_they_close() -> None:
    held, missed = labels(HELD, MISSED)
    assert held == [0.0] * 4 + [1.0] * 14 + [0.0] * 6
    assert missed == [0.0] * LENGTH


def test_what_slips_is_held_until_fingers_close() -> None:
    (slipped,) = labels(SLIPPED)
    assert slipped[4:] == [1.0] * 9 + [0.0] * 11, "from when the fingers begin to close"
    (slipped,) = labels(SLIPPED, shown=1.0)
    assert slipped[16:18] == [0.0] * 2, "fingers that tell of the grasp tell of the slip"


def test_runs_that_end_and_begin_shut_are_apart() -> None:
    clips, shut = gripped(HELD, MISSED)
    shut[:, 0] = True
    actions = torch.where(shut[:, :1], torch.zeros_like(clips.actions), clips.actions)
    held, missed = by_fingers(
        torch.full((len(clips), 2), torch.nan), dataclasses.replace(clips, actions=actions), shut,
        GRIPPERS, [0],
    )[:, 0].view(2, LENGTH)
    assert (held == 1.0).all(), "it rests wide from the start"
    assert (missed[10:] == 0.0).any()


def test_where_pictures_say_otherwise_nobody_knows() -> None:
    held, missed = labels(HELD, MISSED, shown=1.0)
    assert held[4:18] == [1.0] * 14
    assert all(one != one for one in missed[4:18]) and missed[:4] == [0.0] * 4


def test_a_gripper_that_is_told_to_stay_half_open_is_not_kept_open() -> None:
    clips, shut = gripped(HELD)
    actions = clips.actions.clone()
    actions[4:18, 1] = THICK
    found = by_fingers(
        torch.full((LENGTH, 2), torch.nan), dataclasses.replace(clips, actions=actions), shut,
        GRIPPERS, [0],
    )
    assert not (found[:, 0] == 1.0).any()


@pytest.mark.parametrize(
    ("runs", "tells"), [
        ([HELD, MISSED], [0]), ([MISSED, MISSED], []), ([MISSED] * 24 + [HELD], []),
        ([HELD, HELD], []),  # it is never measured shut
    ],
)
def test_fingers_tell_if_something_keeps_them_open_often(
    runs: list[list[float]], tells: list[int]
) -> None:
    clips, shut = gripped(*runs)
    assert telling_fingers(clips, shut, GRIPPERS) == tells


def test_fingers_that_never_shut_tell_nothing() -> None:
    clips, shut = gripped(HELD)
    assert telling_fingers(clips, torch.zeros_like(shut), GRIPPERS) == []
