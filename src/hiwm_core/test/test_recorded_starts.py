"""Recorded steps as starts of imagined episodes, and their names."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.bags import Lineage, RecordedTopic, RecordingSession, read_segment, session_bags
from hiwm_core.bags.contents import BagContents
from hiwm_core.blob_store import BlobStore
from hiwm_core.branch_records import SessionRecord, TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.errors import BagError, ConfigError, HiwmError, StoreError
from hiwm_core.recorded_starts import ObservedStart, SavedStart, bag_start, session_start
from hiwm_core.start_places import BagStep, LiveRobot, SessionNode, start_place
from hiwm_test_support.bags import EMBODIMENT, JOINT_STATES, RecordedWorld, floats, message, raw
from hiwm_test_support.bags import header as header_of
from hiwm_test_support.two_arm_bags import ARMS, CAMERAS, IMAGES, TwoArmWorld, shade

TICKS = 5
BRANCH = "ep_0001-b000"
NODE = f"{BRANCH}:3"


def record(
    folder: Path, world: Callable[[Callable[[RecordedTopic, bytes], None]], RecordedWorld],
    leave_out: RecordedTopic | None = None,
) -> Path:
    """Record a world into a session's folder; return its bag."""
    session = RecordingSession(folder, Lineage(session_id="mine-1a"))

    def send(topic: RecordedTopic, data: bytes) -> None:
        if topic is not leave_out:
            session.receive(topic, data, 1, 0.0)

    recorded = world(send)
    recorded.world_info()
    recorded.run(TICKS)
    session.close_all()
    return session_bags(folder)[0]


def place(bag: Path, step: int = 3) -> BagStep:
    return BagStep(bag=bag, step=step)


@pytest.mark.parametrize(("text", "expected"), [
    ("bag:/a/b@c@42", BagStep(bag=Path("/a/b@c"), step=42)),
    ("session:/a/mine@ep_0001-b002:7",
     SessionNode(session=Path("/a/mine"), node_id="ep_0001-b002:7")),
    ("live", LiveRobot()), ("push/0003", None), ("", None), ("baggage", None),
])
def test_a_place_is_read_as_people_write_it(text: str, expected: object) -> None:
    assert start_place(text, "here") == expected


def test_paths_of_places_are_absolute_and_know_home() -> None:
    found = start_place("bag:~/x@0", "here")
    assert isinstance(found, BagStep) and found.bag == Path.home() / "x"
    relative = start_place("bag:x@0", "here")
    assert isinstance(relative, BagStep) and relative.bag == Path.cwd() / "x"


@pytest.mark.parametrize("text", ["bag:/a", "bag:@3", "bag:/a@", "bag:/a@-1", "bag:/a@x",
                                  "session:/a", "session:@b:1", "bag:", "session:"])
def test_half_a_place_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r"here.*(bag:PATH@STEP|session:PATH@NODE)"):
        start_place(text, "here")


@pytest.mark.parametrize("cameras", [CAMERAS, CAMERAS[::-1], CAMERAS[1:]])
def test_a_step_is_what_training_reads_of_it(tmp_path: Path, cameras: list[str]) -> None:
    lag = {f"cameras/{CAMERAS[0]}/image_raw": 30_000_000}
    bag = record(tmp_path, lambda send: TwoArmWorld(send, lags_ns=lag))
    segment = read_segment(bag)
    for step in range(TICKS):
        found = bag_start(place(bag, step), ARMS, cameras)
        for name, image in zip(cameras, found.images, strict=True):
            assert np.array_equal(image, segment.observations[name][step])
            assert image[0, 0, 0] == shade(name, step)
        assert np.array_equal(found.proprioception, segment.proprio[step])
        assert np.array_equal(found.measured.astype(np.float32), segment.measured[step])
        assert found.started_from == f"bag:{bag}@{step} (session session, {BRANCH}:{step} on arms)"


def test_only_the_cameras_of_the_world_model_are_needed(tmp_path: Path) -> None:
    bag = record(tmp_path, TwoArmWorld, leave_out=IMAGES[CAMERAS[0]])
    assert len(bag_start(place(bag), ARMS, CAMERAS[1:]).images) == 1
    with pytest.raises(BagError, match=rf"step 3 lacks cameras/{CAMERAS[0]}/image_raw"):
        bag_start(place(bag), ARMS, CAMERAS)


def test_a_bag_that_is_being_recorded_has_the_steps_written_so_far(tmp_path: Path) -> None:
    session = RecordingSession(tmp_path, Lineage())
    world = TwoArmWorld(lambda topic, data: session.receive(topic, data, 1, 0.0))
    world.world_info()
    world.run(TICKS)
    session.poll(0.1)
    (bag,) = (tmp_path / "bags").iterdir()
    assert bag_start(place(bag), ARMS, CAMERAS).images[0][0, 0, 0] == shade(CAMERAS[0], 3)
    session.close_all()


