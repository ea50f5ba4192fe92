"""What the session recorder does when the disk is full, slow, or refuses."""

import errno
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from hiwm_core.bags import (
    BagFile,
    Topic,
    audit_bag,
    needs_recovery,
    open_bag,
    read_segment,
    recover_bag,
    session_bags,
)
from hiwm_core.bags.finisher import BagFinisher
from hiwm_core.errors import BagError

sys.path.insert(0, str(Path(__file__).parent))
from session_recording import Recording, recording_fixture  # noqa: E402, F401


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
