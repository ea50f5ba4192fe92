"""Pairing images with joint states, ages, stamps, and messages that cannot be used."""

from typing import Any

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.robot_config import RobotConfig, load_robot
from hiwm_core.robots.cameras import CameraTopic
from hiwm_core.robots.outputs import Output
from hiwm_core.robots.sources import GripperMap, JointSource, PoseSource
from hiwm_robot.streams import PAIR_WAIT_S, Streams
from hiwm_test_support.robots import spatial_arm

EMBODIMENT = load_embodiment("planar_bimanual")
STANDIN = load_robot("standin")
NAMES = list(EMBODIMENT.joint_names)
S = 10**9


def streams() -> Streams:
    return Streams(EMBODIMENT, STANDIN)


def joints(both: Streams, stamp: int, now: float, value: float = 0.0) -> str:
    return both.joint_state("arms", NAMES, [value] * 4, stamp, now)


def ready(both: Streams, now: float) -> bool:
    return both.unused and both.paired(now)


def arm(**changes: Any) -> Streams:
    """Return an arm whose gripper has a topic of its own, and slower stamps."""
    embodiment = spatial_arm()
    axes = tuple(name for name in embodiment.joint_names if name != "gripper_joint")
    output = Output(adapter="joint_trajectory", topic="t", joints=axes, silence="hold_last")
    given: dict[str, Any] = {
        "name": "arm", "stand_in": False, "embodiment": "spatial", "pace": "camera",
        "stale_after_s": 0.5, "outputs": {"arm": output},
        "cameras": {"top": CameraTopic(image="image")},
        "joint_states": {
            "axes": JointSource(topic="joint_states", joints=axes),
            "gripper": JointSource(
                topic="gripper/joint_states", stale_after_s=2.0,
                joints={"finger": GripperMap(joint="gripper_joint", shut=0.044, open=0.058)},
            ),
        },
    }
    return Streams(embodiment, RobotConfig(**{**given, **changes}))


AXES = [f"{axis}_joint" for axis in ("x", "y", "z", "roll", "pitch", "yaw")]


def test_an_image_waits_for_a_joint_state_as_new() -> None:
    both = streams()
    joints(both, 100, 0.0)
    joints(both, 110, 0.01)
    both.image("top", 200, 0.01)
    assert not ready(both, 0.01)
    joints(both, 200, 0.02)
    assert ready(both, 0.02)


def test_a_position_is_computed_once_after_each_message() -> None:
    both = streams()
    assert both.position is None
    joints(both, 100, 0.0, 0.1)
    first = both.position
    assert first is not None and both.position is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0
    joints(both, 110, 0.01, 0.2)
    np.testing.assert_array_equal(both.position, [0.2] * 4)


def test_an_image_does_not_wait_forever() -> None:
    both = streams()
    joints(both, 100, 0.0)
    joints(both, 110, 0.01)
    both.image("top", 200, 0.01)
    assert ready(both, 0.01 + PAIR_WAIT_S)


def test_an_observation_is_used_once() -> None:
    both = streams()
    joints(both, 100, 0.0)
    both.image("top", 100, 0.0)
    both.take()
    assert not ready(both, 9.0)