def test_a_step_outside_the_bag_is_refused_with_those_it_has(tmp_path: Path) -> None:
    bag = record(tmp_path, TwoArmWorld)
    with pytest.raises(BagError, match=rf"no step {TICKS} .* steps 0 to {TICKS - 1}"):
        bag_start(place(bag, TICKS), ARMS, CAMERAS)


def test_a_bag_of_another_embodiment_is_refused_with_both(tmp_path: Path) -> None:
    bag = record(tmp_path, TwoArmWorld)
    with pytest.raises(BagError, match=rf"{ARMS.name}.*{EMBODIMENT.name}"):
        bag_start(place(bag), EMBODIMENT, ["top"])


def test_what_is_no_bag_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(BagError, match="MCAP"):
            bag_start(place(path), ARMS, CAMERAS)


class Broken(TwoArmWorld):
    """A driver that reports joints that are not finite."""

    def joint_state(self) -> bytes:
        kind, names = JOINT_STATES.topic.message_type, list(ARMS.joint_names)
        return raw(kind, message(
            kind, header=header_of(self.stream_stamp("joint_states")), name=names,
            position=floats([float("nan")] * len(names)), velocity=floats(np.ones(len(names))),
            effort=floats([]),
        ))


def test_joints_that_are_not_finite_are_refused_with_the_step(tmp_path: Path) -> None:
    bag = record(tmp_path, Broken)
    with pytest.raises(ConfigError, match=rf"finite.*{bag} step 3"):
        bag_start(place(bag), ARMS, CAMERAS)


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    bag = record(tmp_path, TwoArmWorld)
    first, *others = ARMS.cameras
    larger = dataclasses.replace(
        ARMS, cameras=(dataclasses.replace(first, width=2 * first.width), *others)
    )
    with pytest.raises(ConfigError, match=rf"image of .*{bag} step 3"):
        bag_start(place(bag), larger, CAMERAS)


def tree(session: Path, state_id: str) -> None:
    """Write a tree with one branch, whose states all have one id."""
    store = BranchStore(session / "tree.sqlite")
    store.open_session(SessionRecord(session_id="mine-1a", world="imagination"))
    for step in range(TICKS):
        store.add_tick(TickRecord(
            stamp_ns=step + 1, epoch=1, step=step, episode_id="ep_0001", branch_id=BRANCH,
            state_id=state_id,
        ))
    store.close()


def start(session: Path, node_id: str = NODE) -> ObservedStart | SavedStart:
    return session_start(session, node_id, ARMS, CAMERAS, ["m" * 64])


@pytest.mark.parametrize("model", ["m", "other", ""])
def test_a_node_is_its_state_or_where_that_cannot_be_used_its_bag(
    tmp_path: Path, model: str
) -> None:
    state_id = ""
    if model:
        states = BlobStore(tmp_path / "states")
        state_id = states.put_state({"x": np.arange(3)}, {"model": model * 64, "step": 3})
        states.close()
    tree(tmp_path, state_id)
    bag = record(tmp_path, TwoArmWorld)
    found = start(tmp_path)
    if model == "m":
        assert isinstance(found, SavedStart) and found.parts["x"].tolist() == [0, 1, 2]
        assert found.started_from == (
            f"session:{tmp_path}@{NODE} (session mine-1a, state {state_id})"
        )
    else:
        assert isinstance(found, ObservedStart)
        assert found.started_from.startswith(f"bag:{bag}@3 (session session, ")


def test_a_node_without_state_and_bag_is_refused_with_the_reason(tmp_path: Path) -> None:
    states = BlobStore(tmp_path / "states")
    tree(tmp_path, states.put_state({"x": np.arange(3)}, {"model": "other"}))
    states.close()
    with pytest.raises(StoreError, match="imagined by model other.*no bag"):
        start(tmp_path)


@pytest.mark.parametrize("node_id", ["ep_0009-b000:1", "nonsense"])
def test_an_unknown_node_or_session_is_refused(tmp_path: Path, node_id: str) -> None:
    tree(tmp_path, "")
    with pytest.raises(StoreError, match=node_id):
        start(tmp_path, node_id)
    with pytest.raises(HiwmError, match="no branch tree"):
        start(tmp_path / "none")


def test_bag_and_tree_say_where_an_episode_began(tmp_path: Path) -> None:
    begun = "bag:/a@3 (session s, ep_0001-b000:3 on arms)"
    bag = record(tmp_path, lambda send: RecordedWorld(send, started_from=begun))
    contents = BagContents(bag)
    list(contents.messages())
    assert contents.lineage().started_from == begun
    store = BranchStore(tmp_path / "tree.sqlite")
    for step in range(2):
        store.add_tick(TickRecord(
            stamp_ns=step + 1, epoch=1, step=step, episode_id="ep_0001", branch_id=BRANCH,
            started_from=begun,
        ))
    notes = [store.node(f"{BRANCH}:{step}").note for step in range(2)]
    store.close()
    assert notes == [f"started from {begun}", ""]
