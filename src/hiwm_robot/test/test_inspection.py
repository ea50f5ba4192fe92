"""From what was seen of a graph to drafts that load."""

from pathlib import Path

import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.robot_config import RobotConfig, load_robot
from hiwm_core.tasks import load_task
from hiwm_robot.inspection.commands import choose
from hiwm_robot.inspection.drafts import drafts
from hiwm_robot.inspection.layout import layout, plain_name
from hiwm_robot.inspection.sightings import (
    ActionServer,
    CommandTopic,
    Controller,
    Flag,
    ImageTopic,
    JointTopic,
    PoseTopic,
    Sighting,
    Stream,
)
from hiwm_robot.inspection.summary import summary, warnings
from hiwm_robot.inspection.urdf_joints import urdf_facts

TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
ARRAY = "std_msgs/msg/Float64MultiArray"
URDF = """<robot name="arm">
  <link name="base"/><link name="upper"><collision/></link><link name="hand"/><link name="tip"/>
  <joint name="lift" type="revolute"><parent link="base"/><child link="upper"/>
    <limit lower="-1.5" upper="1.25" velocity="0.3" effort="1"/></joint>
  <joint name="roll" type="continuous"><parent link="upper"/><child link="hand"/>
    <limit velocity="9" effort="1"/></joint>
  <joint name="finger" type="prismatic"><parent link="hand"/><child link="tip"/>
    <limit lower="0" upper="0.05" velocity="1" effort="1"/></joint>
  <joint name="other_finger" type="prismatic"><parent link="hand"/><child link="tip"/>
    <mimic joint="finger"/><limit lower="0" upper="0.05" velocity="1" effort="1"/></joint>
</robot>"""


def stream(rate_hz: float = 50.0, *, stamped: bool = True, offset_s: float = 0.0) -> Stream:
    found = Stream()
    for i in range(21):
        clock = 10**18 + round(1e9 * i / rate_hz)
        found.add(clock + round(1e9 * offset_s) if stamped else 0, clock, i / rate_hz)
    return found


def joints(topic: str, *names: str, at: float = 0.2, moved: float = 0.0) -> JointTopic:
    seen = JointTopic(topic=topic, stream=stream())
    for value in (at, at + moved):
        seen.add(names, [value] * len(names))
    return seen


def camera(topic: str = "/cam/color/image_raw", **changes: object) -> ImageTopic:
    given: dict[str, object] = {
        "topic": topic, "compressed": False, "stream": stream(30.0), "encoding": "rgb8",
        "size": (640, 480), **changes,
    }
    return ImageTopic(**given)  # type: ignore[arg-type]


def arm(**changes: object) -> Sighting:
    """One arm whose controller says its joints, with a gripper that reports metres."""
    given: dict[str, object] = {
        "seconds": 5.0, "nodes": ("/arm_controller",), "urdf": URDF,
        "joint_topics": [
            joints("/joint_states", "finger", "other_finger", "roll", "lift", at=0.04)
        ],
        "images": [camera()],
        "commands": [CommandTopic(
            topic="/arm_controller/joint_trajectory", type=TRAJECTORY,
            subscribers=("/arm_controller",),
        )],
        "actions": [ActionServer(
            name="/gripper_controller/gripper_cmd", node="/gripper_controller",
            type="control_msgs/action/GripperCommand",
        )],
        "controllers": [
            Controller(manager="/controller_manager", name=name, type="t", state="active")
            for name in ("arm_controller", "gripper_controller")
        ],
        "parameters": {
            "/arm_controller": ("lift", "roll"), "/gripper_controller": ("finger",),
        }, **changes,
    }
    return Sighting(**given)  # type: ignore[arg-type]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path))
    return tmp_path


def written(sighting: Sighting, config: Path, name: str = "arm_x") -> dict[str, str]:
    texts = drafts(layout(sighting, name), sighting, "2026-01-31")
    for path, text in texts.items():
        (config / path).parent.mkdir(exist_ok=True)
        (config / path).write_text(text)
    return texts


def loaded(sighting: Sighting, config: Path) -> RobotConfig:
    written(sighting, config)
    assert load_task("arm_x_task").embodiment == "arm_x"
    return load_robot("arm_x")