def test_joints_are_found_by_name() -> None:
    both = streams()
    names = ["wheel", *reversed(NAMES)]
    assert both.joint_state("arms", names, [9.0, 4.0, 3.0, 2.0, 1.0], 1, 0.0) == ""
    np.testing.assert_array_equal(both.position, [1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("names", "positions", "word"),
    [
        (NAMES, [0.0] * 3, "3 positions"),
        (NAMES, [0.0, 0.0, 0.0, float("nan")], "finite"),
        ([*NAMES, NAMES[1]], [0.0] * 5, f"{NAMES[1]} twice"),
    ],
)
def test_a_bad_joint_state_is_named_and_not_used(
    names: list[str], positions: list[float], word: str
) -> None:
    both = streams()
    joints(both, 1, 0.0, 0.1)
    assert word in both.joint_state("arms", names, positions, 50, 5.0)
    np.testing.assert_array_equal(both.position, [0.1] * 4)
    assert both.ages(5.0)["joint states arms"] == 5.0


def test_after_a_restart_the_old_drivers_joint_states_do_not_pair() -> None:
    both = streams()
    joints(both, 10**12, 0.0)
    both.image("top", 10**12, 0.0)
    both.take()
    assert both.image("top", 100, 1.0)
    assert not ready(both, 1.0)
    joints(both, 100, 1.0)
    assert ready(both, 1.0)


def test_a_driver_that_restarts_within_a_second_of_its_own_time_is_used() -> None:
    both = streams()
    both.image("top", S, 0.0)
    assert both.image("top", S // 10, 2.0)  # long after the last image: not a late one


def test_a_restart_cancels_a_wait_for_a_stamp_that_never_comes() -> None:
    both = streams()
    both.image("top", 10**12, 0.0)
    both.require(2 * 10**12)
    both.image("top", 100, 1.0)
    joints(both, 100, 1.0)
    assert ready(both, 1.0)


def test_an_image_out_of_order_is_dropped() -> None:
    both = streams()
    joints(both, 3 * S, 0.0)
    assert both.image("top", 3 * S, 0.0)
    assert not both.image("top", 3 * S - 30_000_000, 0.02)
    assert both.image_stamp_ns == 3 * S
    assert both.image("top", 3 * S + 30_000_000, 0.04)


@pytest.mark.parametrize("stamp", [0, -5 * S])
def test_a_stream_without_stamps_becomes_stale_with_the_remedy(stamp: int) -> None:
    both = streams()
    joints(both, S, 0.0)
    both.image("top", S, 0.0)
    for i in range(10):
        now = 0.1 * i
        joints(both, S + round(now * S), now)
        assert not both.image("top", stamp, now)
    assert "no camera top" in both.stale_reason(0.9, 0.0)
    assert "stamps: arrival" in both.stale_reason(0.9, 0.0)


def test_a_constant_stamp_becomes_stale_and_says_so() -> None:
    both = streams()
    for i in range(10):
        now = 0.1 * i
        joints(both, 7, now, value=now)  # and its values are not used
        both.image("top", round(now * S) + 1, now)
    assert both.stale_reason(0.9, 0.0) == (
        "no joint states arms for over 0.5 s (its stamp does not change)"
    )
    np.testing.assert_array_equal(both.position, np.zeros(4))


def test_a_grippers_message_on_the_same_topic_changes_nothing() -> None:
    both = streams()
    joints(both, 1, 0.0, 0.1)
    assert both.joint_state("arms", ["gripper"], [9.0], 50, 5.0) == ""
    np.testing.assert_array_equal(both.position, [0.1] * 4)
    assert both.ages(5.0)["joint states arms"] == 5.0


def test_two_sources_are_joined_and_each_keeps_its_stamp() -> None:
    both = arm()
    assert both.position is None
    both.joint_state("axes", AXES, [0.1] * 6, 5 * S, 0.0)
    assert both.position is None
    both.joint_state("gripper", ["finger"], [0.051], 3 * S, 0.0)
    both.image("top", 6 * S, 0.0)
    np.testing.assert_allclose(both.position, [*[0.1] * 6, 0.5])
    assert both.joints.names == [*AXES, "gripper_joint"]
    assert both.stamps() == {
        "cameras/top/image_raw": 6 * S, "joint_states": 5 * S, "joint_states/axes": 5 * S,
        "joint_states/gripper": 3 * S,
    }


def test_each_source_has_its_own_greatest_age() -> None:
    both = arm()
    both.joint_state("gripper", ["finger"], [0.05], S, 0.0)
    for now in (0.0, 1.0, 1.9, 2.1):
        both.joint_state("axes", AXES, [0.1] * 6, S + round(now * S), now)
        both.image("top", S + round(now * S), now)
        stale = both.stale_reason(now, 0.0)
        assert stale == ("" if now < 2.0 else "no joint states gripper for over 2 s")


def test_a_slow_source_is_not_waited_for() -> None:
    both = arm()
    for now in (0.0, 0.2):
        both.joint_state("gripper", ["finger"], [0.05], S + round(now * S), now)
    for now in (0.19, 0.2):
        both.joint_state("axes", AXES, [0.1] * 6, S + round(now * S), now)
    both.joint_state("axes", AXES, [0.1] * 6, 2 * S, 0.21)
    both.image("top", 2 * S, 0.21)
    assert ready(both, 0.21)


def test_clocks_of_their_own_are_not_compared() -> None:
    both = arm(clock="own")
    both.joint_state("axes", AXES, [0.1] * 6, 5, 0.0)
    both.joint_state("gripper", ["finger"], [0.05], 10**15, 0.0)
    both.image("top", 10**12, 0.0)
    assert ready(both, 0.0)


def test_a_pose_is_a_stream_with_its_own_frame() -> None:
    both = arm(poses={"tool": PoseSource(topic="pose", frame="base")})
    both.joint_state("axes", AXES, [0.1] * 6, 5, 0.0)
    both.joint_state("gripper", ["finger"], [0.05], 5, 0.0)
    both.image("top", 5, 0.0)
    assert not ready(both, 1.0)
    point, upright = [0.1, 0.2, 0.3], [0.0, 0.0, 0.0, 1.0]
    assert "'base'" in both.pose("tool", point, upright, "world", 5, 0.0)
    assert "finite" in both.pose("tool", [np.nan, 0, 0], upright, "base", 5, 0.0)
    assert "rotation" in both.pose("tool", point, [0.0] * 4, "base", 5, 0.0)
    assert not ready(both, 1.0)
    assert both.pose("tool", point, upright, "base", 5, 0.0) == ""
    assert ready(both, 1.0)
    assert both.stamps()["poses/tool"] == 5
    assert "no pose tool" in both.stale_reason(0.6, 0.0)
