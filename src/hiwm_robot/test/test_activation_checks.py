"""Clocks, publishers and controllers that keep a robot from being activated."""

import pytest

from hiwm_robot.activation_checks import (
    clock_problem,
    controller_problem,
    order_problem,
    publisher_problem,
)

WALL = 1_790_000_000 * 10**9
S = 10**9


def clocks(stamp: int, now: int, simulated: bool = False) -> str:
    return clock_problem(
        {"joint_states": stamp}, now, tolerance_s=1.0, age_s=0.5, simulated=simulated
    )


@pytest.mark.parametrize("ago_s", [-0.9, 0.0, 1.4])
def test_stamps_near_the_clock_are_fine(ago_s: float) -> None:
    assert clocks(WALL - round(ago_s * S), WALL) == ""
    assert clocks(100 * S - round(ago_s * S), 100 * S, simulated=True) == ""


@pytest.mark.parametrize(
    ("stamp", "now", "simulated", "words"),
    [
        (WALL, 100 * S, True, ["wall time", "use_sim_time"]),
        (100 * S, WALL, False, ["not wall time", "stamps: arrival"]),
        (WALL - 10 * S, WALL, False, ["10.00 s behind", "synchronise"]),
        (WALL + 2 * S, WALL, False, ["2.00 s ahead"]),
        (100 * S, 50 * S, True, ["50.00 s ahead"]),
        (WALL, 0, True, ["/clock"]),
    ],
)
def test_clocks_that_disagree_are_named(
    stamp: int, now: int, simulated: bool, words: list[str]
) -> None:
    problem = clocks(stamp, now, simulated)
    for word in words:
        assert word in problem


def test_another_publisher_is_named() -> None:
    own = ("/left", "robot_bridge")
    assert publisher_problem({"/c": [own, own]}, own) == ""
    problem = publisher_problem({"/c": [own, ("/", "rqt")], "/d": [own]}, own)
    assert "/rqt also publishes on /c" in problem
    unknown = ("_NODE_NAMESPACE_UNKNOWN_", "_NODE_NAME_UNKNOWN_")
    assert publisher_problem({"/c": [own, unknown]}, own) == ""
    assert "/right/robot_bridge" in publisher_problem({"/c": [("/right", "robot_bridge")]}, own)


def test_an_inactive_controller_is_refused_with_the_command_that_switches_it() -> None:
    states = {"arm": "inactive", "gripper": "active", "wrist": "unconfigured"}
    assert controller_problem("/cm", ["gripper"], states) == ""
    problem = controller_problem("/cm", ["arm", "gripper", "wrist"], states)
    assert "arm is inactive" in problem and "wrist is unconfigured" in problem
    assert "ros2 control switch_controllers -c /cm --activate arm wrist" in problem


def test_a_controller_that_is_not_loaded_is_refused() -> None:
    problem = controller_problem("/cm", ["arm"], {})
    assert "load_controller --set-state active -c /cm arm" in problem


def test_an_array_in_another_order_than_the_controllers_is_refused() -> None:
    assert order_problem("arm", ["a", "b"], "/forward", ["a", "b"]) == ""
    assert order_problem("arm", ["a", "b"], "/forward", []) == ""  # a driver without parameters
    for joints in (["b", "a"], ["a", "b", "c"], ["a"]):
        problem = order_problem("arm", ["a", "b"], "/forward", joints)
        assert "outputs.arm sends a, b" in problem and ", ".join(joints) in problem
