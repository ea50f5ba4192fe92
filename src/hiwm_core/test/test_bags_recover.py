"""Truncated files, audits that find faults, and readers that refuse them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import Reader

from hiwm_core.bag_digest import read_digest
from hiwm_core.bags import (
    AUDIT_FILE,
    Lineage,
    RecordedTopic,
    RecordingSession,
    audit_bag,
    needs_recovery,
    read_segment,
    recover_bag,
    session_bags,
    unfinished,
)
from hiwm_core.bags.contents import mcap_path
from hiwm_core.bags.finisher import BagFinisher
from hiwm_core.bags.mcap_file import McapFile
from hiwm_core.bags.recover import NoTickError
from hiwm_core.embodiment import parse_embodiment
from hiwm_core.errors import BagError
from hiwm_test_support.bags import (
    COMMAND,
    EMBODIMENT_TEXT,
    IMAGE,
    JOINT_STATES,
    TICK,
    TICK_NS,
    TRUTH,
    RecordedWorld,
)

FLUSHES, TICKS = 6, 4
Feed = Callable[[RecordedWorld], None]


def record(
    folder: Path, feed: Feed, close: bool = True,
    clock: Callable[[float], float] = lambda now: now,
) -> Path:
    """Record what `feed` does with a world; return the one bag."""
    session = RecordingSession(folder, Lineage())
    now = [10000.0]

    def send(topic: RecordedTopic, raw: bytes) -> None:
        now[0] += 0.002
        session.receive(topic, raw, int(clock(now[0]) * 1e9), now[0])
        if topic is TICK:
            session.poll(now[0])

    world = RecordedWorld(send)
    world.world_info()
    feed(world)
    if close:
        session.close_all()
    else:
        session.poll(now[0])
        for segment in session._bags:  # what a killed process leaves
            segment.bag.abort()
    return session_bags(folder)[0]


def run(ticks: int) -> Feed:
    return lambda world: world.run(ticks)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("whole"), run(FLUSHES * TICKS))


def test_a_bag_never_closed_is_recovered_and_its_original_kept(tmp_path: Path) -> None:
    bag = record(tmp_path, run(20), close=False)
    torn = mcap_path(bag).read_bytes()
    assert needs_recovery(bag)
    assert not audit_bag(bag).ok
    audit = recover_bag(bag)
    assert audit.ok, audit.problems
    assert (audit.recovered, audit.ticks, audit.closed) == (True, 20, True)
    assert not needs_recovery(bag)
    assert (bag / f"{bag.name}.mcap.original").read_bytes() == torn
    assert json.loads((bag / "audit.json").read_text())["ok"]
    segment = read_segment(bag)
    assert segment.length == 20
    assert segment.lineage.recovered
    with Reader(bag) as reader:
        assert reader.message_count == audit.messages


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_a_file_truncated_anywhere_keeps_all_flushed_data(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = mcap_path(whole)
    content = file.read_bytes()
    cut = data.draw(st.integers(8, len(content) - 1))
    bag = tmp_path_factory.mktemp("torn") / whole.name
    bag.mkdir()
    torn = bag / file.name
    torn.write_bytes(content[:cut])
    contents = list(McapFile(torn).messages())
    full = list(McapFile(file).messages())
    assert [m.data for m in contents] == [m.data for m in full[: len(contents)]]
    if not any(m.channel.topic == TICK.topic.name for m in contents):
        # Truncated right after the head: not a bag of the session, but kept.
        with pytest.raises(NoTickError, match=r"before this bag's first tick.*\.without_ticks"):
            recover_bag(bag)
        assert session_bags(bag.parent) == []
        (kept,) = bag.parent.glob(f".without_ticks/*/{file.name}")
        assert kept.read_bytes() == content[:cut]
        return
    audit = recover_bag(bag)
    assert audit.ok, audit.problems
    assert audit.messages == len(contents)
    shutil.rmtree(bag.parent)


@settings(deadline=None, max_examples=60)
@given(at=st.integers(8, 4000), noise=st.binary(min_size=1, max_size=40))
def test_damaged_bytes_never_crash_the_reader(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, at: int, noise: bytes
) -> None:
    content = bytearray(mcap_path(whole).read_bytes())
    content[at : at + len(noise)] = noise
    damaged = tmp_path_factory.getbasetemp() / "damaged.mcap"
    damaged.write_bytes(content)
    list(McapFile(damaged).messages())


def test_an_interrupted_recovery_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = record(tmp_path, run(10), close=False)
    rename = Path.replace
    for stage in range(1, 3):
        left = [stage]

        def interrupted(self: Path, target: Path, left: list[int] = left) -> Path:
            left[0] -= "metadata" in self.name or self.suffix == ".mcap"
            if left[0] <= 0 and ".recovering" in str(self):
                raise KeyboardInterrupt
            return rename(self, target)

        monkeypatch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recover_bag(bag)
        monkeypatch.undo()
        assert needs_recovery(bag)
    audit = recover_bag(bag)
    assert audit.ok, audit.problems
    assert audit.ticks == 10


def test_a_bag_that_was_closed_but_never_audited_is_unfinished(tmp_path: Path) -> None:
    bag = record(tmp_path, run(5))
    (bag / AUDIT_FILE).unlink(missing_ok=True)
    assert unfinished(bag) and not needs_recovery(bag)
    before = mcap_path(bag).read_bytes()
    audit = recover_bag(bag)
    assert audit.ok and not audit.recovered, audit.problems
    assert not unfinished(bag)
    assert mcap_path(bag).read_bytes() == before


def lose(topic: RecordedTopic, number: int) -> Feed:
    """Drop the n-th message of a topic."""

    def feed(world: RecordedWorld) -> None:
        inner, seen = world.send, [0]

        def send(kind: RecordedTopic, raw: bytes) -> None:
            seen[0] += kind is topic
            if not (kind is topic and seen[0] == number):
                inner(kind, raw)

        world.send = send
        world.run(10)

    return feed


@pytest.mark.parametrize(("topic", "problem"), [
    (IMAGE, "ticks without an image of camera top: step 4"),
    (JOINT_STATES, "ticks without a joint state: step 4"),
    (TICK, "gaps: step 3 to 5"),
])
def test_the_audit_names_what_is_missing_and_the_reader_refuses_it(
    tmp_path: Path, topic: RecordedTopic, problem: str
) -> None:
    bag = record(tmp_path, lose(topic, 5))
    audit = audit_bag(bag)
    assert not audit.ok
    assert problem in audit.problems
    with pytest.raises(BagError, match="gap between steps 3 and 5"):
        read_segment(bag)
    segment = read_segment(bag, strict=False)
    assert segment.steps.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    # No action is known across the gap, rather than the wrong one.
    assert segment.source.tolist() == [1, 1, 1, 0, 1, 1, 1, 1, 0]


def test_ticks_at_the_head_from_before_the_recorder_are_not_a_fault(tmp_path: Path) -> None:
    bag = record(tmp_path, lose(IMAGE, 1))
    audit = audit_bag(bag)
    assert audit.ok, audit.problems
    assert audit.incomplete_at_start == 1
    assert read_segment(bag).steps.tolist() == list(range(1, 10))


def test_a_repeated_step_counts_once(tmp_path: Path) -> None:
    def feed(world: RecordedWorld) -> None:
        world.run(3)
        for _ in range(2):
            world.send(IMAGE, world.image())
            world.send(JOINT_STATES, world.joint_state())
            world.send(TICK, world.tick())
            world.stamp_ns += 1000
        world.advance()
        world.run(2)

    bag = record(tmp_path, feed)
    assert audit_bag(bag).ok, audit_bag(bag).problems
    assert read_segment(bag).steps.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_command_for_no_tick_is_found(tmp_path: Path) -> None:
    def feed(world: RecordedWorld) -> None:
        world.run(3)
        command = world.command()
        world.step += 40
        world.send(COMMAND, world.command())
        world.step -= 40
        world.run(1)
        del command

    problems = audit_bag(record(tmp_path, feed)).problems
    assert problems == ["commands without their tick: step 43"]


def test_an_answer_to_the_tick_that_a_killed_world_never_finished_is_counted(
    tmp_path: Path,
) -> None:
    """The policy received the tick, but the recorder did not."""
    def feed(world: RecordedWorld) -> None:
        world.run(3)
        world.send(IMAGE, world.image())
        world.send(JOINT_STATES, world.joint_state())
        world.send(COMMAND, world.command())

    bag = record(tmp_path, feed)
    audit = audit_bag(bag)
    assert audit.ok, audit.problems
    assert (audit.ticks, audit.last_step, audit.commands_past_end) == (3, 2, 1)
    assert read_segment(bag).steps.tolist() == [0, 1, 2]


def test_answers_to_several_ticks_that_died_with_their_world_are_counted(tmp_path: Path) -> None:
    """Lost messages of a killed world are never sent again; other nodes may have had them."""
    def feed(world: RecordedWorld) -> None:
        world.run(3)
        for _ in range(4):
            world.send(IMAGE, world.image())
            world.send(COMMAND, world.command())
            world.advance()

    bag = record(tmp_path, feed)
    audit = audit_bag(bag)
    assert audit.ok, audit.problems
    assert (audit.last_step, audit.commands_past_end) == (2, 4)
    assert read_segment(bag).steps.tolist() == [0, 1, 2]


def test_a_command_beyond_a_gap_after_the_last_tick_is_found(tmp_path: Path) -> None:
    def feed(world: RecordedWorld) -> None:
        world.run(3)
        world.send(COMMAND, world.command())
        world.step += 2
        world.send(COMMAND, world.command())

    problems = audit_bag(record(tmp_path, feed)).problems
    assert problems == ["commands without their tick: step 5"]


def test_ticks_of_another_world_fail_the_audit(tmp_path: Path) -> None:
    def mixed(world: RecordedWorld) -> None:
        world.run(3)
        # Another launch in the namespace: same names, same epoch, the same next step.
        world.world = "imagination@lab2:7"
        world.stamp_ns += 1
        world.run(2)

    audited = audit_bag(record(tmp_path, mixed))
    assert not audited.ok and audited.foreign_ticks == 2
    assert "ticks of another world: 2 of imagination@lab2:7" in audited.problems


def test_a_tick_that_two_arbiters_answered_fails_the_audit(tmp_path: Path) -> None:
    def mixed(world: RecordedWorld) -> None:
        world.run(3)
        world.send(IMAGE, world.image())
        world.send(JOINT_STATES, world.joint_state())
        world.send(TICK, world.tick())
        world.send(COMMAND, world.command())
        world.send(COMMAND, world.command())  # the same arbiter, sure that its first was lost
        world.arbiter = "arbiter@lab2:9"
        world.send(COMMAND, world.command())
        world.advance()

    audited = audit_bag(record(tmp_path, mixed))
    assert not audited.ok and audited.answered_twice == 1
    [problem] = audited.problems
    assert problem == (
        "ticks answered by more than one arbiter: step 3 by arbiter@lab1:2 and arbiter@lab2:9"
    )


def test_a_clock_that_is_set_back_affects_neither_audit_nor_reading(tmp_path: Path) -> None:
    """Ticks are ordered by step; their messages carry the same stamp."""
    pixels = []

    def feed(world: RecordedWorld) -> None:
        inner = world.send

        def send(topic: RecordedTopic, raw: bytes) -> None:
            if topic is IMAGE:
                pixels.append(np.frombuffer(raw, np.uint8)[-96 * 96 * 3 :].reshape(96, 96, 3))
            inner(topic, raw)

        world.send = send
        world.run(8)
        world.stamp_ns -= 3600 * 10**9
        world.run(12)
        world.stamp_ns += 3600 * 10**9
        world.run(8)

    bag = record(tmp_path, feed, clock=lambda now: now - 3600 if 8 <= len(pixels) < 20 else now)
    audit = audit_bag(bag)
    assert audit.ok, audit.problems
    assert (audit.ticks, audit.clock_set_back) == (28, 1)
    segment = read_segment(bag)
    assert segment.steps.tolist() == list(range(28))
    assert np.array_equal(segment.observations["top"], np.stack(pixels))
    assert segment.actions[:-1, 0] == pytest.approx([0.001 * step for step in range(1, 28)])
    assert segment.labels is not None
    assert segment.labels.column("object_x_m").tolist() == list(range(28))
    assert [tick.step for tick in read_digest(bag).ticks] == list(range(28))


def test_labels_between_ticks_are_those_of_the_same_run_of_the_clock(tmp_path: Path) -> None:
    """If the clock is set back by less than the bag's length, times occur twice."""
    def feed(world: RecordedWorld) -> None:
        inner = world.send

        def send(topic: RecordedTopic, raw: bytes) -> None:
            if topic is TRUTH:
                world.stamp_ns += 20_000_000
                raw = world.truth()
                world.stamp_ns -= 20_000_000
            inner(topic, raw)

        world.send = send
        world.run(10)
        world.stamp_ns -= 500_000_001
        world.run(10)

    segment = read_segment(record(tmp_path, feed))
    assert segment.labels is not None
    assert segment.labels.column("object_x_m").tolist() == list(range(20))


