"""From deflections to displacements of arms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import DeviceError
from hiwm_teleop.devices.motion import (
    LONGEST_GAP_S,
    ArmMotion,
    AxisSetting,
    Displacement,
    MotionSettings,
    axis_entries,
    shaped,
)
from hiwm_test_support.robots import mixed_robot, spatial_arm

EMBODIMENT = load_embodiment("planar_bimanual")
deflections = st.floats(-1.5, 1.5)
shares = st.floats(0.0, 1.0)
settings = st.builds(
    AxisSetting, scale=st.floats(-3.0, 3.0), dead_zone=st.floats(0.0, 0.9)
)


@given(value=deflections, setting=settings, expo=shares)
def test_a_shaped_axis_is_odd_bounded_and_dead_near_its_rest(
    value: float, setting: AxisSetting, expo: float
) -> None:
    result = shaped(value, setting, expo)
    assert abs(result) <= abs(setting.scale) + 1e-12
    assert shaped(-value, setting, expo) == -result
    if abs(value) <= setting.dead_zone:
        assert result == 0.0
    if abs(value) >= 1.0:
        assert abs(result) == pytest.approx(abs(setting.scale))


@given(first=deflections, second=deflections, dead_zone=st.floats(0.0, 0.9), expo=shares)
def test_more_deflection_is_never_less_speed_and_there_is_no_step(
    first: float, second: float, dead_zone: float, expo: float
) -> None:
    setting = AxisSetting(dead_zone=dead_zone)
    low, high = sorted((first, second))
    rise = shaped(high, setting, expo) - shaped(low, setting, expo)
    # The curve is steepest at its end: (1 - expo) + 3 expo, stretched by the dead zone.
    assert -1e-12 <= rise <= 3.0 / (1.0 - dead_zone) * (high - low) + 1e-12


def test_expo_is_fine_near_the_rest_and_whole_at_the_end() -> None:
    setting = AxisSetting(dead_zone=0.0)
    assert shaped(0.2, setting, 1.0) == pytest.approx(0.008)
    assert shaped(0.2, setting, 0.0) == pytest.approx(0.2)
    assert shaped(1.0, setting, 1.0) == 1.0


def test_the_tip_of_an_end_effector_or_of_joints_moves_by_the_axes_it_has() -> None:
    for robot, turns in ((mixed_robot(), [0.0, 0.0]), (load_embodiment("yam_pair"), [1.0, 1.0])):
        motion = ArmMotion(robot, "right", ALL, SETTINGS, "here")
        velocity = motion.velocity(VALUES, "none")
        assert not velocity[:robot.action_dim].any()
        np.testing.assert_allclose(velocity[robot.action_dim:], [0.05, -0.1, 0.1, *turns, -0.5])


SETTINGS = MotionSettings(linear_m_s=0.1, angular_rad_s=1.0, expo=0.0)
ALL = {axis: AxisSetting(dead_zone=0.0) for axis in ("x", "y", "z", "roll", "pitch", "yaw")}
VALUES = {"x": 0.5, "y": -1.0, "z": 1.0, "roll": 1.0, "pitch": 1.0, "yaw": -0.5}


@pytest.mark.parametrize("names", ["arm_{}", "{}"])
def test_axes_move_the_entries_of_their_name(names: str) -> None:
    motion = ArmMotion(spatial_arm(names), "arm", ALL, SETTINGS, "here")
    np.testing.assert_allclose(
        motion.velocity(VALUES, "none")[:7], [0.05, -0.1, 0.1, 1.0, 1.0, -0.5, 0.0]
    )
    np.testing.assert_allclose(
        motion.velocity(VALUES, "translation")[:7], [0.05, -0.1, 0.1, 0.0, 0.0, 0.0, 0.0]
    )
    np.testing.assert_allclose(
        motion.velocity(VALUES, "planar")[:7], [0.05, -0.1, 0.0, 0.0, 0.0, -0.5, 0.0]
    )


def test_axes_a_robot_lacks_do_nothing() -> None:
    assert axis_entries(EMBODIMENT, "right") == {"x": 2, "y": 3}
    motion = ArmMotion(EMBODIMENT, "right", ALL, SETTINGS, "here")
    np.testing.assert_allclose(
        motion.velocity(VALUES, "none"), [0.0, 0.0, 0.05, -0.1, *[0.0] * 6]
    )


def test_an_arm_or_axis_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(DeviceError, match=r"no arm 'middle' \(pad.yaml: hands\[0\]\).*left, right"):
        ArmMotion(EMBODIMENT, "middle", ALL, SETTINGS, "pad.yaml: hands[0]")
    with pytest.raises(DeviceError, match="none of z moves arm 'left'.*left_x"):
        ArmMotion(EMBODIMENT, "left", {"z": AxisSetting()}, SETTINGS, "here")


@given(st.lists(st.tuples(st.floats(0.001, 0.04), shares, st.floats(-1.0, 1.0)), max_size=30))
def test_displacements_add_up_to_the_velocity_over_time(
    reads: list[tuple[float, float, float]]
) -> None:
    displacement, now, moved = Displacement(), 10.0, 0.0
    velocity, heard, wanted = 0.0, 10.0, 0.0
    displacement.advance(np.zeros(1), now, now)
    for gap, when, new in reads:
        heard = now + when * gap
        wanted += velocity * (heard - now) + new * (now + gap - heard)
        now += gap
        velocity = new
        moved += float(displacement.advance(np.array([new]), heard, now)[0])
    assert moved == pytest.approx(wanted, abs=1e-9)


def test_a_delayed_read_makes_no_leap_and_rest_starts_from_standstill() -> None:
    displacement = Displacement()
    displacement.advance(np.ones(1), 0.0, 0.0)
    assert displacement.advance(np.ones(1), 0.0, 5.0)[0] == pytest.approx(LONGEST_GAP_S)
    displacement.rest()
    assert displacement.advance(np.ones(1), 5.0, 5.02)[0] == pytest.approx(0.02)
