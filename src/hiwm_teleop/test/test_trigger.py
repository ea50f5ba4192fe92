"""A gripper follows a trigger that has come to where the gripper is."""

from hiwm_teleop.devices.trigger import GripperTrigger


def test_an_open_gripper_follows_a_trigger_at_rest_at_once() -> None:
    trigger = GripperTrigger()
    assert trigger.ratio(0.0, 1.0) == 1.0
    assert trigger.ratio(0.4, 1.0) == 0.6
    assert trigger.ratio(1.0, 0.6) == 0.0


def test_a_gripper_that_holds_something_keeps_it_until_the_trigger_is_pulled_as_far() -> None:
    trigger = GripperTrigger()
    assert [trigger.ratio(pulled, 0.1) for pulled in (0.0, 0.5, 0.0, 0.8)] == [None] * 4
    assert trigger.ratio(1.0, 0.1) == 0.0  # it went past the gripper
    assert trigger.ratio(0.5, 0.0) == 0.5
    trigger.rest()
    assert trigger.ratio(0.0, 0.0) is None