def test_steps_that_share_a_stamp_are_refused(tmp_path: Path) -> None:
    def feed(world: RecordedWorld) -> None:
        world.run(5)
        world.stamp_ns -= 3 * TICK_NS
        world.run(2)

    bag = record(tmp_path, feed)
    assert "ticks that share a stamp: steps 2 and 5, steps 3 and 6" in audit_bag(bag).problems
    with pytest.raises(BagError, match=r"steps \[2, 5\] share a stamp"):
        read_segment(bag)


def test_lost_frames_at_the_end_do_not_shorten_a_bag(tmp_path: Path) -> None:
    bag = record(tmp_path, lose(IMAGE, 10))
    assert not audit_bag(bag).ok
    with pytest.raises(BagError, match="1 ticks at its ends lack an image.* step 9"):
        read_segment(bag)


def test_another_embodiment_is_refused_with_both_named(whole: Path) -> None:
    own = parse_embodiment(EMBODIMENT_TEXT, "test")
    other = parse_embodiment(EMBODIMENT_TEXT.replace("left_x_joint", "slide"), "test")
    assert read_segment(whole, own).length == FLUSHES * TICKS
    with pytest.raises(BagError) as error:
        read_segment(whole, other)
    assert own.hash[:12] in str(error.value)
    assert other.hash[:12] in str(error.value)


def test_what_is_not_a_bag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="0 MCAP files"):
        read_segment(tmp_path)
    (tmp_path / "x.mcap").write_text("hello, world")
    with pytest.raises(BagError, match="not an MCAP file"):
        read_segment(tmp_path)
    with pytest.raises(BagError, match="cannot read"):
        list(McapFile(tmp_path / "nothing.mcap").messages())


def test_bags_are_audited_and_recovered_off_the_recording_thread(tmp_path: Path) -> None:
    finisher = BagFinisher()
    finisher.finish(record(tmp_path / "a", run(5)), whole=True)
    finisher.finish(record(tmp_path / "b", run(6), close=False), whole=False)
    finisher.finish(tmp_path / "nothing", whole=True)
    assert finisher.drain(60.0)
    finisher.close()
    first, second, third = finisher.take_finished()
    assert first.audit is not None and first.audit.ok
    assert second.audit is not None and second.audit.recovered
    assert third.audit is None and "nothing" in third.error
