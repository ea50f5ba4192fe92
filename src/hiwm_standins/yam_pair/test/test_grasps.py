"""Counting grasps: what is taken, missed, slipped, and laid down."""

import numpy as np

from hiwm_yam_pair.grasps import Grasps, count

# Three times: a hand closes and opens again.
GRIP = np.tile(np.repeat([0.6, 0.18], [4, 8]), 3)
HIGH = np.full(len(GRIP), 0.10)


def test_a_hand_that_closes_on_nothing_has_missed() -> None:
    holds = np.zeros(len(GRIP), bool)
    assert count(GRIP, HIGH, holds) == Grasps(missed=3)
    holds[5:10] = True
    assert count(GRIP, HIGH, holds) == Grasps(taken=1, missed=2, slipped=1)


def test_what_is_laid_down_has_not_slipped() -> None:
    holds = np.zeros(len(GRIP), bool)
    holds[5:12] = True
    low = np.where(np.arange(len(GRIP)) > 10, 0.02, 0.10)
    assert count(GRIP, low, holds).slipped == 0
    assert count(GRIP, HIGH, holds).slipped == 1


def test_fingers_that_stay_shut_close_once() -> None:
    shut = np.concatenate([[0.6, 0.6], np.full(20, 0.0)])
    assert count(shut, shut, np.zeros(22, bool)) == Grasps(missed=1)
