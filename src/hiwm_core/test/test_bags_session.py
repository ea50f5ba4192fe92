"""Sorting messages into bags, and disks that refuse writes."""

import errno
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.bags import (
    BagFile,
    Lineage,
    RecordedTopic,
    RecordingSession,
    Topic,
    audit_bag,
    needs_recovery,
    open_bag,
    read_segment,
    recover_bag,
    session_bags,
)
from hiwm_core.bags.contents import BagContents
from hiwm_core.bags.finisher import BagFinisher
from hiwm_core.errors import BagError
from hiwm_test_support.bags import (
    COMMAND,
    IMAGE,
    JOINT_STATES,
    TICK,
    TREE,
    TRUTH,
    WORLD_INFO,
    RecordedWorld,
)


class Recording:
    """A session with an invented world and its own clock."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.session = RecordingSession(folder, Lineage(seed=5), **options)  # type: ignore[arg-type]
        self.now = 100.0
        self.world = RecordedWorld(self.send)

    def send(self, topic: RecordedTopic, raw: bytes) -> None:
        self.now += 0.001
        self.session.receive(topic, raw, int(self.now * 1e9), self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.session.poll(self.now)

    def names(self) -> list[str]:
        return [bag.name for bag in session_bags(self.folder)]

    def topics(self, name: str) -> list[str]:
        contents = BagContents(self.folder / "bags" / name)
        return [message.channel.topic for message in contents.messages()]


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


def test_each_branch_and_epoch_gets_a_bag_and_every_bag_passes_its_audit(
    recording: Recording,
) -> None:
    world = recording.world
    world.world_info()
    world.run(5)
    world.begin_branch("ep_0001-b001", 3)
    recording.send(TREE, world.fork_node("ep_0001-b000:2"))
    world.run(4, source=2)
    recording.session.close_all()
    assert recording.names() == ["ep_0001-b000_e0001", "ep_0001-b001_e0002"]
    for bag in session_bags(recording.folder):
        audit = audit_bag(bag)
        assert audit.ok, audit.problems
    second = audit_bag(session_bags(recording.folder)[1])
    assert (second.ticks, second.first_step, second.last_step) == (4, 3, 6)
    assert second.frames_by_source == [1, 0, 3, 0, 0]


def test_nothing_received_is_lost(recording: Recording) -> None:
    sent: list[tuple[str, bytes]] = []
    inner = recording.world.send

    def send(topic: RecordedTopic, raw: bytes) -> None:
        sent.append((topic.topic.name, raw))
        inner(topic, raw)

    recording.world.send = send
    recording.world.world_info()
    for branch in range(3):
        recording.world.run(10)
        recording.world.begin_branch(f"ep_0001-b{branch + 1:03d}", 5)
    recording.session.close_all()
    kept = [
        (message.channel.topic, bytes(message.data))
        for bag in session_bags(recording.folder)
        for message in BagContents(bag).messages()
        if message.channel.topic != WORLD_INFO.topic.name
    ]
    assert sorted(kept) == sorted(entry for entry in sent if entry[0] != WORLD_INFO.topic.name)


def test_lineage_has_session_branch_parent_and_hashes(recording: Recording) -> None:
    world = recording.world
    world.world_info()
    world.run(3)
    world.begin_branch("ep_0001-b001", 2)
    world.run(2)
    # The branch manager learns of a branch only after its first tick.
    recording.send(TREE, world.fork_node("ep_0001-b000:1"))
    recording.session.close_all()
    first, second = [read_segment(bag).lineage for bag in session_bags(recording.folder)]
    assert first.parent_branch_id == ""
    assert (second.parent_branch_id, second.fork_step) == ("ep_0001-b000", 1)
    assert (second.session_id, second.seed, second.epoch) == ("session", 5, 2)
    assert second.world_checkpoint_hash == "c0ffee"
    assert len(second.embodiment_hash) == 64
    assert second.task_hash == "beef"


def test_an_image_that_comes_before_its_tick_opens_no_bag_and_one_after_it_is_kept(
    recording: Recording,
) -> None:
    world = recording.world
    world.world_info()
    world.run(2)
    image, joint_state, command = world.image(), world.joint_state(), world.command()
    recording.send(TICK, world.tick())
    world.advance()
    world.begin_branch("ep_0001-b001", 1)
    recording.send(IMAGE, world.image())
    assert recording.names() == ["ep_0001-b000_e0001"]
    recording.send(JOINT_STATES, world.joint_state())
    recording.send(TICK, world.tick())
    # Late messages of the earlier segment, after the start of the next one:
    recording.send(IMAGE, image)
    recording.send(JOINT_STATES, joint_state)
    recording.send(COMMAND, command)
    recording.wait(1.0)
    recording.session.close_all()
    for bag in session_bags(recording.folder):
        assert audit_bag(bag).ok, audit_bag(bag).problems
    assert recording.topics("ep_0001-b000_e0001").count(IMAGE.topic.name) == 3


def test_a_retired_bag_closes_by_itself_and_is_handed_over(recording: Recording) -> None:
    recording.world.world_info()
    recording.world.run(2)
    recording.world.begin_branch("ep_0001-b001", 0)
    recording.world.run(2)
    recording.wait(0.1)
    assert recording.session.take_closed() == []
    recording.wait(1.0)
    (closed,) = recording.session.take_closed()
    assert closed.path.name == "ep_0001-b000_e0001"
    assert closed.whole
    assert audit_bag(closed.path).closed


def test_every_bag_starts_with_world_info(recording: Recording) -> None:
    recording.world.world_info()
    recording.world.run(2)
    recording.world.begin_branch("ep_0001-b001", 0)
    recording.world.run(2)
    recording.session.close_all()
    for name in recording.names():
        assert recording.topics(name)[0] == WORLD_INFO.topic.name


def test_ticks_wait_for_a_world_info_that_comes_late(recording: Recording) -> None:
    recording.world.run(3)
    assert recording.names() == []
    recording.world.world_info()
    recording.world.run(1)
    recording.session.close_all()
    (bag,) = session_bags(recording.folder)
    assert audit_bag(bag).ok, audit_bag(bag).problems
    assert audit_bag(bag).ticks == 4


def test_a_world_without_world_info_is_still_recorded(recording: Recording) -> None:
    recording.world.run(3)
    recording.wait(10.0)
    recording.world.run(1)
    recording.session.close_all()
    (bag,) = session_bags(recording.folder)
    assert audit_bag(bag).ticks == 4
    with pytest.raises(BagError, match="names no embodiment"):
        read_segment(bag)


def test_messages_between_ticks_go_into_the_current_bag(recording: Recording) -> None:
    world = recording.world
    world.world_info()
    world.run(2)
    world.stamp_ns += 7
    recording.send(TRUTH, world.truth())
    world.stamp_ns -= 7
    world.run(1)
    recording.wait(5.0)
    recording.session.close_all()
    assert recording.session.unmatched == 1
    assert recording.topics("ep_0001-b000_e0001").count(TRUTH.topic.name) == 4


def test_a_segment_that_continues_after_closing_gets_a_second_part(recording: Recording) -> None:
    recording.world.world_info()
    recording.world.run(3)
    recording.session.close_all()
    recording.world.run(3)
    recording.session.close_all()
    assert recording.names() == ["ep_0001-b000_e0001", "ep_0001-b000_e0001_p2"]
    second = read_segment(session_bags(recording.folder)[1])
    assert second.lineage.part == 2
    assert second.steps.tolist() == [3, 4, 5]


class FullDisk:
    """Bags that refuse to be flushed or written once the disk is full."""

    def __init__(self) -> None:
        self.full = False
        self.free = 1 << 40

    def open(self, path: Path, custom_data: Mapping[str, str]) -> BagFile:
        self.check()
        return _FullDiskBag(open_bag(path, custom_data), self)

    def check(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


class _FullDiskBag:
    def __init__(self, inner: BagFile, disk: FullDisk) -> None:
        self.path, self._inner, self._disk = inner.path, inner, disk

    def write(self, topic: Topic, time_ns: int, data: bytes) -> None:
        self._inner.write(topic, time_ns, data)

    def flush(self) -> None:
        self._disk.check()
        self._inner.flush()

    def close(self, custom_data: Mapping[str, str]) -> None:
        self._disk.check()
        self._inner.close(custom_data)

    def abort(self) -> None:
        self._inner.abort()


def test_a_full_disk_stops_recording_with_one_reason_and_space_starts_it_again(
    tmp_path: Path,
) -> None:
    disk = FullDisk()
    recording = Recording(
        tmp_path, create=disk.open, free_bytes=lambda _: 0 if disk.full else disk.free
    )
    recording.world.world_info()
    recording.world.run(10)
    recording.wait(1.0)
    recording.world.run(5)
    disk.full = True
    recording.wait(1.0)
    assert "the disk is full" in recording.session.refusal
    assert "free some space" in recording.session.refusal
    (broken,) = recording.session.take_closed()
    assert not broken.whole
    recording.world.run(5)
    recording.wait(1.0)
    assert recording.session.refused > 0
    disk.full = False
    recording.wait(1.0)
    assert recording.session.refusal == ""
    recording.world.run(5)
    recording.session.close_all()
    audit = recover_bag(broken.path)
    assert audit.ok, audit.problems
    assert audit.ticks >= 10
    assert read_segment(tmp_path / "bags" / "ep_0001-b000_e0001_p2").steps.tolist() == [
        20, 21, 22, 23, 24,
    ]


def test_below_the_floor_the_open_bag_is_closed_while_there_is_space(tmp_path: Path) -> None:
    disk = FullDisk()
    recording = Recording(tmp_path, min_free_bytes=1 << 20, free_bytes=lambda _: disk.free)
    recording.world.world_info()
    recording.world.run(10)
    disk.free = 1000
    recording.wait(1.0)
    assert "less than 1 MB" in recording.session.refusal
    (closed,) = recording.session.take_closed()
    assert closed.whole
    assert audit_bag(closed.path).ok


def test_a_disk_that_refuses_a_new_bag_does_not_end_the_session(tmp_path: Path) -> None:
    disk = FullDisk()
    disk.full = True
    recording = Recording(tmp_path, create=disk.open, free_bytes=lambda _: 0)
    recording.world.world_info()
    recording.world.run(3)
    assert "the disk is full" in recording.session.refusal
    recording.session.close_all()


def test_a_disk_that_does_not_tell_its_free_space_does_not_end_the_recorder(
    tmp_path: Path,
) -> None:
    fault: list[OSError] = []

    def free(_path: Path) -> int:
        if fault:
            raise fault[0]
        return 1 << 40

    recording = Recording(tmp_path, free_bytes=free)
    recording.world.world_info()
    recording.world.run(10)
    fault.append(OSError(errno.ESTALE, "Stale file handle"))
    recording.wait(1.0)
    assert "Stale file handle" in recording.session.refusal
    (closed,) = recording.session.take_closed()
    assert closed.whole
    recording.wait(1.0)
    assert "Stale file handle" in recording.session.refusal
    fault.clear()
    recording.wait(1.0)
    assert recording.session.refusal == ""


def test_a_bags_folder_that_cannot_be_read_does_not_end_the_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(tmp_path)

    def exists(_path: Path, **_options: object) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", exists)
        recording.world.world_info()
        recording.world.run(3)
    assert "Input/output error" in recording.session.refusal


def test_ticks_are_recorded_while_the_disk_takes_the_end_of_a_long_bag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncing, done = threading.Event(), threading.Event()

    def slow_sync(_file: int) -> None:
        syncing.set()
        assert done.wait(60.0)

    recording = Recording(tmp_path, leaves_closing=True)
    finisher = BagFinisher()
    recording.world.world_info()
    recording.world.run(10)
    monkeypatch.setattr(os, "fsync", slow_sync)
    recording.world.begin_branch("ep_0001-b001", 3)
    recording.world.run(5)
    recording.wait(1.0)
    (long,) = recording.session.take_closed()
    finisher.finish(long.path, whole=long.whole, close=long.close)
    assert syncing.wait(60.0)
    assert needs_recovery(long.path)  # the end of the process leaves no bag that looks whole
    recording.world.run(5)
    recording.wait(1.0)
    done.set()
    recording.session.close_all()
    for bag in recording.session.take_closed():
        finisher.finish(bag.path, whole=bag.whole, close=bag.close)
    assert finisher.drain(60.0)
    finisher.close()
    audits = [finished.audit for finished in finisher.take_finished()]
    assert [audit.ticks for audit in audits if audit is not None and audit.ok] == [10, 10]


def test_a_disk_that_refuses_the_end_of_a_bag_in_another_thread_stops_recording(
    tmp_path: Path,
) -> None:
    disk = FullDisk()
    recording = Recording(tmp_path, create=disk.open, leaves_closing=True)
    finisher = BagFinisher()
    recording.world.world_info()
    recording.world.run(5)
    recording.wait(1.0)
    recording.session.close_all()
    (closed,) = recording.session.take_closed()
    disk.full = True
    finisher.finish(closed.path, whole=closed.whole, close=closed.close)
    assert finisher.drain(60.0)
    (refused,) = finisher.take_finished()
    assert refused.audit is None and "the disk is full" in refused.refused
    recording.session.refuse(refused.refused)
    assert "the disk is full" in recording.session.refusal
    disk.full = False
    recording.wait(1.0)
    assert recording.session.refusal == ""
    finisher.retry_broken()
    assert finisher.drain(60.0)
    finisher.close()
    (recovered,) = finisher.take_finished()
    assert recovered.audit is not None and recovered.audit.ticks == 5


def test_a_bag_is_never_overwritten(tmp_path: Path) -> None:
    for _ in range(2):
        recording = Recording(tmp_path)
        recording.world.world_info()
        recording.world.run(2)
        recording.session.close_all()
    assert len(session_bags(tmp_path)) == 2
    with pytest.raises(BagError, match="exists"):
        open_bag(session_bags(tmp_path)[0], {})


def test_read_back_arrays_are_what_was_published(recording: Recording) -> None:
    pixels: list[np.ndarray] = []
    inner = recording.world.send

    def send(topic: RecordedTopic, raw: bytes) -> None:
        if topic is IMAGE:
            pixels.append(np.frombuffer(raw, np.uint8)[-96 * 96 * 3 :].reshape(96, 96, 3))
        inner(topic, raw)

    recording.world.send = send
    recording.world.world_info()
    recording.world.run(6, source=3)
    recording.session.close_all()
    segment = read_segment(session_bags(recording.folder)[0])
    assert np.array_equal(segment.observations["top"], np.stack(pixels))
    assert segment.proprio[2] == pytest.approx([0.012, 0.022, 0.032, 0.042])
    assert segment.actions[:-1, 0] == pytest.approx([0.001, 0.002, 0.003, 0.004, 0.005])
    assert np.isnan(segment.actions[-1]).all()
    assert segment.source.tolist() == [3, 3, 3, 3, 3, 0]
    assert segment.applied_source.tolist() == [0, 3, 3, 3, 3, 3]
    assert segment.labels is not None
    assert segment.labels.column("object_x_m").tolist() == [0, 1, 2, 3, 4, 5]
    assert np.isnan(segment.progress).all()
