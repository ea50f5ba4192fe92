"""Interlocks: which values let the robot move."""

from hiwm_core.robots.safety import FineRange, Interlock
from hiwm_robot.interlocks import Interlocks

LOCKS = {
    "program": Interlock(
        topic="running", type="std_msgs/msg/Bool", field="data", fine=(True,), latched=True
    ),
    "speed": Interlock(
        topic="speed", type="std_msgs/msg/Float64", field="data",
        fine=FineRange(lower=1.0, upper=100.0), stale_after_s=1.0,
    ),
}


def fine() -> Interlocks:
    locks = Interlocks(LOCKS)
    locks.receive("program", True, 0.0)
    locks.receive("speed", 50.0, 0.0)
    return locks


def test_a_topic_that_was_never_heard_is_not_fine() -> None:
    problem = Interlocks(LOCKS).problem(0.0)
    assert "nothing on running yet" in problem and "nothing on speed yet" in problem


def test_fine_values_are_no_problem() -> None:
    assert fine().problem(0.5) == ""


def test_a_value_that_is_not_fine_is_named_with_what_is() -> None:
    locks = fine()
    locks.receive("program", False, 0.5)
    assert locks.problem(0.5) == "interlock program: running data is False, not True"
    locks.receive("program", True, 0.6)
    locks.receive("speed", 0.0, 0.6)
    assert "speed data is 0.0, not 1 to 100" in locks.problem(0.6)
    locks.receive("speed", float("nan"), 0.7)
    assert locks.problem(0.7)


def test_only_interlocks_with_an_age_get_stale() -> None:
    assert fine().problem(1.1) == "interlock speed: nothing on speed for over 1 s"


def test_no_interlocks_are_no_problem() -> None:
    assert Interlocks({}).problem(0.0) == ""
