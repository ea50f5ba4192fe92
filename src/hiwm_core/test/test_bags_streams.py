"""Streams with stamps of their own, from the recorder to the arrays of a segment."""

from pathlib import Path

import numpy as np
import pytest

from hiwm_core.bag_digest import read_digest
from hiwm_core.bags import (
    Lineage,
    RecordedTopic,
    RecordingSession,
    audit_bag,
    read_segment,
    session_bags,
)
from hiwm_core.bags.contents import BagContents
from hiwm_core.bags.mcap_file import decoded
from hiwm_core.bags.topics import Stream, observation_stream, stream
from hiwm_core.frames import stream_stamps
from hiwm_test_support.bags import IMAGE, JOINT_STATES, TICK, RecordedWorld

LAGS_NS = {"cameras/top/image_raw": 31_000_000, "joint_states": 2_000_000}


def recorded(folder: Path, lags_ns: dict[str, int]) -> list[Path]:
    """Record two segments of a world, with its streams that far behind their ticks."""
    session = RecordingSession(folder, Lineage(seed=5))
    now = [100.0]

    def send(topic: RecordedTopic, raw: bytes) -> None:
        now[0] += 0.001
        session.receive(topic, raw, int(now[0] * 1e9), now[0])

    world = RecordedWorld(send, lags_ns=lags_ns)
    world.world_info()
    world.run(5)
    world.begin_branch("ep_0001-b001", 3)
    world.run(4)
    session.close_all()
    assert session.unmatched == session.outside == 0
    return session_bags(folder)


def test_streams_with_stamps_of_their_own_give_the_same_arrays(tmp_path: Path) -> None:
    same = recorded(tmp_path / "same", {})
    own = recorded(tmp_path / "own", LAGS_NS)
    assert len(same) == len(own) == 2
    for one, other in zip(same, own, strict=True):
        assert audit_bag(other).ok, audit_bag(other).problems
        expected, found = read_segment(one), read_segment(other)
        assert np.array_equal(found.observations["top"], expected.observations["top"])
        assert np.array_equal(found.proprio, expected.proprio)
        assert np.array_equal(found.stamps_ns, expected.stamps_ns)
        digest = read_digest(other)
        picture = digest.frame(digest.ticks[2])
        assert picture is not None
        assert np.array_equal(picture, expected.observations["top"][2])


def test_every_stamp_of_the_drivers_is_in_the_bag(tmp_path: Path) -> None:
    for bag in recorded(tmp_path, LAGS_NS):
        messages = list(BagContents(bag).messages())
        ticks = [decoded(m) for m in messages if stream(m.channel) is Stream.TICK]
        for kind, name in ((Stream.IMAGE, IMAGE), (Stream.JOINT_STATES, JOINT_STATES)):
            topic = observation_stream(name.topic.name)
            stamps = [
                m.header.stamp.sec * 10**9 + m.header.stamp.nanosec
                for m in (decoded(m) for m in messages if stream(m.channel) is kind)
            ]
            assert stamps == [stream_stamps(tick)[topic] for tick in ticks]
            own = ticks[0].header.stamp.sec * 10**9 + ticks[0].header.stamp.nanosec
            assert own - stamps[0] == LAGS_NS[topic]


def test_the_message_of_a_slow_stream_is_in_the_bags_of_all_its_ticks(tmp_path: Path) -> None:
    """The last image of a branch is also the first one of the next: the camera is slow."""
    session = RecordingSession(tmp_path, Lineage())
    world = RecordedWorld(lambda topic, raw: session.receive(topic, raw, 1, 0.0))
    world.world_info()
    world.run(3)
    image = world.image()
    for branch in range(2):
        if branch:
            first = world.stamp_ns
            world.begin_branch("ep_0001-b001", 3)
            world.lags_ns = {"cameras/top/image_raw": world.stamp_ns - first}
        else:
            session.receive(IMAGE, image, 1, 0.0)
        session.receive(JOINT_STATES, world.joint_state(), 1, 0.0)
        session.receive(TICK, world.tick(), 1, 0.0)
    session.close_all()
    one, other = (read_segment(bag) for bag in session_bags(tmp_path))
    assert np.array_equal(one.observations["top"][-1], other.observations["top"][0])
    assert [audit_bag(bag).ok for bag in session_bags(tmp_path)] == [True, True]


@pytest.mark.parametrize(("topic", "name"), [
    ("/hiwm/cameras/top/image_raw", "cameras/top/image_raw"),
    ("/a/b/cameras/left_wrist/camera_info", "cameras/left_wrist/image_raw"),
    ("/joint_states", "joint_states"),
    ("poses/left_tool", "poses/left_tool"),
    ("/hiwm/driver/joint_states", ""),
    ("/hiwm/driver/cameras/top/image_raw", ""),
    ("/hiwm/tick", ""),
    ("/hiwm/command", ""),
])
def test_topics_of_a_tick_s_streams(topic: str, name: str) -> None:
    assert observation_stream(topic) == name
