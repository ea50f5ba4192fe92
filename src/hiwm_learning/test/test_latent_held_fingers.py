"""Fingers that hold something stay as far open as such things keep them."""

import pytest
import torch
from torch import Tensor

from hiwm_learning.world_models.latent.held_fingers import HeldFingers

# Two hands with a gripper joint each, at places 1 and 3; the second one's grows as it closes.
ARMS, GRIPPER_JOINTS, JOINTS = ((0, 1), (2, 3)), (1, 3), 4
RUN = 20


def recorded(thick: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return two runs; grippers are shut from tick 8, in the first run on something thick."""
    tick = torch.arange(RUN).repeat(2)
    first_run = torch.arange(2 * RUN) < RUN
    wide = torch.where(tick < 8, 0.8, torch.where(first_run, thick, 0.0))
    wide[tick == 8] = 0.4  # on its way
    joints = torch.stack([torch.rand(2 * RUN), wide, torch.rand(2 * RUN), 1.0 - wide], dim=1)
    shut = (tick >= 8)[:, None].expand(-1, 2)
    grips = (shut & first_run[:, None]).float()
    last = torch.tensor([RUN - 1, 2 * RUN - 1]).repeat_interleave(RUN)
    return joints, last, grips, shut


def fingers(thick: float = 0.2) -> HeldFingers:
    found = HeldFingers(ARMS, GRIPPER_JOINTS, JOINTS)
    found.learn(*recorded(thick))
    return found


def test_where_they_rest_is_learned_in_either_direction() -> None:
    found = fingers()
    assert found.rest[[1, 3]].tolist() == pytest.approx([0.2, 0.8])
    assert found.opens[[1, 3]].tolist() == [1.0, -1.0]
    assert found.rest[[0, 2]].isnan().all(), "no gripper joints"


def test_hands_that_hold_something_do_not_close_beyond_it() -> None:
    found, joints = fingers(), torch.tensor([[0.5, 0.4, 0.5, 0.6]])
    after = torch.tensor([[0.7, 0.05, 0.7, 0.95]])
    both = found(after, joints, torch.tensor([[True, True]]))
    torch.testing.assert_close(both, torch.tensor([[0.7, 0.2, 0.7, 0.8]]))
    one = found(after, joints, torch.tensor([[False, True]]))
    torch.testing.assert_close(one, torch.tensor([[0.7, 0.05, 0.7, 0.8]]))


def test_they_open_freely_and_what_is_farther_closed_only_stays() -> None:
    found, held = fingers(), torch.tensor([[True, True]])
    opening = torch.tensor([[0.5, 0.6, 0.5, 0.4]])
    assert torch.equal(found(opening, torch.tensor([[0.5, 0.3, 0.5, 0.7]]), held), opening)
    closed = torch.tensor([[0.5, 0.1, 0.5, 0.9]])
    torch.testing.assert_close(
        found(torch.tensor([[0.5, 0.0, 0.5, 1.0]]), closed, held), closed
    )


def test_a_thing_that_does_not_keep_them_apart_stops_nothing() -> None:
    found = fingers(thick=0.01)
    assert found.rest.isnan().all()
    after = torch.tensor([[0.7, 0.0, 0.7, 1.0]])
    assert torch.equal(found(after, after + 0.2, torch.tensor([[True, True]])), after)


def test_what_is_known_is_kept() -> None:
    found = fingers()
    found.learn(*recorded(0.4))
    assert found.rest[[1, 3]].tolist() == pytest.approx([0.2, 0.8])


def test_recordings_without_a_grasp_teach_nothing() -> None:
    joints, last, grips, shut = recorded(0.2)
    for known, told in ((grips * torch.nan, shut), (grips * 0.0, shut), (grips, shut & False)):
        found = HeldFingers(ARMS, GRIPPER_JOINTS, JOINTS)
        found.learn(joints, last, known, told)
        assert found.rest.isnan().all()
