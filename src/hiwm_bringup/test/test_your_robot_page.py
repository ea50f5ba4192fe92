"""The page "Your robot, step by step": its drafts, changes and launches, without nodes."""

import sys
from pathlib import Path

import pytest

from hiwm_bringup.launcher.arguments import declared_arguments
from hiwm_bringup.launcher.resolving import resolve
from hiwm_bringup.launcher.vocabulary import read_launch_file
from hiwm_core import check_robot, check_task
from hiwm_robot.inspection.drafts import drafts
from hiwm_robot.inspection.layout import layout
from hiwm_robot.inspection.sightings import (
    ActionServer,
    CommandTopic,
    Flag,
    ImageTopic,
    JointTopic,
    Sighting,
)

sys.path.insert(0, str(Path(__file__).parent))
from your_robot_page import COMMANDS, ROOT, change_files  # noqa: E402

ARM = ("desk_base", "desk_shoulder", "desk_elbow", "desk_wrist")
NAME = "desk_arm"


def seen() -> Sighting:
    """What scripts/inspect sees of the page's robot."""
    joints = JointTopic(topic="/desk/joint_states")
    for names in (("desk_wrist", "desk_base"), ("desk_elbow", "desk_shoulder"), ("desk_finger",)):
        joints.add(names, [0.02] * len(names))
    return Sighting(
        seconds=10.0, joint_topics=[joints],
        urdf=(Path(__file__).parent / "outside_robot" / "desk_arm.urdf").read_text(),
        images=[ImageTopic(
            topic="/desk/overhead/image/compressed", compressed=True, encoding="jpeg",
            size=(160, 120),
        )],
        commands=[CommandTopic(
            topic="/desk/arm_position_controller/commands", subscribers=("/desk/arm",),
            type="std_msgs/msg/Float64MultiArray",
        )],
        actions=[ActionServer(
            name="/desk/gripper_controller/gripper_cmd", node="/desk/gripper",
            type="control_msgs/action/GripperCommand",
        )],
        parameters={"/desk/arm": ARM, "/desk/gripper": ("desk_finger",)},
        flags=[Flag(topic="/desk/emergency_stop", type="std_msgs/msg/Bool", latched=True)],
    )


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own directory with the drafts."""
    monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path))
    sighting = seen()
    for path, text in drafts(layout(sighting, NAME), sighting, "2026-01-31").items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_the_drafts_load_before_and_after_the_page_s_changes(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_robot.main([NAME]) == 0
    change_files(directory)
    assert check_robot.main([NAME]) == check_task.main([f"{NAME}_task"]) == 0
    said = capsys.readouterr().out
    for words in (
        "5 action entries, 7 of proprioception, 5 Hz", "interlocks: emergency_stop",
        "workspace: checked", "judge: person", "a start: cube_y_m",
    ):
        assert words in said, words


def test_the_page_s_launches_start_the_robot_s_graph(directory: Path) -> None:
    launches = [line.split()[3:] for line in COMMANDS if "hiwm_bringup.launcher" in line]
    assert len(launches) == 3
    for file, *given in launches:
        arguments = dict(word.split(":=", 1) for word in given)
        path = ROOT / file
        assert set(arguments) <= {a.name for a in declared_arguments(read_launch_file(path), {})}
        assert resolve(path, arguments)


def test_the_page_s_scripts_exist() -> None:
    scripts = [line.split()[0] for line in COMMANDS if line.startswith("scripts/")]
    assert len(scripts) >= 6
    assert all((ROOT / script).is_file() for script in scripts)
