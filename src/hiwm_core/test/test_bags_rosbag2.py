"""The writer that uses rosbag2 itself, against a stand-in that behaves like rosbag2_py.

rosbag2 reports errors as RuntimeError, and its file layer drops what a full disk refuses.
"""

import errno
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from mcap.writer import Writer

from hiwm_core.bags import Lineage, RecordingSession, audit_bag, needs_recovery, recover_bag
from hiwm_core.bags import writer as writer_module
from hiwm_core.bags.schema import recording_types
from hiwm_core.bags.writer import Rosbag2Bag
from hiwm_test_support.bags import RecordedWorld


class QoS:
    """The used part of rclcpp::QoS, as rosbag2_py offers it."""

    def __init__(self, history_depth: int) -> None:
        self.policies: list[object] = [history_depth]

    def reliable(self) -> None:
        self.policies.append("reliable")

    def transient_local(self) -> None:
        self.policies.append("transient_local")


class Disk:
    """What happens to rosbag2's writes."""

    def __init__(self) -> None:
        self.fails = ""  # text of the RuntimeError of every call
        self.drops = False  # further writes are silently dropped
        self.free = 1 << 40
        self.config: dict[str, Any] = {}
        self.offered: dict[str, QoS] = {}  # by topic


class SequentialWriter:
    """The used part of rosbag2_py.SequentialWriter."""

    disk = Disk()

    def open(self, storage: Any, _converter: Any) -> None:
        self._check()
        self.disk.config = yaml.safe_load(Path(storage.storage_config_uri).read_text())
        self._folder = Path(storage.uri)
        self._folder.mkdir()
        self._custom_data = storage.custom_data
        self._file = (self._folder / f"{self._folder.name}_0.mcap").open("wb")
        self._mcap = Writer(
            self._file, chunk_size=self.disk.config["chunkSize"],
            enable_crcs=not self.disk.config["noChunkCRC"],
            enable_data_crcs=self.disk.config["enableDataCRC"],
        )
        self._mcap.start(profile="ros2")
        self._ids: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._types: dict[str, str] = {}

    def create_topic(self, topic: Any) -> None:
        self._check()
        definition, _ = recording_types().generate_msgdef(topic.type, ros_version=2)
        schema = self._mcap.register_schema(topic.type, "ros2msg", definition.encode())
        self._ids[topic.name] = self._mcap.register_channel(topic.name, "cdr", schema)
        self._types[topic.name] = topic.type
        (self.disk.offered[topic.name],) = topic.offered_qos_profiles
        self._counts[topic.name] = 0

    def write(self, topic: str, data: bytes, time_ns: int) -> None:
        self._check()
        self._counts[topic] += 1
        if not self.disk.drops:
            self._mcap.add_message(self._ids[topic], time_ns, data, time_ns)

    def close(self) -> None:
        if self._file.closed:
            return
        if not self.disk.drops:
            self._mcap.finish()
        self._file.close()
        self._check()
        (self._folder / "metadata.yaml").write_text(yaml.safe_dump({
            "rosbag2_bagfile_information": {
                "version": 9, "storage_identifier": "mcap",
                "message_count": sum(self._counts.values()),
                "topics_with_message_count": [
                    {"topic_metadata": {"name": name, "type": self._types[name]},
                     "message_count": count} for name, count in self._counts.items()
                ],
                "custom_data": self._custom_data,
            }
        }))

    def _check(self) -> None:
        if self.disk.fails:
            raise RuntimeError(self.disk.fails)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    module = ModuleType("rosbag2_py")
    module.__spec__ = ModuleSpec("rosbag2_py", None)
    disk = SequentialWriter.disk = Disk()
    for name in ("StorageOptions", "TopicMetadata"):
        setattr(module, name, SimpleNamespace)
    module._storage = SimpleNamespace(QoS=QoS)  # type: ignore[attr-defined]
    module.ConverterOptions = lambda *formats: formats  # type: ignore[attr-defined]
    module.SequentialWriter = SequentialWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rosbag2_py", module)
    monkeypatch.setattr(writer_module, "free_disk_bytes", lambda path: disk.free)
    return disk


