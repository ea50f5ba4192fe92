"""Valid robot files, and the errors of invalid ones."""

import copy
import math
from typing import Any

import pytest
import yaml

from hiwm_core.errors import ConfigError
from hiwm_core.robot_config import load_robot, parse_robot
from hiwm_core.robots.outputs import ADAPTERS
from hiwm_core.robots.safety import FineRange, Interlock
from hiwm_core.robots.sources import GripperMap

GOOD = yaml.safe_load("""
name: twin
stand_in: false
embodiment: two_arms
pace: timer
stale_after_s: 0.5
clock: same
joint_states:
  left:
    topic: follower_left/joint_states
    joints:
      waist: left_waist
      left_finger: {joint: left_gripper, shut: 0.044, open: 0.0579}
  right: {topic: follower_right/joint_states, joints: [right_waist], stale_after_s: 0.2}
poses:
  tool: {topic: tool_pose, frame: base_link}
cameras:
  top:
    image: camera/image_raw
    info: camera/camera_info
    encodings: [rgb8, bgr8]
    size: [640, 480]
    crop: {x: 80, y: 0, width: 480, height: 480}
    rotate: 90
    stamp_offset_s: -0.05
outputs:
  left:
    adapter: joint_group_command
    topic: follower_left/commands/joint_group
    group_name: arm
    joints: {left_waist: waist}
    silence: hold_last
    rate_hz: 50
  left_gripper:
    adapter: joint_single_command
    topic: follower_left/commands/joint_single
    joints:
      left_gripper: {joint: gripper, shut: 0.6197, open: 1.6214}
    silence: hold_last
  right:
    adapter: twist_stamped
    topic: servo_node/delta_twist_cmds
    group: right_tool
    frame: base_link
    silence: zero
    rate_hz: 100
    full_scale: {linear_m_per_s: 0.4, rotational_rad_per_s: 0.8}
enable:
  on_activate:
    - service: servo_node/pause_servo
      type: std_srvs/srv/SetBool
      request: {data: false}
      expect: {success: true}
controllers:
  - {manager: /controller_manager, required: [arm_controller]}
interlocks:
  program:
    {topic: program_running, type: std_msgs/msg/Bool, field: data, fine: [true], latched: true}
  speed: {topic: speed, type: std_msgs/msg/Float64, field: data, fine: {lower: 1, upper: 100}}
activation: {jump: {rad: 0.3}, ramp_s: 1.0}
workspace:
  urdf: twin.urdf
  links: [hand]
  box: {lower: [0.1, -0.4, 0.0], upper: [0.8, 0.4, 0.6]}
  pairs: [[hand, other_hand]]
""")


