"""The first moments of a takeover: nothing jumps, nothing is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hiwm_teleop.takeover import BLEND_IN_S, Alignment, BlendIn

positions = arrays(float, 3, elements=st.floats(-2.0, 2.0))
RATE = np.array([0.1, 0.5, 1.0])


@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.booleans()), max_size=40))
def test_a_velocity_comes_in_from_nothing_each_time_control_begins(
    script: list[tuple[float, bool]]
) -> None:
    blend, now, since = BlendIn(), 100.0, None
    for wait, in_control in script:
        now += wait
        share = blend.share(now, in_control)
        if not in_control:
            since = None
            assert share == 0.0
            continue
        since = now if since is None else since
        assert share == pytest.approx(min((now - since) / BLEND_IN_S, 1.0))


def test_most_of_the_first_second_of_a_correction_moves_the_arm() -> None:
    blend = BlendIn()
    shares = [blend.share(i * 0.01, True) for i in range(100)]
    assert sum(shares) / 100 > 0.8


@given(present=positions, path=st.lists(st.tuples(st.floats(0.0, 0.3), positions), min_size=1))
def test_an_absolute_device_never_makes_the_follower_jump(
    present: np.ndarray, path: list[tuple[float, np.ndarray]]
) -> None:
    now = 50.0
    alignment = Alignment(RATE)
    assert not alignment.aligned
    alignment.begin(present, path[0][1], now)
    last_target, last_wanted = present, path[0][1]
    np.testing.assert_allclose(alignment.follow(last_wanted, now), present, atol=1e-12)
    for wait, wanted in path:
        now += wait
        target = alignment.follow(wanted, now)
        allowed = np.abs(wanted - last_wanted) + RATE * wait
        assert (np.abs(target - last_target) <= allowed + 1e-9).all()
        # Never farther from the device than it was.
        assert (np.abs(target - wanted) <= np.abs(last_target - last_wanted) + 1e-9).all()
        last_target, last_wanted = target, wanted
    target = alignment.follow(last_wanted, now + 1000.0)
    assert alignment.aligned
    np.testing.assert_array_equal(target, last_wanted)


def test_without_a_beginning_the_device_is_followed_as_it_is() -> None:
    np.testing.assert_array_equal(Alignment(RATE).follow([1, 2, 3], 0.0), [1, 2, 3])
