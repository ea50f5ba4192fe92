"""Bags of raw topics become ticks, by the robot file; alignment, gaps, and actions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiwm_core.bags import read_segment
from hiwm_core.bags.schema import recording_types
from hiwm_core.embodiment import load_embodiment
from hiwm_core.robots.outputs import Output
from hiwm_exchange.command_topics import CommandTopic, has_targets
from hiwm_exchange.import_bags import main
from hiwm_test_support.exchange_data import picture
from hiwm_test_support.raw_bags import JOINTS, SECOND, header, raw_bag

EMBODIMENT = load_embodiment("planar_bimanual")


def imported(bag: Path, output: Path, *more: str) -> list[Any]:
    assert main([
        str(bag), "-o", str(output), "--robot-file", "standin", "--task", "push_t", *more
    ]) == 0
    return [read_segment(one) for one in sorted((output / "bags").iterdir())]


def test_a_tick_shows_what_had_arrived_and_its_action_what_was_asked_before_the_next(
    tmp_path: Path,
) -> None:
    (read,) = imported(raw_bag(tmp_path / "lab"), tmp_path / "session")
    assert read.length == 30 and np.all(np.diff(read.stamps_ns) == SECOND // 10)
    assert read.lineage.robot == "standin" and read.lineage.stand_in
    order = [JOINTS.index(name) for name in EMBODIMENT.joint_names]
    base = np.array([0.02, 0.0, 0.01, 0.03])[order]
    # Every tick lies on a joint state: the tenth, the twentieth and so on.
    assert np.allclose(read.proprio, base + np.arange(30)[:, None] * 1e-3, atol=1e-6)
    assert np.allclose(read.actions[:-1], base + np.arange(29)[:, None] * 1e-3 + 5e-4, atol=1e-6)
    newest = (np.arange(30) * 3) // 2  # of 15 images a second, at 10 ticks
    for t in (0, 7, 20):
        assert np.array_equal(read.observations["top"][t], picture(int(newest[t])))
    assert read.device[0] == "imported"


def test_without_commands_the_next_measured_state_is_the_action(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (read,) = imported(
        raw_bag(tmp_path / "lab", commands=False), tmp_path / "session", "--source", "human"
    )
    assert np.allclose(read.actions[:-1], read.measured[1:], atol=1e-6)
    assert read.device[0] == "next measured state" and read.source[0] == 2
    assert "no targets of output arms" in capsys.readouterr().out


def test_a_stale_stream_cuts_the_bag(tmp_path: Path) -> None:
    one, other = imported(raw_bag(tmp_path / "lab", pause=True), tmp_path / "session")
    # The last image before the pause came at 0.933 s; the robot file allows 0.5 s.
    assert one.length == 15 and other.length >= 9
    assert other.stamps_ns[0] >= 102 * SECOND
    assert one.lineage.episode_id != other.lineage.episode_id


@pytest.mark.parametrize(("robot", "words"), [
    ("ur5e", ("no topic", "correct the robot file", "/lab/driver/joint_states")),
    ("nothing", ("nothing",)),
])
def test_a_bag_without_the_robots_topics_is_refused(
    tmp_path: Path, robot: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    bag = raw_bag(tmp_path / "lab")
    output = tmp_path / "session"
    assert main([str(bag), "-o", str(output), "--robot-file", robot]) == 1
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert not output.exists()


def test_every_adapter_with_targets_is_read_back() -> None:
    cartesian = load_embodiment("yam_pair_cartesian")
    types = recording_types().types
    pose = Output(
        adapter="pose_stamped", topic="t", group="left_tip", frame="table",
        orientation=(1.0, 0.0, 0.0, 0.0), silence="hold_last",
    )
    half = np.sqrt(0.5)
    sent = types["geometry_msgs/msg/PoseStamped"](
        header=header(0), pose=types["geometry_msgs/msg/Pose"](
            position=types["geometry_msgs/msg/Point"](x=0.3, y=0.1, z=0.05),
            # A yaw of 90 degrees after half a turn about x.
            orientation=types["geometry_msgs/msg/Quaternion"](x=half, y=half, z=0.0, w=0.0),
        ),
    )
    targets = dict(CommandTopic(pose, cartesian).targets(sent))
    assert targets[0] == 0.3 and targets[2] == 0.05
    assert targets[3] == pytest.approx(np.pi / 2)
    array = Output(
        adapter="float64_multi_array", topic="t", silence="hold_last",
        joints=("right_x_joint", "left_x_joint"),
    )
    layout = types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    sent = types["std_msgs/msg/Float64MultiArray"](layout=layout, data=np.array([0.1, 0.2]))
    assert dict(CommandTopic(array, EMBODIMENT).targets(sent)) == {2: 0.1, 0: 0.2}
    twist = Output(adapter="twist", topic="t", group="left_tip", silence="zero", rate_hz=50.0)
    assert not has_targets(twist)
