"""An imagined latent world: states that hold everything, exact replay, many worlds at once."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from hiwm_core.blob_store import BlobStore
from hiwm_core.config_files import default_task
from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_core.tasks import load_task
from hiwm_learning.checkpoints import load_checkpoint, save_checkpoint
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.latent.config import latent_config
from hiwm_learning.world_models.latent.simulator import LatentSimulator, LatentState
from hiwm_test_support.arms import two_arms
from hiwm_test_support.latent_worlds import (
    embodiment_with,
    untrained_world,
    write_untrained_checkpoint,
)
from hiwm_test_support.layered_worlds import write_drawn_checkpoint
from hiwm_test_support.robots import home_proprioception, mixed_robot, other_proprioception
from hiwm_test_support.two_cameras import noise_images

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)
HOME = np.array(EMBODIMENT.home)
STEPS = 5


def make_simulator(embodiment: Embodiment = EMBODIMENT, seed: int = 0) -> LatentSimulator:
    return LatentSimulator(untrained_world(embodiment, seed), embodiment)


def picture(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 96, 96, 3), np.uint8)


def actions(count: int, seed: int) -> np.ndarray:
    return HOME + np.random.default_rng(seed).normal(0, 0.02, (count, len(HOME))).cumsum(0)


def content(simulator: LatentSimulator, state: LatentState) -> tuple[object, ...]:
    seen = simulator.observe(state)
    parts, meta = state.to_parts()
    arrays = {name: (value.dtype, value.tobytes()) for name, value in parts.items()}
    return arrays, meta, seen.image.tobytes(), seen.trust, seen.progress, seen.success


def test_a_state_from_the_store_replays_the_same_bytes(tmp_path: Path) -> None:
    simulator, store = make_simulator(), BlobStore(tmp_path)
    state = simulator.begin(picture(), HOME, seed=7)
    for action in actions(STEPS, 0):
        state, _ = simulator.step(state, action)
    saved = store.put_state(*state.to_parts())
    wanted = [content(simulator, state)]
    for action in actions(STEPS, 1):
        state, _ = simulator.step(state, action)
        wanted.append(content(simulator, state))
    # Another process: another simulator of the same model, and what torch draws is elsewhere.
    torch.manual_seed(99)
    other = make_simulator()
    state = other.restored(*BlobStore(tmp_path, read_only=True).get_state(saved))
    found = [content(other, state)]
    for action in actions(STEPS, 1):
        state, _ = other.step(state, action)
        found.append(content(other, state))
    assert found == wanted
    assert len({frame for _, _, frame, *_ in found}) > 1


def test_a_step_leaves_the_state_it_began_from_alone() -> None:
    simulator = make_simulator()
    state = simulator.begin(picture(), HOME, seed=0)
    before = content(simulator, state)
    after, limited = simulator.step(state, HOME + 0.01)
    assert content(simulator, state) == before
    assert (state.step, after.step) == (0, 1)
    assert np.array_equal(after.action, limited.action)
    assert after.doubt > 0.0
    assert simulator.observe(after).trust < simulator.observe(state).trust == 1.0


def test_an_unusable_action_holds() -> None:
    simulator = make_simulator()
    _, limited = simulator.step(simulator.begin(picture(), HOME, 0), np.full(4, np.nan))
    assert limited.held


def test_worlds_stepped_together_are_those_stepped_alone_up_to_rounding() -> None:
    simulator = make_simulator()
    together = [simulator.begin(picture(seed=k), HOME, seed=k) for k in range(3)]
    alone = list(together)
    for k in range(2):
        told = [action for action in actions(3, k)]
        together, _ = simulator.step_many(together, told)
        alone = [
            simulator.step(state, action)[0] for state, action in zip(alone, told, strict=True)
        ]
    for a, b in zip(together, alone, strict=True):
        assert np.abs(a.scene.astype(int) - b.scene.astype(int)).max() <= 2
        assert np.allclose(a.proprioception, b.proprioception, atol=1e-3)
        assert (a.step, a.seed) == (b.step, b.seed)
    for one, other in zip(simulator.observe_many(together), together, strict=True):
        seen = simulator.observe(other).image.astype(int)
        assert np.abs(one.image.astype(int) - seen).max() <= 2


def test_a_state_is_small(tmp_path: Path) -> None:
    simulator, store = make_simulator(embodiment_with(128)), BlobStore(tmp_path)
    rng = np.random.default_rng(0)
    state = simulator.begin(rng.integers(0, 256, (128, 128, 3), np.uint8), HOME, seed=0)
    for action in actions(12, 0):
        state, _ = simulator.step(state, action)
        store.put_state(*state.to_parts())
    assert 3 * 128 * 128 < store.last_put.content_bytes < 52_000
    assert store.last_put.written_bytes < 52_000


def test_several_cameras_begin_together_and_are_all_observed() -> None:
    embodiment = embodiment_with(96, ("top", "wrist"))
    simulator = make_simulator(embodiment)
    state, _ = simulator.step(simulator.begin(picture(2), HOME, 0), HOME)
    seen = simulator.observe(state)
    assert simulator.cameras == ("top", "wrist")
    assert seen.image.shape == (96, 96, 3)
    assert [(name, view.shape) for name, view in seen.others.items()] == [("wrist", (96, 96, 3))]
    with pytest.raises(CheckpointError, match="start frames"):
        simulator.begin(picture(), HOME, 0)


def test_cameras_of_different_sizes_and_proprioception_unlike_the_action(tmp_path: Path) -> None:
    embodiment = two_arms()
    simulator, store = make_simulator(embodiment), BlobStore(tmp_path)
    views = list(noise_images((), 0).values())
    state = simulator.begin(views, np.linspace(-0.2, 0.2, 16), 0)
    target = np.array(embodiment.home) + 0.01
    following, limited = simulator.step(state, target)
    assert not limited.held and following.proprioception.shape == (16,)
    seen = simulator.observe(following)
    assert seen.image.shape == (48, 64, 3)
    assert {name: view.shape for name, view in seen.others.items()} == {"wrist": (41, 33, 3)}
    again = simulator.restored(*store.get_state(store.put_state(*following.to_parts())))
    assert content(simulator, again) == content(simulator, following)
    with pytest.raises(CheckpointError, match="start frames of shapes"):
        simulator.begin(views[::-1], state.proprioception, 0)


def test_what_a_gripper_seems_to_hold_is_remembered_until_it_opens(tmp_path: Path) -> None:
    robot = two_arms()
    simulator, store = make_simulator(robot), BlobStore(tmp_path)
    views = [np.full((*size, 3), 90, np.uint8) for size in latent_config(robot).sizes]
    state = simulator.begin(views, np.zeros(robot.proprio_dim, np.float32), 0)
    shut = np.array(robot.home)
    grippers = [group.start for group in robot.groups if group.kind == "gripper"]
    shut[grippers] = robot.lower[grippers]
    opened = shut.copy()
    opened[grippers] = robot.upper[grippers]
    for _ in range(30):  # the limiter lets them close by and by
        state, _ = simulator.step(state, shut)
    assert state.evidence.all()
    more = dataclasses.replace(state, evidence=np.array([2.5, -1.5], np.float32))
    less = dataclasses.replace(state, evidence=np.array([1.0, -3.0], np.float32))
    gained = simulator.step(more, shut)[0].evidence - simulator.step(less, shut)[0].evidence
    np.testing.assert_allclose(gained, 1.5, rtol=1e-5)
    state = more
    again = simulator.restored(*store.get_state(store.put_state(*state.to_parts())))
    following = [simulator.step(one, shut)[0] for one in (state, again)]
    assert content(simulator, following[0]) == content(simulator, following[1])
    for _ in range(30):
        state, _ = simulator.step(state, opened)
    assert not state.evidence.any()


def test_a_moving_camera_replays_the_same_bytes(tmp_path: Path) -> None:
    model = untrained_world(EMBODIMENT)
    model.camera_views()[0].still.fill_(0.0)
    simulator, store = LatentSimulator(model, EMBODIMENT), BlobStore(tmp_path)
    state, _ = simulator.step(simulator.begin(picture(), HOME, 0), HOME + 0.01)
    again = simulator.restored(*store.get_state(store.put_state(*state.to_parts())))
    for action in actions(3, 2):
        state, again = simulator.step(state, action)[0], simulator.step(again, action)[0]
        assert content(simulator, again) == content(simulator, state)


def test_a_state_of_another_kind_is_refused() -> None:
    with pytest.raises(CheckpointError, match="doubt"):
        LatentState.from_parts({"action": np.zeros(4)}, {})


def test_either_kind_of_world_model_is_loaded_by_what_its_file_says(tmp_path: Path) -> None:
    layered, _ = load_simulator(
        write_drawn_checkpoint(tmp_path, name="layered.safetensors"), EMBODIMENT
    )
    path = write_untrained_checkpoint(tmp_path)
    latent, checkpoint = load_simulator(path, EMBODIMENT)
    assert checkpoint.info.kind == "latent_world_model"
    assert load_checkpoint(path).hash == checkpoint.hash
    for simulator in (layered, latent):
        state = simulator.begin(picture(), HOME, 0)
        again = simulator.restored(*state.to_parts())
        assert simulator.observe(again).image.tobytes() == simulator.observe(state).image.tobytes()
        assert simulator.cameras == ("top",)


def test_what_is_no_world_model_or_made_for_another_robot_is_refused(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path, embodiment_hash="e" * 64)
    with pytest.raises(CheckpointError, match="e" * 64):
        load_simulator(path, EMBODIMENT)
    checkpoint = load_checkpoint(path)
    info = dataclasses.replace(checkpoint.info, kind="diffusion_policy")
    save_checkpoint(path, info, checkpoint.weights)
    with pytest.raises(CheckpointError, match="not a world model"):
        load_simulator(path, EMBODIMENT)


def test_proprioception_with_other_entries_than_the_action_passes_the_limits() -> None:
    """Velocities, another order and another length: actions start from what is measured."""
    robot = other_proprioception(EMBODIMENT)
    simulator = make_simulator(robot)
    state = simulator.begin(picture(), home_proprioception(robot), seed=0)
    after, limited = simulator.step(state, HOME + [0.1, 0.0, 0.004, 0.0])
    np.testing.assert_allclose(limited.action, HOME + [0.012, 0.0, 0.004, 0.0], atol=1e-7)
    assert after.proprioception.shape == (8,)
    simulator.step_many([after], [HOME])


def test_a_world_that_does_not_measure_the_action_is_refused() -> None:
    robot = mixed_robot()
    with pytest.raises(ConfigError, match="counterpart of left_x"):
        LatentSimulator(untrained_world(EMBODIMENT), robot)


def test_a_world_without_trained_heads_gives_no_verdict() -> None:
    simulator = LatentSimulator(untrained_world(EMBODIMENT), EMBODIMENT, ())
    seen = simulator.observe(simulator.begin(picture(), HOME, 0))
    assert np.isnan([seen.trust, seen.progress, seen.success]).all()


def test_an_action_moves_the_joints_and_an_idle_world_stays() -> None:
    """The untrained response is that of its linear part; here: go where you are told."""
    model = untrained_world(EMBODIMENT)
    count = EMBODIMENT.action_dim
    model.response.linear.zero_()
    model.response.linear[EMBODIMENT.proprio_dim :][:count] = torch.eye(count)
    model.response.gap_spread.copy_(model.response.spread)
    model.dynamics.joints.weight.zero_()
    simulator = LatentSimulator(model, EMBODIMENT)
    start = simulator.begin(picture(), HOME, 0)
    after, limited = simulator.step(start, HOME + 0.01)
    np.testing.assert_allclose(after.proprioception, limited.action, atol=1e-6)
    idle, _ = simulator.step(start, HOME)
    np.testing.assert_allclose(idle.proprioception, HOME, atol=1e-7)
