"""Bags of raw topics become ticks, by the robot file; alignment, gaps, and actions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiwm_core.bags import Audit, Segment, read_segment
from hiwm_core.bags.schema import recording_types
from hiwm_core.embodiment import load_embodiment
from hiwm_core.robots.outputs import Output
from hiwm_exchange import raw_bags, targets
from hiwm_exchange.bag_writer import write_bag
from hiwm_exchange.command_topics import CommandTopic, has_targets
from hiwm_exchange.import_bags import main
from hiwm_test_support.exchange_data import picture
from hiwm_test_support.raw_bags import (
    JOINTS,
    SECOND,
    TRAJECTORY,
    header,
    joints,
    raw_bag,
    trajectory,
)
from hiwm_test_support.shipped import TASK

EMBODIMENT = load_embodiment("planar_bimanual")


def imported(bag: Path, output: Path, *more: str) -> list[Any]:
    assert main([
        str(bag), "-o", str(output), "--robot-file", "standin", "--task", TASK.name, *more
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
        raw_bag(tmp_path / "lab", commands=0), tmp_path / "session", "--source", "human"
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


def test_a_stretch_with_an_action_outside_its_limits_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = raw_bag(tmp_path / "lab", pause=True, more=[
        (431_000_000, TRAJECTORY, trajectory(0, (0.5, 0.0)))
    ])
    arguments = [str(bag), "-o", str(tmp_path / "session"), "--robot-file", "standin"]
    assert main([*arguments, "--strict"]) == 1
    assert "outside" in capsys.readouterr().err
    assert main(arguments) == 3
    said = capsys.readouterr()
    assert "left out a stretch of lab: action" in said.out and "1 left out;" in said.err
    (kept,) = (tmp_path / "session/bags").iterdir()
    assert read_segment(kept).stamps_ns[0] >= 102 * SECOND


def test_segments_are_cut_by_the_bytes_of_their_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_bags, "LARGEST", 10 * 96 * 96 * 3)
    read = imported(raw_bag(tmp_path / "lab"), tmp_path / "session")
    assert [one.length for one in read] == [10, 10, 10]


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


def test_a_command_gets_old_and_does_not_outlive_a_gap(tmp_path: Path) -> None:
    # Commands stop at 0.63 s; the output follows the last for 0.5 s, so up to the tick at 1.1 s.
    (read,) = imported(raw_bag(tmp_path / "lab", commands=7), tmp_path / "session")
    assert read.device[:-1] == ["imported"] * 11 + ["next measured state"] * 18
    assert np.allclose(read.actions[9], read.actions[6])
    assert np.allclose(read.actions[11:-1], read.measured[12:], atol=1e-6)
    # One command at 0.93 s, before the gap, that asks for 60 s.
    bag = raw_bag(tmp_path / "gap", pause=True, commands=0, more=[
        (930_000_000, TRAJECTORY, trajectory(0, (0.0, 0.05), (0.05, 60.0)))
    ])
    one, other = imported(bag, tmp_path / "cut")
    assert one.device[9:-1] == ["imported"] * (one.length - 10)
    assert set(other.device[:-1]) == {"next measured state"}


def test_a_trajectory_asks_for_what_it_says_at_each_tick(tmp_path: Path) -> None:
    bag = raw_bag(tmp_path / "lab", commands=0, more=[
        (500_000_000, TRAJECTORY, trajectory(0, (0.0, 0.0), (0.01, 1.0)))
    ])
    (read,) = imported(bag, tmp_path / "session")
    order = [JOINTS.index(name) for name in EMBODIMENT.joint_names]
    base = np.array([0.02, 0.0, 0.01, 0.03])[order]
    asked_for = np.clip(np.arange(11) * 1e-3, 0, 0.01)[:, None]
    assert np.allclose(read.actions[4:15], base + asked_for, atol=1e-6)
    assert read.device[3] == "next measured state" and read.device[4] == "imported"


def test_topics_that_end_alike_need_a_prefix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = raw_bag(tmp_path / "lab", more=[(0, "/other/driver/joint_states", joints(0, 0.1))])
    assert main([str(bag), "-o", str(tmp_path / "a"), "--robot-file", "standin"]) == 1
    error = capsys.readouterr().err
    assert "/lab/driver/joint_states, /other/driver/joint_states" in error
    assert "--prefix" in error
    (read,) = imported(bag, tmp_path / "b", "--prefix", "/lab")
    assert read.length == 30
    assert main([
        str(bag), "-o", str(tmp_path / "c"), "--robot-file", "standin", "--prefix", "other"
    ]) == 1, "its camera has another prefix"


@pytest.mark.parametrize("damage", ["no messages", "cut off", "no metadata"])
def test_a_damaged_bag_of_many_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    for name in ("a", "b", "c"):
        raw_bag(tmp_path / "lab" / name)
    broken = tmp_path / "lab" / "b"
    (file,) = broken.glob("*.mcap")
    if damage == "no metadata":
        (broken / "metadata.yaml").write_text("rosbag2_bagfile_information: 1\n")
    else:
        file.write_bytes(b"" if damage == "no messages" else file.read_bytes()[:60_000])
    arguments = [str(tmp_path / "lab"), "-o", str(tmp_path / "session"), "--robot-file", "standin"]
    assert main(arguments) == 3
    said = capsys.readouterr()
    assert "left out b: cannot be read" in said.out and "2 bags, 60 ticks" in said.out
    assert "1 left out;" in said.err
    assert main([str(broken), "-o", str(tmp_path / "one"), "--robot-file", "standin"]) == 1
    assert capsys.readouterr().err.startswith("error: cannot be read")
    assert not (tmp_path / "one").exists()


def test_a_bag_that_fails_its_audit_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(bags: Path, segment: Segment) -> Audit:
        return replace(write_bag(bags, segment), ok=False, problems=["a gap"])

    monkeypatch.setattr(targets, "write_bag", failing)
    bag = raw_bag(tmp_path / "lab")
    assert main([str(bag), "-o", str(tmp_path / "session"), "--robot-file", "standin"]) == 3
    said = capsys.readouterr()
    assert "fails its audit: a gap" in said.out
    assert "1 of the written bags fail their audit;" in said.err


def asked(topic: CommandTopic, message: Any) -> dict[int, float]:
    """Return the targets of a message at once."""
    return {entry: track.at(0.0) for entry, track in topic.tracks(message).items()}


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
    found = asked(CommandTopic(pose, cartesian), sent)
    assert found[0] == 0.3 and found[2] == 0.05
    assert found[3] == pytest.approx(np.pi / 2)
    array = Output(
        adapter="float64_multi_array", topic="t", silence="hold_last",
        joints=("right_x_joint", "left_x_joint"),
    )
    layout = types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    sent = types["std_msgs/msg/Float64MultiArray"](layout=layout, data=np.array([0.1, 0.2]))
    assert asked(CommandTopic(array, EMBODIMENT), sent) == {2: 0.1, 0: 0.2}
    twist = Output(adapter="twist", topic="t", group="left_tip", silence="zero", rate_hz=50.0)
    assert not has_targets(twist)
