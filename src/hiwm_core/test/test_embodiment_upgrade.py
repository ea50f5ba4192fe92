"""Embodiment texts of earlier versions keep their meaning."""

from dataclasses import replace

import pytest

from hiwm_core.embodiment import load_embodiment, parse_embodiment
from hiwm_core.embodiment_upgrade import upgrade_embodiment_text
from hiwm_core.errors import ConfigError

# The shipped file before groups, as stored in bags and checkpoints.
OLD = """# Two pushers
name: planar_bimanual
frame: table
rate_hz: 10.0                     # control steps per second
arms: [left, right]
actions:
  - {name: left_x,  arm: left,  joint: left_x_joint,  unit: m, lower: -0.18, upper: 0.18, max_velocity: 0.12, max_acceleration: 1.2}
  - {name: left_y,  arm: left,  joint: left_y_joint,  unit: m, lower: -0.18, upper: 0.18, max_velocity: 0.12, max_acceleration: 1.2}
  - {name: right_x, arm: right, joint: right_x_joint, unit: m, lower: -0.18, upper: 0.18, max_velocity: 0.12, max_acceleration: 1.2}
  - {name: right_y, arm: right, joint: right_y_joint, unit: m, lower: -0.18, upper: 0.18, max_velocity: 0.12, max_acceleration: 1.2}
proprioception:
  - {name: left_x,  joint: left_x_joint,  field: position, unit: m}
  - {name: left_y,  joint: left_y_joint,  field: position, unit: m}
  - {name: right_x, joint: right_x_joint, field: position, unit: m}
  - {name: right_y, joint: right_y_joint, field: position, unit: m}
home: [-0.15, -0.15, 0.15, -0.15]
cameras:
  - {name: top, width: 96, height: 96, encoding: rgb8, view_m: [0.40, 0.40]}
"""  # noqa: E501
GRIPPER = OLD.replace(
    "proprioception:",
    "  - {name: grip, arm: right, joint: finger, unit: '1', lower: 0.0, upper: 1.0, "
    "max_velocity: 2.0, max_acceleration: 20.0}\nproprioception:",
).replace("0.15, -0.15]", "0.15, -0.15, 1.0]")


def test_the_shipped_embodiment_keeps_its_hash() -> None:
    upgraded = parse_embodiment(upgrade_embodiment_text(OLD), "old")
    shipped = load_embodiment("planar_bimanual")
    assert upgraded.hash == shipped.hash
    assert upgraded.home == shipped.home and upgraded.groups == shipped.groups
    for old, new in zip(upgraded.actions, shipped.actions, strict=True):
        assert replace(old, max_following_error=new.max_following_error) == new


def test_an_old_text_is_refused_with_the_command_that_converts_it() -> None:
    with pytest.raises(ConfigError, match=r"old\.yaml.*scripts/migrate"):
        parse_embodiment(OLD, "old.yaml")


def test_a_gripper_becomes_a_group_of_its_own() -> None:
    upgraded = parse_embodiment(upgrade_embodiment_text(GRIPPER), "old")
    assert [group.kind for group in upgraded.groups] == [
        "joint_position", "joint_position", "gripper",
    ]
    assert upgraded.home[-1] == 1.0 and upgraded.actions[-1].joint == "finger"


def test_a_present_text_is_returned_unchanged() -> None:
    text = load_embodiment("planar_bimanual").text
    assert upgrade_embodiment_text(text) == text


@pytest.mark.parametrize("text", ["name: x\n", OLD.replace("home:", "house:"), OLD.replace(
    "home: [-0.15, -0.15, 0.15, -0.15]", "home: [-0.15]"), "[1, 2]"])
def test_what_is_no_embodiment_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="bag_7"):
        upgrade_embodiment_text(text, "bag_7")
