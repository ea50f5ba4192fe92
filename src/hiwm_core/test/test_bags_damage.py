"""Damaged bags are found and named, and do not affect other bags."""

import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import MCAP0_MAGIC

from hiwm_core.bag_digest import read_digest
from hiwm_core.bags import (
    Lineage,
    RecordedTopic,
    RecordingSession,
    audit_bag,
    is_bag,
    needs_recovery,
    open_bag,
    read_segment,
    recover_bag,
    session_bags,
    unfinished,
)
from hiwm_core.bags.bit_flips import WRONG, flip, outcome
from hiwm_core.bags.contents import mcap_path
from hiwm_core.bags.finisher import BagFinisher
from hiwm_core.bags.mcap_file import McapFile
from hiwm_core.errors import BagError
from hiwm_test_support.bags import IMAGE, TICK, RecordedWorld

TICKS = 40


def record(folder: Path, branch: str = "ep_0001-b000", epoch: int = 1) -> Path:
    """Record a closed bag of `TICKS` ticks, one chunk per four ticks."""
    session = RecordingSession(folder, Lineage())
    now = [1000.0]

    def send(topic: RecordedTopic, raw: bytes) -> None:
        now[0] += 0.002
        session.receive(topic, raw, int(now[0] * 1e9), now[0])

    world = RecordedWorld(send, branch=branch, epoch=epoch)
    world.world_info()
    for _ in range(TICKS // 4):
        world.run(4)
        session.poll(now[0])
    session.close_all()
    (closed,) = session.take_closed()
    audit_bag(closed.path).save(closed.path)
    return closed.path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def bag(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bags" / whole.name))


def chunks(bag: Path) -> list[int]:
    """Return the offsets of a bag's chunks."""
    return sorted({message.chunk_at for message in McapFile(mcap_path(bag)).messages()})


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_no_single_bit_gives_other_data(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bag = tmp_path_factory.getbasetemp() / "flipped" / whole.name
    shutil.rmtree(bag, ignore_errors=True)
    shutil.copytree(whole, bag)
    file = data.draw(st.sampled_from([mcap_path(bag), bag / "metadata.yaml"]))
    size = file.stat().st_size
    # Half of them everywhere, half at the two ends, where header, index and footer are.
    at = data.draw(st.one_of(
        st.integers(0, size - 1), st.integers(0, 600), st.integers(size - 3000, size - 1)
    ))
    flip(file, at, data.draw(st.integers(0, 7)))
    result = outcome(bag, read_segment(whole))
    assert result != WRONG
    assert result in (
        "read unchanged, audit ok", "refused by the reader, audit failed",
        "refused by the reader, refused by the audit",
    )
    if file.suffix == ".mcap":
        assert result != "read unchanged, audit ok"


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_closed_bag_cut_anywhere_is_never_silently_shorter(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bag = tmp_path_factory.getbasetemp() / "cut" / whole.name
    shutil.rmtree(bag, ignore_errors=True)
    shutil.copytree(whole, bag)
    file = mcap_path(bag)
    os.truncate(file, data.draw(st.integers(0, file.stat().st_size - 1)))
    assert needs_recovery(bag)
    with pytest.raises(BagError):
        read_segment(bag)
    try:
        audit = audit_bag(bag)
    except BagError as error:
        assert "not an MCAP file" in str(error)
    else:
        assert not audit.ok
        assert any("cut short" in problem for problem in audit.problems)


def test_a_bag_cut_to_two_fifths_is_recovered_and_reports_what_is_lost(bag: Path) -> None:
    file = mcap_path(bag)
    os.truncate(file, file.stat().st_size * 2 // 5)
    problems = audit_bag(bag).problems
    assert any("metadata.yaml counts 201 messages" in problem for problem in problems)
    audit = recover_bag(bag)
    assert audit.ok, audit.problems
    assert 8 <= audit.ticks < TICKS
    assert audit.lost == f"{201 - audit.messages} of 201 messages"
    assert read_segment(bag).length == audit.ticks


@pytest.mark.parametrize("number", [0, 3, 9])
def test_recovery_skips_a_bad_chunk_and_continues(bag: Path, number: int) -> None:
    before = read_segment(bag)
    flip(mcap_path(bag), chunks(bag)[number] + 200, 3)
    assert not audit_bag(bag).ok
    assert not needs_recovery(bag)  # only an audit finds it
    audit = recover_bag(bag)
    assert "1 damaged chunks" in audit.lost
    # The first chunk holds only the first tick, the others four.
    lost = 1 if number == 0 else 4
    assert audit.ticks == TICKS - lost
    segment = read_segment(bag, strict=False)
    kept = np.isin(before.steps, segment.steps)
    assert kept.sum() == TICKS - lost
    assert np.array_equal(segment.observations["top"], before.observations["top"][kept])
    if number == 3:
        with pytest.raises(BagError, match="gap between steps"):
            read_segment(bag)


@pytest.mark.parametrize("bit", range(8))
def test_a_header_that_has_become_something_else_is_damage(bag: Path, bit: int) -> None:
    flip(mcap_path(bag), len(MCAP0_MAGIC), bit)  # its opcode
    audit = recover_bag(bag)
    assert audit.ticks == TICKS
    assert read_segment(bag).length == TICKS


@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_recovery_never_makes_up_data(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bag = tmp_path_factory.getbasetemp() / "recovered" / whole.name
    shutil.rmtree(bag, ignore_errors=True)
    shutil.copytree(whole, bag)
    file = mcap_path(bag)
    size = file.stat().st_size
    flips = data.draw(st.integers(1, 3))
    for _ in range(flips):
        flip(file, data.draw(st.one_of(
            st.integers(0, size - 1), st.integers(0, 600), st.sampled_from(chunks(whole)),
            st.sampled_from(chunks(whole)).map(lambda at: at + 1),
            st.integers(size - 3000, size - 1),
        )), data.draw(st.integers(0, 7)))
    try:
        audit = recover_bag(bag)
    except BagError as error:
        # The definitions are in the first chunk and in the index: two wrong bits can hit both.
        assert flips > 1 and "none of its ticks can be read" in str(error)
        return
    assert audit.ticks >= TICKS - 4 * flips
    before, segment = read_segment(whole), read_segment(bag, strict=False)
    kept = np.isin(before.steps, segment.steps)
    assert kept.sum() == audit.ticks
    assert np.array_equal(segment.observations["top"], before.observations["top"][kept])
    assert np.array_equal(segment.proprio, before.proprio[kept])
    known = ~np.isnan(segment.actions[:, 0])
    assert np.array_equal(segment.actions[known], before.actions[kept][known])


@pytest.mark.parametrize("field", [1, 4, 7])
def test_recovery_continues_after_a_chunk_whose_length_is_wrong(bag: Path, field: int) -> None:
    """Without its length, the next chunk has to be searched for."""
    flip(mcap_path(bag), chunks(bag)[4] + field, 1)
    audit = recover_bag(bag)
    assert audit.recovered
    assert audit.ticks >= TICKS - 8
    assert audit.last_step == TICKS - 1


def test_a_second_recovery_keeps_both_originals(bag: Path) -> None:
    for _ in range(2):
        flip(mcap_path(bag), chunks(bag)[3] + 200, 3)
        recover_bag(bag)
    assert len(list(bag.glob("*.mcap.original*"))) == 2
    assert audit_bag(bag).ticks == TICKS - 8


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "half": lambda data: data[: len(data) // 2],
    "other YAML": lambda data: b"- 1\n- 2\n",
    "no YAML": lambda data: b"\x00\xff: [",
    "a text": lambda data: b"rosbag2_bagfile_information: hello\n",
    "no topics": lambda data: data.replace(b"topics_with_message_count", b"topics"),
    "another count": lambda data: data.replace(b"message_count: 201", b"message_count: 200"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_metadata_is_named_and_rewritten(bag: Path, name: str) -> None:
    before = read_segment(bag)
    file = bag / "metadata.yaml"
    file.write_bytes(DAMAGES[name](file.read_bytes()))
    audit = audit_bag(bag)
    assert not audit.ok
    assert any("metadata.yaml is damaged" in problem for problem in audit.problems)
    with pytest.raises(BagError, match="metadata.yaml"):
        read_segment(bag)
    assert read_digest(bag).ticks  # a summary still includes it
    audit = recover_bag(bag)
    assert audit.ok, audit.problems
    assert not audit.recovered  # the file was whole
    assert not list(bag.glob("*.original*"))
    after = read_segment(bag)
    assert after.lineage == before.lineage
    assert np.array_equal(after.observations["top"], before.observations["top"])


def test_a_file_that_never_reached_the_disk_is_put_aside_and_a_lost_one_is_named(bag: Path) -> None:
    file = mcap_path(bag)
    file.write_bytes(b"")
    with pytest.raises(BagError, match="none of its ticks can be read.*201 messages"):
        recover_bag(bag)
    (bag / "metadata.yaml").unlink()
    for content in (b"", bytes(5000)):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        assert unfinished(bag)
        with pytest.raises(BagError, match="before this bag's first tick"):
            recover_bag(bag)
        assert not is_bag(bag)


def test_damaged_bags_do_not_stop_the_work_on_the_others(whole: Path, tmp_path: Path) -> None:
    """A resumed recorder finishes every bag that it finds."""
    folder = tmp_path / "bags"
    names = ["zeroed", "nothing", "foreign", "gone", "whole"]
    bags = {name: Path(shutil.copytree(whole, folder / f"{name}_e0001")) for name in names}
    (bags["zeroed"] / "metadata.yaml").write_bytes(bytes(3000))
    mcap_path(bags["nothing"]).write_bytes(b"hello, world")
    foreign = bags["foreign"]
    shutil.rmtree(foreign)
    other = open_bag(foreign, {"hiwm.epoch": "no number"})
    other.write(TICK.topic, 1, RecordedWorld(lambda topic, raw: None).tick())
    other.close({"hiwm.epoch": "no number"})
    mcap_path(bags["gone"]).unlink()
    finisher = BagFinisher()
    for bag in session_bags(folder):
        finisher.finish(bag, whole=not needs_recovery(bag))
    assert finisher.drain(60.0)
    finisher.close()
    found = {bag.path.name.removesuffix("_e0001"): bag for bag in finisher.take_finished()}
    assert set(found) == set(names)
    for name in ("zeroed", "whole"):
        audit = found[name].audit
        assert audit is not None and audit.ok, name
    for name in ("nothing", "foreign", "gone"):
        assert found[name].audit is None
        assert name in found[name].error


def test_a_bug_in_an_audit_ends_neither_the_thread_nor_the_wait(
    bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise TypeError("unexpected")

    monkeypatch.setattr("hiwm_core.bags.finisher.audit_bag", broken)
    finisher = BagFinisher()
    finisher.finish(bag, whole=True)
    assert finisher.drain(30.0)
    finisher.close()
    (finished,) = finisher.take_finished()
    assert "unexpected" in finished.error


def test_a_bag_never_closed_is_not_used_for_training(bag: Path) -> None:
    (bag / "metadata.yaml").unlink()
    with pytest.raises(BagError, match="never closed"):
        read_segment(bag)


def test_closing_waits_for_the_disk_before_a_bag_counts_as_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, its folder and the list of bags reach the disk before metadata.yaml has its name."""
    events: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        events.append(f"rename {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    bag = open_bag(tmp_path / "bags" / "bag", {})
    bag.write(TICK.topic, 1, RecordedWorld(lambda topic, raw: None).tick())
    bag.close({})
    assert events[:3] == ["bag.mcap", "bag", "bags"]
    assert events[3].startswith(".metadata.yaml.")
    assert events[4:] == ["rename metadata.yaml", "bag"]


def test_frames_of_a_digest_are_read_on_request(bag: Path) -> None:
    digest, segment = read_digest(bag), read_segment(bag)
    for t in (0, 17, TICKS - 1):
        assert np.array_equal(digest.frame(digest.ticks[t]), segment.observations["top"][t])


def test_reading_holds_no_more_than_the_arrays(tmp_path: Path) -> None:
    """The peak of an audit does not grow with the bag."""
    peaks = []
    for number, repeats in enumerate((30, 240)):
        world = RecordedWorld(lambda topic, raw: None)
        image = bytes(4 << 20)
        bag = open_bag(tmp_path / str(number), Lineage().custom_data())
        for step in range(repeats):
            bag.write(TICK.topic, step, world.tick())
            bag.write(IMAGE.topic, step, world.image()[:-4] + image)
            world.advance()
        bag.close({})
        peaks.append(_peak(tmp_path / str(number)))
    assert peaks[1] < 1.2 * peaks[0]


def _peak(bag: Path) -> int:
    tracemalloc.start()
    try:
        audit_bag(bag)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