def test_an_arm_with_a_gripper_becomes_drafts_that_load(config: Path) -> None:
    robot = loaded(arm(), config)
    embodiment = load_embodiment("arm_x")
    assert [entry.joint for entry in embodiment.actions] == ["lift", "roll", "finger"]
    assert embodiment.actions[0].lower == -1.5
    assert embodiment.actions[0].max_velocity == 0.3
    assert embodiment.home[0] == 0.04
    assert embodiment.rate_hz == 15.0
    assert [group.kind for group in embodiment.groups] == ["joint_position", "gripper"]
    source = robot.joint_states["joints"]
    assert {entry.driver for entry in source.entries} == {"lift", "roll", "finger"}
    finger = next(entry for entry in source.entries if entry.driver == "finger")
    assert finger.gripper is not None
    assert (finger.gripper.shut, finger.gripper.open) == (0.0, 0.05)
    assert robot.outputs["gripper"].action == "/gripper_controller/gripper_cmd"
    assert robot.controllers[0].required == ("arm_controller", "gripper_controller")
    assert robot.cameras["color" if "color" in robot.cameras else "cam"].crop is not None


def test_the_order_of_an_array_is_the_controllers_own(config: Path) -> None:
    sighting = arm(
        commands=[CommandTopic(
            topic="/forward/commands", type=ARRAY, subscribers=("/forward",)
        )],
        controllers=[], parameters={"/forward": ("roll", "lift")}, actions=[],
    )
    robot = loaded(sighting, config)
    (output,) = robot.outputs.values()
    assert [entry.driver for entry in output.entries] == ["roll", "lift"]
    assert output.rate_hz == 50.0


def test_an_array_whose_joints_nobody_names_is_marked(config: Path) -> None:
    sighting = arm(
        commands=[CommandTopic(topic="/forward/commands", type=ARRAY, subscribers=("/f",))],
        controllers=[], parameters={}, actions=[],
    )
    texts = written(sighting, config)
    assert "CHECK: the controller did not say its joints, nor their order" in texts[
        "robots/arm_x.yaml"
    ]
    load_robot("arm_x")


def test_an_active_controller_comes_before_an_inactive_one(config: Path) -> None:
    sighting = arm()
    sighting.commands.append(CommandTopic(
        topic="/forward/commands", type=ARRAY, subscribers=("/forward",), publishers=("/pad",)
    ))
    sighting.parameters["/forward"] = ("lift", "roll")
    sighting.controllers[0].state = "inactive"
    sighting.controllers.append(Controller(
        manager="/controller_manager", name="forward", type="t", state="active"
    ))
    found = choose(sighting, urdf_facts(URDF))
    assert [command.address for command in found.used][0] == "/forward/commands"
    assert found.left[0][0].address == "/arm_controller/joint_trajectory"
    text = written(sighting, config)["robots/arm_x.yaml"]
    assert "CHECK: /pad publishes here too" in text
    assert "not used: /arm_controller/joint_trajectory" in text


def test_controllers_of_velocities_are_left_out() -> None:
    sighting = arm()
    sighting.controllers[0].interfaces = ("lift/velocity", "roll/velocity")
    found = choose(sighting, urdf_facts(URDF))
    assert "arm_controller" not in [c.address for c in found.used]
    assert "no positions" in found.left[0][1]


def test_two_arms_with_joints_of_equal_names_get_names_of_their_own(config: Path) -> None:
    sides = ("left", "right")
    sighting = arm(
        urdf="", controllers=[], parameters={}, actions=[],
        joint_topics=[
            joints(f"/follower_{side}/joint_states", "waist", "elbow", "gripper", moved=0.5)
            for side in sides
        ],
        commands=[
            CommandTopic(
                topic=f"/follower_{side}/commands/{end}", subscribers=(f"/{side}",),
                type=f"interbotix_xs_msgs/msg/{kind}",
            )
            for side in sides
            for end, kind in (
                ("joint_group", "JointGroupCommand"), ("joint_single", "JointSingleCommand")
            )
        ],
    )
    robot = loaded(sighting, config)
    embodiment = load_embodiment("arm_x")
    assert set(embodiment.arms) == {"left", "right"}
    assert {entry.joint for entry in embodiment.actions} == {
        f"{side}_{joint}" for side in sides for joint in ("waist", "elbow", "gripper")
    }
    for side in sides:
        source = next(s for s in robot.joint_states.values() if side in s.topic)
        assert {entry.joint for entry in source.entries} == {
            f"{side}_waist", f"{side}_elbow", f"{side}_gripper"
        }


def test_a_tool_that_is_commanded_by_twists_is_measured_by_its_pose(config: Path) -> None:
    sighting = arm(
        joint_topics=[joints("/joint_states", "lift", "roll")], controllers=[], parameters={},
        actions=[], poses=[PoseTopic(
            topic="/tool_pose", stream=stream(), frame="base", position=(0.4, 0.0, 0.2)
        )],
        commands=[CommandTopic(
            topic="/servo_node/delta_twist_cmds", type="geometry_msgs/msg/TwistStamped",
            subscribers=("/servo_node",),
        )],
    )
    text = written(sighting, config)["robots/arm_x.yaml"]
    assert "silence: zero" in text
    assert "poses:\n  tool: {topic: /tool_pose, frame: base}" in text
    assert load_embodiment("arm_x").action_dim == 9