def changed(path: str = "", value: Any = None) -> str:
    """Return the good file's text with the value at a dotted path replaced; None removes it."""
    data = copy.deepcopy(GOOD)
    if path:
        *parents, last = path.split(".")
        place = data
        for key in parents:
            place = place[int(key) if isinstance(place, list) else key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return yaml.safe_dump(data, sort_keys=False)


def test_shipped_standin_loads() -> None:
    robot = load_robot("standin")
    assert robot.stand_in
    (output,) = robot.outputs.values()
    assert output.adapter == "joint_trajectory"
    assert not output.interpolated and output.point_seconds(0.1) == 0.1
    assert list(robot.cameras) == ["top"]
    assert robot.reset_service and robot.ground_truth == "driver/ground_truth"


def test_a_file_with_every_section_loads() -> None:
    robot = parse_robot(changed(), "twin.yaml")
    assert robot.reset_service == robot.ground_truth == "" and not robot.lockstep
    waist, gripper = robot.joint_states["left"].entries
    assert (waist.driver, waist.joint, waist.gripper) == ("waist", "left_waist", None)
    assert (gripper.driver, gripper.joint) == ("left_finger", "left_gripper")
    (sent,) = robot.outputs["left_gripper"].entries
    assert (sent.driver, sent.joint) == ("gripper", "left_gripper")
    assert robot.outputs["left"].interpolated
    assert robot.cameras["top"].upright_size == (480, 480)
    assert robot.workspace is not None
    assert robot.workspace.named_links == ("hand", "other_hand")


def test_gripper_maps_of_command_and_observation_are_separate() -> None:
    observed = GripperMap(joint="g", shut=0.044, open=0.0579)
    commanded = GripperMap(joint="g", shut=0.6197, open=1.6214)
    assert observed.ratio(0.044) == 0.0 and observed.ratio(0.0579) == pytest.approx(1.0)
    assert commanded.value(0.0) == 0.6197 and commanded.value(1.0) == pytest.approx(1.6214)
    falling = GripperMap(joint="g", shut=0.0, open=-0.0475)  # a driver that counts downwards
    assert falling.ratio(falling.value(0.3)) == pytest.approx(0.3)


def test_fine_values_do_not_mix_types_and_never_accept_nan() -> None:
    common = {"topic": "t", "type": "std_msgs/msg/Bool", "field": "data"}
    listed = Interlock(**common, fine=(True,))  # type: ignore[arg-type]
    assert listed.is_fine(True) and not listed.is_fine(1) and not listed.is_fine(False)
    numbers = Interlock(**common, fine=(1,))  # type: ignore[arg-type]
    assert numbers.is_fine(1) and numbers.is_fine(1.0) and not numbers.is_fine(True)
    ranged = Interlock(**common, fine=FineRange(lower=1.0, upper=100.0))  # type: ignore[arg-type]
    assert ranged.is_fine(1) and not ranged.is_fine(True)
    assert not ranged.is_fine(0.5) and not ranged.is_fine(math.nan)


TWO_OUTPUTS = {
    "adapter": "float64_multi_array", "topic": "c", "joints": ["left_waist"],
    "silence": "hold_last",
}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("stale_after", 0.5, ["stale_after", "did you mean"]),
        ("stale_after_s", 500, ["500", "stale_after_s", "60"]),
        ("stale_after_s", 0, ["stale_after_s"]),
        ("stale_after_s", float("nan"), ["stale_after_s", "not finite"]),
        ("stale_after_s", "0.5 s", ["stale_after_s", "float"]),
        ("pace", "cam", ["pace", "camera", "timer"]),
        ("clock", "wall", ["clock", "same", "own"]),
        ("lockstep", True, ["lockstep", "camera"]),
        ("cameras", {}, ["cameras"]),
        ("outputs", {}, ["outputs"]),
        ("outputs", None, ["outputs", "missing"]),
        ("joint_states.left.topic", "1joint states", ["1joint states", "joint_states.left"]),
        ("joint_states.right.joints", [], ["joint_states.right.joints", "list the joints"]),
        ("joint_states.right.joints", ["left_waist"], ["left_waist", "two sources", "left and"]),
        ("joint_states.right.joints", ["a", "a"], ["joint_states.right.joints", "twice"]),
        ("joint_states.left.joints.left_finger.open", 0.044, ["left_finger.open", "measure"]),
        ("joint_states.left.joints.left_finger.closed", 1, ["closed", "shut"]),
        ("cameras.top.imge", "x", ["imge", "image"]),
        ("cameras.top.encodings", ["16UC1"], ["16UC1", "rgb8", "cameras.top.encodings"]),
        ("cameras.top.encodings", [], ["cameras.top.encodings"]),
        ("cameras.top.crop.x", 200, ["cameras.top.crop", "(680, 480)", "640x480"]),
        ("cameras.top.size", None, ["cameras.top.size", "width, height"]),
        ("cameras.top.rotate", 45, ["rotate", "90"]),
        ("cameras.top.stamp_offset_s", 50, ["stamp_offset_s", "2"]),
        ("outputs.right.silence", "hold_last", ["outputs.right.silence", "use zero"]),
        ("outputs.left.silence", "zero", ["outputs.left.silence", "hold_last"]),
        ("outputs.left.silence", "wait", ["outputs.left.silence", "stop_sending"]),
        ("outputs.right.rate_hz", None, ["outputs.right.rate_hz", "50 to 100"]),
        ("outputs.right.frame", None, ["outputs.right.frame", "controller expects"]),
        ("outputs.right.group", None, ["outputs.right.group", "action group"]),
        ("outputs.right.joints", ["a"], ["outputs.right.group", "leave out joints"]),
        ("outputs.left.group", "left", ["outputs.left.joints", "leave out group"]),
        ("outputs.left.group_name", None, ["outputs.left.group_name", "arm"]),
        ("outputs.left.adapter", "joint_groupcommand", ["did you mean", "joint_group_command"]),
        ("outputs.left.adapter", "float64_multi_array", ["group_name", "leave it out"]),
        ("outputs.left.action", "c", ["outputs.left.topic", "leave out action"]),
        ("outputs.left.topic", None, ["outputs.left.topic", "sent to a topic"]),
        ("outputs.left.time_from_start_s", 0.1, ["time_from_start_s", "does not apply"]),
        ("outputs.left.rate_hz", 1000, ["outputs.left.rate_hz", "200"]),
        ("outputs.left_gripper.interpolate", "linear", ["rate_hz", "50 to 100"]),
        ("outputs.left_gripper.max_step", 0.1, ["left_gripper.max_step", "give rate_hz"]),
        ("outputs.right.max_step", 0.1, ["outputs.right.max_step", "leave it out"]),
        ("outputs.left_gripper.joints.x", "y", ["2 joints", "one output for each"]),
        ("outputs.left_gripper.joints.left_gripper.open", 0.6197, ["left_gripper.open"]),
        ("outputs.again", TWO_OUTPUTS, ["left_waist", "two outputs", "left and again"]),
        ("outputs.again", {**TWO_OUTPUTS, "joints": ["x"], "topic": "servo_node/delta_twist_cmds"},
         ["address", "twice"]),
        ("enable.on_activate.0.type", "SetBool", ["on_activate[0].type", "std_srvs/srv/SetBool"]),
        ("controllers.0.required", [], ["controllers[0].required"]),
        ("interlocks.program.type", "Bool", ["interlocks.program.type", "std_msgs/msg/Bool"]),
        ("interlocks.program.fine", [], ["interlocks.program.fine"]),
        ("interlocks.program.stale_after_s", 1.0, ["interlocks.program.stale_after_s", "latched"]),
        ("interlocks.speed.fine", {"lower": 2, "upper": 1}, ["interlocks.speed.fine", "swap"]),
        ("interlocks.speed.field", "data[0]", ["interlocks.speed.field"]),
        ("activation.jump.rad", 30, ["activation.jump.rad", "7"]),
        ("workspace.box.upper", [0.1, 1, 1], ["workspace.box.upper", "x, y, z"]),
        ("workspace.links", [], ["workspace.links"]),
        ("workspace.urdf", None, ["workspace.urdf", "path"]),
        ("workspace.box", None, ["workspace.links", "table_z_m"]),
        ("workspace.pairs", [["hand", "hand"]], ["workspace.pairs[0]", "two links"]),
        ("reset", {"srv": "place"}, ["srv", "service"]),
        ("ground_truth", "1x", ["ground_truth", "ROS name"]),
    ],
)
def test_wrong_file_is_refused_by_name(path: str, value: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        parse_robot(changed(path, value), "twin.yaml")
    for word in ["twin.yaml", *words]:
        assert word in str(error.value)
    assert error.value.remedy


def test_a_point_ends_before_it_is_replaced() -> None:
    text = {**GOOD["outputs"]["left"], "adapter": "joint_trajectory", "time_from_start_s": 0.1}
    del text["group_name"]
    with pytest.raises(ConfigError, match="erratically"):
        parse_robot(changed("outputs.left", text), "twin.yaml")
    del text["time_from_start_s"]
    output = parse_robot(changed("outputs.left", text), "twin.yaml").outputs["left"]
    assert output.point_seconds(0.1) == 1 / 50


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_adapter_loads(adapter: str) -> None:
    spec = ADAPTERS[adapter]
    output: dict[str, Any] = {"adapter": adapter, "silence": "hold_last"}
    output |= {"action" if spec.drives == "gripper" else "topic": "c"}
    output |= {"joints": ["j"]} if spec.drives in ("joints", "gripper") else {"group": "tool"}
    if spec.drives == "twist":
        output |= {"silence": "zero", "rate_hz": 100}
    output |= dict.fromkeys(spec.needs, "x")
    robot = parse_robot(changed("outputs", {"one": output}), "twin.yaml")
    assert robot.outputs["one"].address == "c"


def test_gripper_goals_are_rare() -> None:
    output = {"adapter": "gripper_command", "action": "g", "joints": ["j"], "silence": "hold_last"}
    for extra, word in (({"rate_hz": 50}, "preempts"), ({"interpolate": "linear"}, "rate_hz")):
        with pytest.raises(ConfigError, match=word):
            parse_robot(changed("outputs", {"one": {**output, **extra}}), "twin.yaml")


def test_a_box_without_a_urdf_is_for_end_effectors() -> None:
    box = {"lower": [0.1, -0.4, 0.0], "upper": [0.8, 0.4, 0.6]}
    robot = parse_robot(changed("workspace", {"box": box, "frame": "base"}), "twin.yaml")
    assert robot.workspace is not None and robot.workspace.urdf == ""
