"""Sorting messages into bags, one for each branch and epoch."""

import sys
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.bags import (
    RecordedTopic,
    audit_bag,
    read_segment,
    session_bags,
)
from hiwm_core.bags.contents import BagContents
from hiwm_core.errors import BagError
from hiwm_test_support.bags import (
    COMMAND,
    IMAGE,
    JOINT_STATES,
    TICK,
    TREE,
    TRUTH,
    WORLD_INFO,
)

sys.path.insert(0, str(Path(__file__).parent))
from session_recording import Recording, recording_fixture  # noqa: E402, F401


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


def test_it_awaits_the_rest_of_the_newest_ticks_observation(recording: Recording) -> None:
    world, session = recording.world, recording.session
    world.world_info()
    assert not session.awaits_observation
    world.run(2)
    assert not session.awaits_observation
    recording.send(TICK, world.tick())
    recording.send(JOINT_STATES, world.joint_state())
    assert session.awaits_observation
    recording.send(IMAGE, world.image())
    assert not session.awaits_observation


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