def test_without_limits_and_motion_nothing_far_can_happen(config: Path) -> None:
    loaded(arm(urdf=""), config)
    embodiment = load_embodiment("arm_x")
    for entry in embodiment.actions[:2]:
        assert entry.upper - entry.lower <= 0.21
        assert entry.max_velocity <= 0.5
    source = load_robot("arm_x").joint_states["joints"]
    (span,) = (e.gripper.span for e in source.entries if e.gripper is not None)
    assert span == pytest.approx(0.001)


def test_a_graph_without_a_robot_gives_drafts_whose_refusal_names_the_field(config: Path) -> None:
    nothing = Sighting(seconds=1.0)
    written(nothing, config)
    with pytest.raises(ConfigError, match="groups"):
        load_embodiment("arm_x")
    said = "\n".join(summary(nothing, layout(nothing, "arm_x")))
    for words in ("no joint states", "no command", "no usable camera", "robot_description"):
        assert words in said


def test_stamps_that_cannot_be_used_are_named_and_drafted(config: Path) -> None:
    sighting = arm(images=[
        camera("/zero/image_raw", stream=stream(30.0, stamped=False)),
        camera("/late/image_raw", stream=stream(30.0, offset_s=-7.0)),
    ])
    robot = loaded(sighting, config)
    assert robot.cameras["zero"].stamps == "arrival"
    assert robot.clock == "own"
    said = "\n".join(warnings(sighting, layout(sighting, "arm_x")))
    assert "/zero/image_raw: stamps are zero" in said
    assert "/late/image_raw: stamps are -7.0 s" in said
    assert "7.0 s apart" in said


def test_cameras_keep_their_kind_and_others_are_named(config: Path) -> None:
    sighting = arm(images=[
        camera("/wrist/image_raw", stream=stream(10.0)),
        camera("/wrist/image_raw/compressed", compressed=True, encoding="jpeg"),
        camera("/top/image/compressed", compressed=True, encoding="jpeg", size=(64, 48)),
        camera("/depth/image_raw", encoding="16UC1", fault="encoding 16UC1 is not a picture"),
    ])
    robot = loaded(sighting, config)
    assert not robot.cameras["wrist"].compressed
    assert robot.cameras["top"].compressed
    embodiment = load_embodiment("arm_x")
    assert embodiment.camera("top").width == 48
    assert embodiment.rate_hz == 10.0
    assert "16UC1: encoding 16UC1 is not a picture" in "\n".join(summary(
        sighting, layout(sighting, "arm_x")
    ))


def test_two_publishers_and_candidates_of_interlocks_are_named(config: Path) -> None:
    sighting = arm(
        clock=True,
        flags=[Flag(topic="/io/emergency_stop", type="std_msgs/msg/Bool", latched=True,
                    value=False)],
    )
    sighting.commands[0].publishers = ("/pad", "/planner")
    said = "\n".join(warnings(sighting, layout(sighting, "arm_x")))
    assert "two nodes publish on /arm_controller/joint_trajectory: /pad, /planner" in said
    assert "/clock" in said
    text = written(sighting, config)["robots/arm_x.yaml"]
    assert "#   emergency_stop: {topic: /io/emergency_stop" in text
    assert "fine: [false], latched: true}  # now false" in text


def test_partial_messages_and_faulty_ones() -> None:
    seen = JointTopic(topic="/joint_states")
    seen.add(["a", "b"], [0.0, 1.0])
    assert not seen.partial
    seen.add(["c"], [2.0])
    assert seen.partial
    seen.add(["a", "a"], [0.0, 1.0])
    seen.add(["a"], [])
    seen.add(["a"], [float("nan")])
    assert len(seen.faults) == 3
    assert seen.upper == {"a": 0.0, "b": 1.0, "c": 2.0}


def test_parts_of_a_robot_may_share_a_stamp() -> None:
    found = Stream()
    for i in range(10):
        for part in (("a",), ("b",)):
            found.add(10**18 + i, 10**18, 0.1 * i, part)
    assert found.stamped
    constant = Stream()
    for i in range(10):
        constant.add(10**18, 10**18, 0.1 * i)
    assert not constant.stamped


def test_names_become_names() -> None:
    assert plain_name("trossen_arm_1/joint_0") == "trossen_arm_1_joint_0"
    assert plain_name("3 arms!") == "_3_arms"


def test_a_urdf_that_is_none_is_said() -> None:
    assert "not XML" in urdf_facts("<robot").problem
    facts = urdf_facts(URDF)
    assert facts.joints["other_finger"].mimics == "finger"
    assert facts.joints["roll"].lower is None
    assert (facts.root, facts.tips, facts.shapes) == ("base", ("tip",), ("upper",))
