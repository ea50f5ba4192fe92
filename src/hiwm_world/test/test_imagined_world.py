"""Guarantees of an imagined world without ROS: complete ticks, epochs, exact replay."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hiwm_core.blob_store import BlobStore
from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError, ServerError, StoreError
from hiwm_core.limits import Limiter
from hiwm_core.recorded_starts import ObservedStart, SavedStart
from hiwm_core.session_lineage import EpisodeCounter
from hiwm_core.tasks import load_task
from hiwm_learning.training_command import is_start_file
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.recordings import write_starts
from hiwm_test_support.latent_worlds import write_untrained_checkpoint
from hiwm_test_support.layered_worlds import write_drawn_checkpoint
from hiwm_test_support.remote_worlds import connected_checkpoint, drawn_server
from hiwm_test_support.shipped import TASK
from hiwm_test_support.two_cameras import noise_images
from hiwm_world.imagined_world import ImaginedWorld, PresentTick, load_starts

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)
HOME = np.array(EMBODIMENT.home)
HUMAN = 2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawn_checkpoint(tmp_path_factory.mktemp("model"))


def make_world(
    checkpoint: Path, session: Path | None, seed: int = 0, model_hash: str = "",
    earlier_hashes: tuple[str, ...] = (),
) -> ImaginedWorld:
    simulator, loaded = load_simulator(checkpoint, EMBODIMENT)
    return ImaginedWorld(
        simulator,
        load_starts(checkpoint.with_name(checkpoint.stem + "_starts.npz"), TASK),
        BlobStore(session / "states") if session else None,
        EpisodeCounter(session), model_hash or loaded.hash, seed, earlier_hashes,
    )


def content(present: PresentTick) -> tuple[bytes, bytes, str, float]:
    seen = present.observation
    return (
        seen.image.tobytes(), seen.proprioception.tobytes(), present.state_id, seen.trust
    )


def actions(count: int, seed: int) -> np.ndarray:
    return HOME + np.random.default_rng(seed).normal(0, 0.02, (count, len(HOME))).cumsum(0)


def test_a_reset_starts_an_episode_and_raises_the_epoch(
    checkpoint: Path, tmp_path: Path
) -> None:
    world = make_world(checkpoint, tmp_path)
    first, second = world.reset(), world.reset()
    assert (first.epoch, second.epoch) == (1, 2)
    assert (first.episode_id, second.episode_id) == ("ep_0001", "ep_0002")
    assert second.branch_id == "ep_0002-b000"
    assert (second.step, second.applied_action) == (0, None)


def test_a_start_is_found_by_name_pose_and_seed(checkpoint: Path) -> None:
    world = make_world(checkpoint, None)
    by_name = world.reset(name="b")
    by_pose = world.reset(
        wanted=dict(zip(TASK.start_names, (0.06, -0.03, 2.2 - 2 * np.pi), strict=True))
    )
    assert content(by_pose) == content(by_name)
    assert content(world.reset(name="a")) != content(by_name)
    assert content(world.reset(seed=5)) == content(world.reset(seed=5))


def test_resets_use_the_starts_in_turn(checkpoint: Path) -> None:
    world = make_world(checkpoint, None)
    frames = [world.reset().observation.image.tobytes() for _ in range(6)]
    assert len(set(frames[:3])) == 3
    assert frames[3:] == frames[:3]


def test_the_first_frame_is_the_recorded_one(checkpoint: Path) -> None:
    starts = load_starts(checkpoint.with_name(checkpoint.stem + "_starts.npz"), TASK)
    seen = make_world(checkpoint, None).reset(name="c").observation
    difference = seen.image.astype(int) - starts.images[2]
    assert np.abs(difference).mean() < 1.0
    assert np.allclose(seen.proprioception, starts.proprioception[2], atol=1e-6)
    assert seen.trust == 1.0


def test_an_episode_begins_at_a_recorded_moment_and_says_so(
    checkpoint: Path, tmp_path: Path
) -> None:
    starts = load_starts(checkpoint.with_name(checkpoint.stem + "_starts.npz"), TASK)
    world = make_world(checkpoint, tmp_path)
    own = world.reset(name="c")
    start = ObservedStart(
        images=(np.asarray(starts.images[2]),), proprioception=starts.proprioception[2],
        measured=starts.proprioception[2].astype(np.float64), started_from="bag:/a@7 (elsewhere)",
    )
    begun = world.reset_to(start)
    assert (begun.epoch, begun.episode_id, begun.branch_id, begun.step) == (
        2, "ep_0002", "ep_0002-b000", 0
    )
    assert begun.observation.image.tobytes() == own.observation.image.tobytes()
    later = world.step(HOME, HUMAN, "test")
    assert [own.started_from, begun.started_from, later.started_from] == [
        "", "bag:/a@7 (elsewhere)", "bag:/a@7 (elsewhere)"
    ]
    # An episode keeps its origin, whichever one is gone back to.
    assert world.restore(own.state_id, "ep_0001-b001", "").started_from == ""
    assert world.restore(later.state_id, "ep_0002-b001", "").started_from == begun.started_from


@pytest.mark.parametrize("write", [write_drawn_checkpoint, write_untrained_checkpoint])
def test_an_episode_begins_at_a_saved_state_and_continues_it_exactly(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    model = write(tmp_path)
    world, plan = make_world(model, tmp_path), actions(5, 3)
    ticks = [world.reset(name="a"), *(world.step(action, HUMAN, "test") for action in plan)]
    parts, meta = BlobStore(tmp_path / "states", read_only=True).get_state(ticks[2].state_id)
    other = make_world(model, tmp_path / "other")
    begun = other.reset_to(SavedStart(parts=parts, meta=meta, started_from="session:/s@b:2"))
    assert (begun.step, begun.episode_id, begun.started_from) == (0, "ep_0001", "session:/s@b:2")
    shown = [begun, *(other.step(action, HUMAN, "test") for action in plan[2:])]
    for one, expected in zip(shown, ticks[2:], strict=True):
        assert one.observation.image.tobytes() == expected.observation.image.tobytes()


def test_an_unknown_start_is_refused_with_the_known_ones(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match=r"no start named 'z'.*a \.\.\. c"):
        make_world(checkpoint, None).reset(name="z")


@settings(max_examples=6, deadline=None)
@given(
    steps=st.integers(1, 12), back=st.integers(0, 12), seed=st.integers(0, 2**16),
    bad=st.integers(0, 12),
)
def test_a_restored_state_replays_byte_for_byte(
    checkpoint: Path, steps: int, back: int, seed: int, bad: int
) -> None:
    plan = actions(steps, seed)
    if bad < steps:
        plan[bad, 0] = np.nan  # a hold is part of history too
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(checkpoint, Path(folder))
        ticks = [world.reset(name="a")]
        ticks += [world.step(action, HUMAN, "test") for action in plan]
        node = min(back, steps)
        again = world.restore(ticks[node].state_id, "ep_0001-b001", "")
        assert content(again) == content(ticks[node])
        assert (again.step, again.epoch, again.branch_id) == (node, 2, "ep_0001-b001")
        for expected, action in zip(ticks[node + 1 :], plan[node:], strict=True):
            assert content(world.step(action, HUMAN, "test")) == content(expected)


def test_a_latent_world_replays_and_refuses_states_of_a_layered_one(
    checkpoint: Path, tmp_path: Path
) -> None:
    latent = write_untrained_checkpoint(tmp_path, name="latent.safetensors")
    world, plan = make_world(latent, tmp_path), actions(4, 0)
    ticks = [world.reset(name="a"), *(world.step(action, HUMAN, "test") for action in plan)]
    assert content(world.restore(ticks[1].state_id, "", "")) == content(ticks[1])
    for expected, action in zip(ticks[2:], plan[1:], strict=True):
        assert content(world.step(action, HUMAN, "test")) == content(expected)
    layered = make_world(checkpoint, tmp_path).reset().state_id
    with pytest.raises(StoreError, match="imagined by model"):
        world.restore(layered, "", "")


def test_a_restored_state_belongs_to_its_own_episode(checkpoint: Path, tmp_path: Path) -> None:
    world = make_world(checkpoint, tmp_path)
    first = world.reset()
    world.reset()
    assert world.restore(first.state_id, "ep_0001-b001", "").episode_id == "ep_0001"


@given(
    action=st.one_of(
        hnp.arrays(np.float64, st.integers(0, 9).filter(lambda n: n != len(HOME))),
        hnp.arrays(np.float64, len(HOME), elements=st.sampled_from([0.0, np.nan, np.inf])).filter(
            lambda a: not np.isfinite(a).all()
        ),
    )
)
@settings(max_examples=8, deadline=None)
def test_an_invalid_action_holds_the_arms(checkpoint: Path, action: np.ndarray) -> None:
    world = make_world(checkpoint, None)
    before = world.reset(name="a")
    after = world.step(action, HUMAN, "test")
    assert world.holds == 1
    assert after.step == 1
    assert after.applied_action is not None
    assert np.array_equal(after.applied_action, before.observation.proprioception)


def test_the_robots_limits_apply_to_an_action(checkpoint: Path) -> None:
    world = make_world(checkpoint, None)
    before = world.reset(name="a").observation.proprioception
    present = world.step(HOME + 0.3, HUMAN, "test")
    applied = present.applied_action
    assert applied is not None
    assert present.applied_note == "limited by velocity, box"
    limited = Limiter(EMBODIMENT).limit(
        HOME + 0.3, before, Limiter(EMBODIMENT).initial_state()
    )
    assert np.array_equal(applied, limited.action)


def test_a_state_of_another_model_is_refused_with_both_named(
    checkpoint: Path, tmp_path: Path
) -> None:
    state_id = make_world(checkpoint, tmp_path, model_hash="a" * 64).reset().state_id
    other = make_world(checkpoint, tmp_path, model_hash="b" * 64)
    present = other.reset()
    with pytest.raises(StoreError, match=r"a{12}.*b{12}"):
        other.restore(state_id, "ep_0001-b001", "")
    assert other.now == present
    migrated = make_world(
        checkpoint, tmp_path, model_hash="b" * 64, earlier_hashes=("c" * 64, "a" * 64)
    )
    migrated.reset()
    assert migrated.restore(state_id, "ep_0001-b001", "").step == 0


def test_a_world_without_a_session_refuses_to_restore(checkpoint: Path) -> None:
    world = make_world(checkpoint, None)
    assert world.reset().state_id == ""
    with pytest.raises(StoreError, match="session_dir"):
        world.restore("0" * 32, "ep_0001-b001", "")
    with pytest.raises(StoreError, match="session_dir"):
        world.pin("")


def test_a_restarted_world_continues_epochs_and_episodes(
    checkpoint: Path, tmp_path: Path
) -> None:
    first = make_world(checkpoint, tmp_path)
    state_id = first.reset().state_id
    first.restore(state_id, "ep_0001-b001", "")
    second = make_world(checkpoint, tmp_path).reset()
    assert (second.epoch, second.episode_id) == (3, "ep_0002")


def test_a_state_that_cannot_be_saved_does_not_become_the_present(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(checkpoint, tmp_path)
    before = world.reset(name="a")
    put = BlobStore.put_state

    def full(*_: object) -> str:
        raise StoreError("the disk is full", where="here", remedy="free it")

    monkeypatch.setattr(BlobStore, "put_state", full)
    with pytest.raises(StoreError):
        world.step(HOME + 0.01, HUMAN, "test")
    assert world.now == before
    assert world.expects(before.epoch, 0)
    monkeypatch.setattr(BlobStore, "put_state", put)
    after = world.step(HOME + 0.01, HUMAN, "test")
    other = make_world(checkpoint, tmp_path)
    other.reset(name="a")
    assert content(other.step(HOME + 0.01, HUMAN, "test"))[:2] == content(after)[:2]


def test_a_pinned_state_keeps_its_note(checkpoint: Path, tmp_path: Path) -> None:
    world = make_world(checkpoint, tmp_path)
    state_id = world.reset().state_id
    world.pin("before it slips")
    assert BlobStore(tmp_path / "states").pins() == {state_id: "before it slips"}


def test_starts_of_cameras_of_different_sizes_are_read_as_written(tmp_path: Path) -> None:
    starts = [tuple(noise_images((), seed).values()) for seed in range(2)]
    write_starts(
        tmp_path / "arms.safetensors", names=["a", "b"], images=starts,
        proprioception=[np.zeros(5, np.float32)] * 2, values=[np.zeros(3)] * 2,
    )
    path = tmp_path / "arms_starts.npz"
    assert is_start_file(path)
    read = load_starts(path, TASK)
    for written, found in zip(starts, read.images, strict=True):
        assert [view.shape for view in found] == [(48, 64, 3), (41, 33, 3)]
        for one, other in zip(written, found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_missing_starts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="start frames"):
        load_starts(tmp_path / "none.npz", TASK)
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(CheckpointError, match="start frames"):
        load_starts(tmp_path / "text.npz", TASK)


@pytest.mark.parametrize("damage", ["empty", "wrong bit", "a row lost", "no rows"])
def test_damaged_starts_are_refused(tmp_path: Path, damage: str) -> None:
    path, rows = tmp_path / "a_starts.npz", 0 if damage == "no rows" else 2
    np.savez(
        path, names=np.array(["a", "b"][: rows]), images=np.ones((rows, 8, 8, 3), np.uint8),
        proprioception=np.zeros((rows - (damage == "a row lost"), 4), np.float32),
        start_values=np.zeros((rows, 3)),
    )
    if damage == "empty":
        path.write_bytes(b"")
    if damage == "wrong bit":
        content = path.read_bytes()
        path.write_bytes(content.replace(b"\1" * 50, b"\1" * 49 + b"\3", 1))
    with pytest.raises(CheckpointError, match="cannot read the start frames"):
        load_starts(path, TASK)


def test_starts_of_an_earlier_version_are_migrated(tmp_path: Path) -> None:
    path = tmp_path / "old.npz"
    np.savez(path, names=np.array(["a"]), object_poses=np.zeros((1, 3)))
    with pytest.raises(CheckpointError, match="scripts/migrate"):
        load_starts(path, TASK)


def test_a_server_that_cannot_restore_steps_on_and_refuses_to_go_back(
    tmp_path: Path,
) -> None:
    server = drawn_server(tmp_path / "served", can_restore=False)
    world = make_world(connected_checkpoint(tmp_path, server.url), tmp_path / "session")
    first = world.reset()
    assert world.step(HOME, HUMAN, "test").step == 1
    for refused in (
        lambda: world.restore(first.state_id, "again", ""), lambda: world.state(first.state_id)
    ):
        with pytest.raises(StoreError, match="server of this world model cannot restore"):
            refused()
    with pytest.raises(ServerError, match="world server"):
        server.close()
        world.step(HOME, HUMAN, "test")
    assert world.now is not None and world.now.step == 1
