"""Header fields from CDR, definitions and hashes, and our bags in independent readers."""

import json
import os
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.rosbag2 import Reader

from hiwm_core.bags import Lineage, RecordedTopic, RecordingSession, Topic, open_bag
from hiwm_core.bags.cdr import TickKey, epoch_and_step, stamp_ns, tick_key
from hiwm_core.bags.contents import mcap_path
from hiwm_core.bags.metadata import write_custom_data
from hiwm_core.bags.schema import interface_definitions, recording_types
from hiwm_core.errors import BagError
from hiwm_test_support.bags import TICK, RecordedWorld

TYPES = recording_types()
NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=9)


@settings(deadline=None)
@given(
    frame=NAMES, episode=NAMES, branch=NAMES, epoch=st.integers(0, 2**32 - 1),
    step=st.integers(0, 2**32 - 1), stamp=st.integers(0, 2**31 * 10**9 - 1), little=st.booleans(),
)
def test_header_fields_equal_those_of_a_full_reader(
    frame: str, episode: str, branch: str, epoch: int, step: int, stamp: int, little: bool
) -> None:
    world = RecordedWorld(lambda topic, raw: None)
    tick = TYPES.deserialize_cdr(world.tick(), TICK.topic.message_type)
    tick.header.frame_id = frame
    tick.header.stamp.sec, tick.header.stamp.nanosec = stamp // 10**9, stamp % 10**9
    tick.episode_id, tick.branch_id, tick.epoch, tick.step = episode, branch, epoch, step
    raw = bytes(TYPES.serialize_cdr(tick, TICK.topic.message_type, little_endian=little))
    assert stamp_ns(raw) == stamp
    assert epoch_and_step(raw) == (epoch, step)
    assert tick_key(memoryview(raw)) == TickKey(episode, branch, epoch)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_bytes_that_are_not_a_message_are_refused_and_never_crash(raw: bytes) -> None:
    for read in (stamp_ns, epoch_and_step, tick_key):
        with suppress(BagError):
            read(raw)


@pytest.mark.parametrize("length", range(0, 60, 7))
def test_a_truncated_tick_is_refused(length: int) -> None:
    with pytest.raises(BagError, match="no readable header"):
        tick_key(RecordedWorld(lambda topic, raw: None).tick()[:length])


def test_type_hashes_are_those_ros_generated() -> None:
    checked = 0
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        folder = Path(prefix) / "share" / "hiwm_interfaces" / "msg"
        for path in sorted(folder.glob("*.json")):
            hashes = {
                entry["type_name"]: entry["hash_string"]
                for entry in json.loads(path.read_text())["type_hashes"]
            }
            name = f"hiwm_interfaces/msg/{path.stem}"
            assert TYPES.hash_rihs01(name) == hashes[name]
            checked += 1
    if not checked:
        pytest.skip("hiwm_interfaces is not installed")


def test_definitions_are_found_without_an_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    assert (interface_definitions() / "Tick.msg").is_file()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, bytes]]]:
    folder = tmp_path_factory.mktemp("session")
    session = RecordingSession(folder, Lineage(seed=5))
    sent: list[tuple[str, bytes]] = []
    now = [1000.0]

    def send(topic: RecordedTopic, raw: bytes) -> None:
        now[0] += 0.002
        sent.append((topic.topic.name, raw))
        session.receive(topic, raw, int(now[0] * 1e9), now[0])

    world = RecordedWorld(send)
    world.world_info()
    for _ in range(4):
        world.run(5)
        session.poll(now[0])
    session.close_all()
    (closed,) = session.take_closed()
    return closed.path, sent


def test_mcap_ros2_support_reads_every_field(
    recorded: tuple[Path, list[tuple[str, bytes]]]
) -> None:
    bag, sent = recorded
    with mcap_path(bag).open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        messages = [
            (channel.topic, raw, ros)
            for schema, channel, message, ros in reader.iter_decoded_messages()
            for raw in [message.data]
        ]
    assert sorted((topic, raw) for topic, raw, _ in messages) == sorted(sent)
    ticks = [ros for topic, _, ros in messages if topic == "/hiwm/tick"]
    assert [tick.step for tick in ticks] == list(range(20))
    assert ticks[3].branch_id == "ep_0001-b000"
    assert list(ticks[3].applied_action) == pytest.approx([0.003] * 4)
    images = [ros for topic, _, ros in messages if topic.endswith("image_raw")]
    assert (images[0].height, images[0].width, images[0].encoding) == (96, 96, "rgb8")


