"""Frame and speed of a device, chosen while driving."""

from hiwm_core.embodiment import load_embodiment
from hiwm_teleop.devices.steering import SPEEDS, Steering


def test_frames_and_speeds_go_round_and_are_named():
    steering = Steering()
    assert steering.frame == "base" and steering.speed == 1.0
    steering.meet(load_embodiment("yam_pair"))
    assert steering.text == "camera top frame, 100 % speed"
    assert [steering.change(1, 0) for _ in range(3)] == [
        "base frame, 100 % speed", "tool frame, 100 % speed", "camera top frame, 100 % speed"
    ]
    assert [steering.change(0, 1) and steering.speed for _ in SPEEDS] == [0.5, 0.25, 1.0]
    assert steering.change(0, 0) == ""
    steering.change(2, 1)
    steering.meet(load_embodiment("yam_pair"))
    assert (steering.frame, steering.speed) == ("tool", 0.5)


def test_a_robot_without_tips_has_speeds_only():
    steering = Steering()
    steering.meet(load_embodiment("planar_bimanual"))
    assert steering.change(1, 1) == "50 % speed"
