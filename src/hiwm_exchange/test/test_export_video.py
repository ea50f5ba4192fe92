"""Videos of episodes, and the Foxglove layout of our bags."""

import json
import re
from pathlib import Path

import av
import numpy as np
import pytest

from hiwm_core.bags.schema import recording_types
from hiwm_core.control import Source
from hiwm_core.palette import SOURCE_COLOURS
from hiwm_exchange.export_video import main, video_pictures
from hiwm_test_support.exchange_data import at_period, forked, record, segment
from hiwm_test_support.shipped import MODELS

LAYOUT = MODELS.parent / "config" / "foxglove" / "session.json"
TYPES = {
    "/hiwm/tick": "hiwm_interfaces/msg/Tick", "/hiwm/world_info": "hiwm_interfaces/msg/WorldInfo",
    "/hiwm/control_state": "hiwm_interfaces/msg/ControlState",
    "/hiwm/joint_states": "sensor_msgs/msg/JointState",
    "/hiwm/cameras/top/image_raw": "sensor_msgs/msg/Image",
}


def shows(picture: np.ndarray, source: Source) -> bool:
    return bool((picture == SOURCE_COLOURS[source]).all(axis=2).sum() > 1000)


def test_branches_are_compared_step_by_step() -> None:
    pictures = list(video_pictures(forked(), ["", "success", ""]))
    assert len(pictures) == 21, "steps 0 to 20"
    assert len({picture.shape for picture in pictures}) == 1
    assert all(side % 2 == 0 for side in pictures[0].shape[:2])
    assert shows(pictures[5], Source.POLICY) and not shows(pictures[5], Source.HUMAN)
    assert shows(pictures[14], Source.HUMAN), "the corrections begin at step 12"


def test_an_episode_is_written_and_only_a_video_of_ours_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = record(tmp_path / "session", [segment("ep_0001-b000", [Source.POLICY] * 9)])
    bag, output = next((session / "bags").iterdir()), tmp_path / "episode.mp4"
    for _ in range(2):
        assert main([str(bag), "-o", str(output), "--speed", "2"]) == 0
    with av.open(str(output)) as video:
        assert video.streams.video[0].average_rate == 20
        assert sum(1 for _ in video.decode(video=0)) == 10
    output.write_bytes(b"theirs")
    assert main([str(bag), "-o", str(output)]) == 1
    assert output.read_bytes() == b"theirs" and "left unchanged" in capsys.readouterr().err


def test_the_steps_of_a_branch_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = record(tmp_path / "session", [
        segment("b", [Source.POLICY] * 3, first_step=12, parent="a", fork_step=12)
    ])
    bag = next((session / "bags").iterdir())
    assert main([str(bag), "-o", str(tmp_path / "v.mp4")]) == 0
    assert "v.mp4: steps 12 to 15" in capsys.readouterr().out


def test_bags_of_unequal_periods_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "session", [
        segment("a", [1] * 3), at_period(segment("b", [1] * 3), 0.05)
    ])
    bags = [str(bag) for bag in sorted((tmp_path / "session/bags").iterdir())]
    assert main([*bags, "-o", str(tmp_path / "v.mp4")]) == 1
    assert "control period" in capsys.readouterr().err


def test_every_path_of_the_foxglove_layout_is_a_field_of_our_messages() -> None:
    layout = json.loads(LAYOUT.read_text())
    text = json.dumps(layout["configById"])
    paths = re.findall(r'"(/hiwm/[^"]+)"', text)
    assert len(paths) >= 9
    for path in paths:
        topic, _, field = path.partition(".")
        definition = recording_types().fielddefs[TYPES[topic]]
        names = {name for name, _ in definition[1]}
        assert not field or field.removesuffix("[:]") in names, path
    panels = set(re.findall(r'"(\w+!\w+)"', json.dumps(layout["layout"])))
    assert panels == set(layout["configById"])
