"""Pairing images with joint states, ages, and bad joint states."""

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_robot.streams import PAIR_WAIT_S, Streams

EMBODIMENT = load_embodiment("planar_bimanual")
NAMES = list(EMBODIMENT.joint_names)


def streams() -> Streams:
    return Streams(EMBODIMENT)


def test_an_image_waits_for_a_joint_state_as_new() -> None:
    both = streams()
    both.joint_state(NAMES, [0.0] * 4, 100, 0.0)
    both.image("top", 200, 0.0)
    assert not both.ready(0.0)
    both.joint_state(NAMES, [0.0] * 4, 200, 0.0)
    assert both.ready(0.0)


def test_an_image_does_not_wait_forever() -> None:
    both = streams()
    both.joint_state(NAMES, [0.0] * 4, 100, 0.0)
    both.image("top", 200, 0.0)
    assert both.ready(PAIR_WAIT_S)


def test_an_observation_is_used_once() -> None:
    both = streams()
    both.joint_state(NAMES, [0.0] * 4, 100, 0.0)
    both.image("top", 100, 0.0)
    both.take()
    assert not both.ready(9.0)


def test_joints_are_found_by_name() -> None:
    both = streams()
    names = ["wheel", *reversed(NAMES)]
    assert both.joint_state(names, [9.0, 4.0, 3.0, 2.0, 1.0], 0, 0.0) == ""
    np.testing.assert_array_equal(both.position, [1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("names", "positions", "word"),
    [
        (NAMES[:3], [0.0] * 3, NAMES[3]),
        (NAMES, [0.0] * 3, "3 positions"),
        (NAMES, [0.0, 0.0, 0.0, float("nan")], "finite"),
    ],
)
def test_a_bad_joint_state_is_named_and_not_used(
    names: list[str], positions: list[float], word: str
) -> None:
    both = streams()
    both.joint_state(NAMES, [0.1] * 4, 0, 0.0)
    assert word in both.joint_state(names, positions, 50, 5.0)
    np.testing.assert_array_equal(both.position, [0.1] * 4)
    assert both.ages(5.0)["joint states"] == 5.0


def test_after_a_restart_the_old_drivers_joint_states_do_not_pair() -> None:
    both = streams()
    both.joint_state(NAMES, [0.0] * 4, 10**12, 0.0)
    both.image("top", 10**12, 0.0)
    both.take()
    both.image("top", 100, 1.0)
    assert not both.ready(1.0)
    both.joint_state(NAMES, [0.0] * 4, 100, 1.0)
    assert both.ready(1.0)


def test_a_restart_cancels_a_wait_for_a_stamp_that_never_comes() -> None:
    both = streams()
    both.image("top", 10**12, 0.0)
    both.require(2 * 10**12)
    both.image("top", 100, 1.0)
    both.joint_state(NAMES, [0.0] * 4, 100, 1.0)
    assert both.ready(1.0)