class Recording:
    def __init__(self, folder: Path, disk: Disk) -> None:
        self.session = RecordingSession(
            folder, Lineage(), create=Rosbag2Bag, free_bytes=lambda path: disk.free
        )
        self.now = 1000.0
        self.world = RecordedWorld(self.send)
        self.world.world_info()

    def send(self, topic: Any, raw: bytes) -> None:
        self.now += 0.002
        self.session.receive(topic, raw, int(self.now * 1e9), self.now)

    def poll(self) -> None:
        self.now += 0.1
        self.session.poll(self.now)


def test_rosbag2_is_told_to_write_every_checksum(tmp_path: Path, disk: Disk) -> None:
    recording = Recording(tmp_path, disk)
    recording.world.run(5)
    recording.session.close_all()
    (closed,) = recording.session.take_closed()
    assert closed.whole
    assert disk.config["noChunkCRC"] is False
    assert disk.config["noSummaryCRC"] is False
    assert disk.config["enableDataCRC"] is True
    audit = audit_bag(closed.path)
    assert audit.ok, audit.problems
    assert audit.checksums and audit.ticks == 5


def test_a_replay_offers_latched_topics_to_late_subscribers(tmp_path: Path, disk: Disk) -> None:
    recording = Recording(tmp_path, disk)
    recording.world.run(2)
    recording.session.close_all()
    offered = {topic.rpartition("/")[2]: qos.policies for topic, qos in disk.offered.items()}
    assert offered["world_info"] == [1, "reliable", "transient_local"]
    assert offered["tick"] == [10, "reliable"]


@pytest.mark.parametrize("at", ["open", "write", "close"])
@pytest.mark.parametrize("full", [True, False])
def test_a_runtime_error_of_rosbag2_stops_recording_but_not_the_recorder(
    tmp_path: Path, disk: Disk, at: str, full: bool
) -> None:
    recording = Recording(tmp_path, disk)
    if at == "open":
        disk.fails, disk.free = "cannot write", 0 if full else 1 << 40
    recording.world.run(5)
    if at != "open":
        disk.fails, disk.free = "cannot write", 0 if full else 1 << 40
    if at == "write":
        recording.world.run(1)
    recording.session.close_all()
    assert ("the disk is full" if full else "cannot write") in recording.session.refusal
    assert all(not bag.whole for bag in recording.session.take_closed())
    disk.fails, disk.free = "", 1 << 40
    recording.poll()
    assert recording.session.refusal == ""
    recording.world.run(5)
    recording.session.close_all()
    (closed,) = recording.session.take_closed()
    assert closed.whole and audit_bag(closed.path).ok


def test_the_first_cause_is_kept_if_the_disk_does_not_tell_its_free_space(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(tmp_path, disk)
    recording.world.run(5)

    def gone(_path: Path) -> int:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(writer_module, "free_disk_bytes", gone)
    disk.fails = "the writer says why"
    recording.world.run(1)
    assert "the writer says why" in recording.session.refusal


def test_a_flush_finds_the_full_disk_that_rosbag2_does_not_report(
    tmp_path: Path, disk: Disk
) -> None:
    recording = Recording(tmp_path, disk)
    recording.world.run(12)
    recording.poll()
    assert recording.session.refusal == ""
    disk.drops, disk.free = True, 1000
    recording.world.run(3)
    recording.poll()
    assert "the disk is full" in recording.session.refusal
    (broken,) = recording.session.take_closed()
    assert not broken.whole
    # rosbag2 wrote a metadata.yaml that counts messages that never reached the file.
    assert needs_recovery(broken.path)
    disk.free = 1 << 40
    disk.drops = False
    audit = recover_bag(broken.path)
    assert audit.ok and audit.recovered, audit.problems
    assert 1 <= audit.ticks <= 12
    assert "messages" in audit.lost


def test_a_file_without_its_end_does_not_count_as_closed(tmp_path: Path, disk: Disk) -> None:
    bag = Rosbag2Bag(tmp_path / "bag", {})
    disk.drops = True
    with pytest.raises(OSError) as error:
        bag.close({})
    assert error.value.errno == errno.EIO