def test_rosbags_reads_every_message_with_its_type_hash(
    recorded: tuple[Path, list[tuple[str, bytes]]]
) -> None:
    bag, sent = recorded
    with Reader(bag) as reader:
        kept = [(conn.topic, bytes(raw)) for conn, _, raw in reader.messages()]
        digests = {conn.msgtype: conn.digest for conn in reader.connections}
    assert sorted(kept) == sorted(sent)
    assert digests == {name: TYPES.hash_rihs01(name) for name in digests}


def test_metadata_is_what_rosbag2_expects(recorded: tuple[Path, list[tuple[str, bytes]]]) -> None:
    bag, sent = recorded
    information = yaml.safe_load((bag / "metadata.yaml").read_text())[
        "rosbag2_bagfile_information"
    ]
    assert information["storage_identifier"] == "mcap"
    assert information["relative_file_paths"] == [mcap_path(bag).name]
    assert information["message_count"] == len(sent)
    assert all(isinstance(v, str) for v in information["custom_data"].values())
    assert Lineage.from_custom_data(information["custom_data"]).branch_id == "ep_0001-b000"
    topics = {
        entry["topic_metadata"]["name"]: entry["topic_metadata"]["offered_qos_profiles"][0]
        for entry in information["topics_with_message_count"]
    }
    assert topics["/hiwm/world_info"]["durability"] == "transient_local"
    assert topics["/hiwm/tick"]["durability"] == "volatile"


def test_the_file_counts_its_records_correctly(
    recorded: tuple[Path, list[tuple[str, bytes]]]
) -> None:
    data = mcap_path(recorded[0]).read_bytes()
    at, metadata, chunks, statistics = 8, 0, 0, (0, 0, 0, 0, 0, 0)
    while at < len(data) - 8:
        operation, length = struct.unpack_from("<BQ", data, at)
        metadata += operation == 0x0C
        chunks += operation == 0x06
        if operation == 0x0B:
            statistics = struct.unpack_from("<QHIIII", data, at + 9)
        at += 9 + length
    assert at == len(data) - 8
    assert statistics[4:] == (metadata, chunks)
    assert chunks >= 4


def test_custom_data_can_be_completed_later(tmp_path: Path) -> None:
    bag = open_bag(tmp_path / "bag", {"a": "1"})
    bag.write(Topic(name="/hiwm/tick", message_type=TICK.topic.message_type), 1,
              RecordedWorld(lambda topic, raw: None).tick())
    bag.close({"a": "1", "text": "two\nlines: x\n"})
    write_custom_data(tmp_path / "bag", {"b": "2"})
    with Reader(tmp_path / "bag") as reader:
        assert reader.message_count == 1
    data = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())
    custom = data["rosbag2_bagfile_information"]["custom_data"]
    assert custom.pop("hiwm.checksum")
    assert custom == {"a": "1", "b": "2", "text": "two\nlines: x\n"}


def test_lineage_survives_its_text_form() -> None:
    lineage = Lineage(session_id="s", epoch=3, stand_in=True, embodiment_yaml="a: 1\n# x\n")
    assert Lineage.from_custom_data({**lineage.custom_data(), "other": "x"}) == lineage


def test_images_are_stored_bit_for_bit(recorded: tuple[Path, list[tuple[str, bytes]]]) -> None:
    bag, sent = recorded
    with Reader(bag) as reader:
        images = [
            TYPES.deserialize_cdr(raw, conn.msgtype).data
            for conn, _, raw in reader.messages() if conn.topic.endswith("image_raw")
        ]
    published = [np.frombuffer(raw, np.uint8)[-27648:] for t, raw in sent if "image_raw" in t]
    assert all(np.array_equal(a, b) for a, b in zip(images, published, strict=True))
