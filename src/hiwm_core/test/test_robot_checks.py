"""Robot files are checked against their embodiment on load."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from hiwm_core.errors import ConfigError
from hiwm_core.robot_config import load_robot
from hiwm_test_support.robots import MIXED_TEXT

ROBOT = yaml.safe_load("""
name: mixed
stand_in: false
pace: camera
stale_after_s: 0.5
joint_states:
  left:
    topic: left/joint_states
    joints:
      drive: {joint: left_finger, shut: 0.0, open: -0.0475}
  right: {topic: right/joint_states, joints: [j1, j2, column, wrist, battery]}
poses:
  left_tool: {topic: left/pose}
cameras:
  top: {image: image, size: [64, 64], crop: {x: 0, y: 8, width: 64, height: 48}}
outputs:
  left: {adapter: pose_stamped, topic: left/target, group: left, frame: base, silence: hold_last}
  left_gripper:
    adapter: gripper_command
    action: left/gripper_cmd
    joints:
      left_finger: {joint: drive, shut: 0.0, open: -0.0475}
    silence: hold_last
  right: {adapter: twist, topic: right/twist, group: right, silence: zero, rate_hz: 100}
  lift: {adapter: joint_trajectory, topic: lift/t, joints: [column, wrist], silence: hold_last}
workspace: {urdf: mixed.urdf, links: [hand], table_z_m: 0.0}
""")
URDF = '<robot name="r"><link name="base"/><link name="hand"/></robot>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mixed_embodiment.yaml").write_text(MIXED_TEXT)
    (tmp_path / "mixed.urdf").write_text(URDF)
    return tmp_path


def written(folder: Path, path: str = "", value: Any = None) -> Path:
    """Write the robot's file with the value at a dotted path replaced; None removes it."""
    data = copy.deepcopy(ROBOT)
    data["embodiment"] = str(folder / "mixed_embodiment.yaml")
    if path:
        *parents, last = path.split(".")
        place = data
        for key in parents:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    file = folder / "mixed.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


def test_a_robot_that_serves_its_embodiment_loads_with_the_urdf_beside_it(folder: Path) -> None:
    robot = load_robot(written(folder))
    assert robot.workspace is not None and robot.workspace.urdf == str(folder / "mixed.urdf")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("joint_states.right.joints", ["j1", "j2", "column", "wrist"], ["battery", "joint_states"]),
        ("joint_states.right.joints", ["j1", "j2", "column", "wrst"],
         ["joint_states.right.joints.wrst", "did you mean 'wrist'"]),
        ("joint_states.left.joints.wheel", {"joint": "wrist", "shut": 0, "open": 1}, ["wrist"]),
        ("poses", None, ["poses", "left_tool"]),
        ("poses.tool", {"topic": "x"}, ["poses.tool", "left_tool"]),
        ("outputs.lift.joints", ["wrist"], ["column", "outputs"]),
        ("outputs.lift.joints", ["column", "wrist", "elbow"], ["elbow", "outputs.lift.joints"]),
        ("outputs.lift.joints", {"column": "c", "wrist": {"joint": "w", "shut": 0, "open": 1}},
         ["wrist is not a gripper", "outputs.lift.joints"]),
        ("outputs.lift.time_from_start_s", 0.2, ["outputs.lift.time_from_start_s", "erratically"]),
        ("outputs.lift", {"adapter": "gripper_command", "action": "g", "joints": ["wrist"],
                          "silence": "hold_last"}, ["wrist is not a gripper", "for joints"]),
        ("outputs.right", None, ["group right", "outputs"]),
        ("outputs.right.group", "lift", ["outputs.right.group", "left, right"]),
        ("outputs.left.orientation", [0, 0, 0, 1], ["outputs.left.orientation", "leave it out"]),
        ("outputs.left.orientation", [0, 0, 0, 2], ["outputs.left.orientation", "length of 1"]),
        ("outputs.right", {"adapter": "pose_stamped", "topic": "t", "group": "right", "frame": "b",
                           "silence": "hold_last"}, ["outputs.right.orientation", "quaternion"]),
        # A tool that was turned about y to point down: its measured yaw is 180 degrees off.
        ("outputs.right", {"adapter": "pose_stamped", "topic": "t", "group": "right", "frame": "b",
                           "silence": "hold_last", "orientation": [0, 1, 0, 0]},
         ["outputs.right.orientation", "[-1.0, 0.0, 0.0]", "1, 0, 0, 0", "rotation 6d"]),
        ("outputs.right.tool_axes", True, ["outputs.right.tool_axes", "rotation 6d"]),
        ("cameras.side", {"image": "i"}, ["cameras.side", "top"]),
        ("views", {"top": {"image": "i", "size": [64, 64]}}, ["views.top", "shows already"]),
        ("views", {"side": {"image": "i"}}, ["views.side", "size"]),
        ("views", {"side": {"image": "i", "size": [0, 64]}}, ["views.side.size", "[0, 64]"]),
        ("views", {"side": {"image": "left/pose", "size": [64, 64]}},
         ["poses.left_tool", "as images and as poses"]),
        ("cameras.top.crop", {"x": 0, "y": 0, "width": 24, "height": 18}, ["smaller", "32x24"]),
        ("cameras.top.crop", {"x": 0, "y": 0, "width": 64, "height": 64}, ["aspect ratio"]),
        ("cameras.top.rotate", 90, ["48x64", "aspect ratio"]),
        ("name", " mixed", ["name", "cannot name files"]),
        ("cameras.top.image", "left/pose", ["poses.left_tool", "as images and as poses"]),
        ("interlocks", {
            "stop": {"topic": "image", "type": "std_msgs/msg/Bool", "field": "data", "fine": [True]}
        }, ["interlocks.stop", "as images and as std_msgs/msg/Bool"]),
        ("workspace.links", ["hnad"], ["workspace.links", "did you mean 'hand'"]),
        ("workspace.urdf", "other.urdf", ["workspace.urdf", "other.urdf"]),
    ],
)
def test_a_robot_that_does_not_is_refused(
    folder: Path, path: str, value: Any, words: list[str]
) -> None:
    file = written(folder, path, value)
    with pytest.raises(ConfigError) as error:
        load_robot(file)
    for word in [str(file), *words]:
        assert word in str(error.value)
    assert error.value.remedy


def test_a_workspace_of_end_effectors_needs_no_urdf(folder: Path) -> None:
    robot = load_robot(written(folder, "workspace", {"table_z_m": 0.0}))
    assert robot.workspace is not None and robot.workspace.urdf == ""


def test_a_urdf_that_is_not_xml_is_refused(folder: Path) -> None:
    (folder / "mixed.urdf").write_text("<robot><link")
    with pytest.raises(ConfigError, match="xacro"):
        load_robot(written(folder))
