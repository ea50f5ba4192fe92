"""An imagined world: exact states, and a T that stays where nobody pushes it."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hiwm_core.blob_store import BlobStore
from hiwm_core.embodiment import load_embodiment, parse_embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.world_models.layered.layers import frames_to_bytes
from hiwm_learning.world_models.layered.model import planar_config, restored_model
from hiwm_learning.world_models.layered.simulator import ImaginedState, Simulator
from hiwm_test_support.layered_worlds import drawn_world_model, object_pose, scene
from hiwm_test_support.robots import home_proprioception, other_proprioception
from hiwm_test_support.shipped import START_FRAMES, TASK, WORLD_MODEL

EMBODIMENT = load_embodiment(TASK.embodiment)
HOME = np.array(EMBODIMENT.home)
HANDS = torch.from_numpy(HOME.astype(np.float32))[None]

FLOATS = st.floats(allow_nan=False, width=32)
STATES = st.builds(
    ImaginedState,
    poses=hnp.arrays(np.float32, (3, 4), elements=FLOATS),
    previous=hnp.arrays(np.float32, (3, 4), elements=FLOATS),
    own=hnp.arrays(np.float32, (2, 3, 4), elements=FLOATS),
    own_previous=hnp.arrays(np.float32, (2, 3, 4), elements=FLOATS),
    sent=hnp.arrays(np.float64, 4, elements=st.floats(allow_nan=False)),
    previous_step=hnp.arrays(np.float64, 4, elements=st.floats(allow_nan=False)),
    step=st.integers(0, 10**6), seed=st.integers(0, 2**31),
)


def test_frames_are_drawn_as_they_were_trained_bit_for_bit() -> None:
    decoder = drawn_world_model(EMBODIMENT).decoder
    generator = torch.Generator().manual_seed(0)
    # Beyond the picture's rim as well, and at any angle.
    places = (torch.rand(64, 3, 2, generator=generator) - 0.5) * 0.6
    angles = torch.rand(64, 3, generator=generator) * 6.3
    poses = torch.cat([places, torch.stack([angles.cos(), angles.sin()], dim=-1)], dim=-1)
    with torch.no_grad():
        assert torch.equal(decoder.draw(poses), decoder(poses))


@settings(max_examples=40, deadline=None)
@given(state=STATES)
def test_a_state_comes_back_from_the_store_bit_for_bit(state: ImaginedState) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = BlobStore(Path(folder))
        found = ImaginedState.from_parts(*store.get_state(store.put_state(*state.to_parts())))
    for name in ("poses", "previous", "own", "own_previous", "sent", "previous_step"):
        wanted, got = getattr(state, name), getattr(found, name)
        assert (wanted.dtype, wanted.tobytes()) == (got.dtype, got.tobytes())
    assert (found.step, found.seed) == (state.step, state.seed)


def test_a_state_of_another_kind_is_refused() -> None:
    with pytest.raises(CheckpointError, match="poses"):
        ImaginedState.from_parts({}, {"step": 1})


def test_frames_of_several_cameras_are_refused() -> None:
    simulator = Simulator(drawn_world_model(EMBODIMENT), EMBODIMENT)
    frame = np.zeros((96, 96, 3), np.uint8)
    for frames in ((frame, frame), np.stack([frame, frame])):
        with pytest.raises(CheckpointError, match="of 2 cameras, the layered model draws one"):
            simulator.begin(frames, HOME, seed=0)


def test_two_simulators_of_one_model_imagine_the_same_bytes() -> None:
    frames: list[list[bytes]] = []
    for _ in range(2):
        model = drawn_world_model(EMBODIMENT, seed=3)
        poses = scene(model, object_pose(0.02, 0.0, 1.0)[None], HANDS)
        image = frames_to_bytes(model.decoder(poses))[0].numpy()
        simulator = Simulator(model, EMBODIMENT)
        state = simulator.begin(image, HOME, seed=0)
        frames.append([])
        for k in range(5):
            state, _ = simulator.step(state, HOME + 0.01 * k)
            frames[-1].append(simulator.observe(state).image.tobytes())
    assert frames[0] == frames[1]
    assert len(set(frames[0])) > 1


def test_proprioception_with_other_entries_than_the_action_is_imagined_the_same() -> None:
    """Velocities, another order and another length: the arms move as they do without."""
    other = other_proprioception(EMBODIMENT)
    assert other.proprio_dim == 8
    places = []
    for robot in (EMBODIMENT, other):
        model = drawn_world_model(robot, seed=3)
        proprioception = torch.from_numpy(home_proprioception(robot))[None]
        poses = scene(model, object_pose(0.02, 0.0, 1.0)[None], proprioception)
        simulator = Simulator(model, robot)
        state = simulator.begin(
            frames_to_bytes(model.decoder(poses))[0].numpy(), proprioception[0].numpy(), seed=0
        )
        np.testing.assert_allclose(
            simulator.observe(state).proprioception, proprioception[0].numpy(), atol=1e-6
        )
        for k in range(5):
            before = state
            state, limited = simulator.step(state, HOME + 0.004 * k)
        places.append((state.poses, limited.action))
        restored = simulator.restored(*state.to_parts())
        (again, told), (once, _) = simulator.step(restored, HOME), simulator.step(state, HOME)
        assert (again.poses.tobytes(), again.sent.tobytes()) == (
            once.poses.tobytes(), once.sent.tobytes()
        )
        assert not told.held
    np.testing.assert_array_equal(places[0][1], places[1][1])
    np.testing.assert_array_equal(places[0][0], places[1][0])
    seen = simulator.observe(state).proprioception
    moved = (state.poses - before.poses)[2, 1]  # right_y is the first: velocity, then position
    assert seen[0] == pytest.approx(10.0 * moved) and seen[1] == pytest.approx(state.poses[2, 1])


def test_proprioception_that_a_layered_world_cannot_predict_is_refused() -> None:
    text = EMBODIMENT.text.replace("cameras:", (
        "  - {name: load, joint: left_x_joint, field: effort, unit: N}\ncameras:"
    ))
    with pytest.raises(ConfigError, match="cannot predict proprioception load.*latent"):
        planar_config(parse_embodiment(text, "test"))
    text = EMBODIMENT.text.replace("joint: right_x_joint, field: position", (
        "joint: right_x_joint, field: velocity"
    )).replace("field: velocity, unit: m}", "field: velocity, unit: m/s}")
    with pytest.raises(ConfigError, match="lacks the measured counterpart of right_x"):
        planar_config(parse_embodiment(text, "test"))


def test_a_state_saved_without_a_last_target_starts_from_the_measured_position() -> None:
    parts, meta = ImaginedState(
        poses=np.zeros((3, 4), np.float32), previous=np.zeros((3, 4), np.float32),
        own=np.zeros((2, 3, 4), np.float32), own_previous=np.zeros((2, 3, 4), np.float32),
        sent=HOME, previous_step=np.zeros(4), step=3, seed=0,
    ).to_parts()
    del parts["sent"]
    assert np.isnan(ImaginedState.from_parts(parts, meta).sent).all()


def test_a_step_leaves_the_state_it_began_from_alone() -> None:
    model = drawn_world_model(EMBODIMENT)
    poses = scene(model, object_pose(0.0, 0.0, 0.0)[None], HANDS)
    simulator = Simulator(model, EMBODIMENT)
    state = simulator.begin(frames_to_bytes(model.decoder(poses))[0].numpy(), HOME, seed=0)
    before = state.poses.copy()
    after, _ = simulator.step(state, HOME + 0.01)
    assert np.array_equal(state.poses, before)
    assert (state.step, after.step) == (0, 1)


@pytest.mark.skipif(
    not WORLD_MODEL.exists(), reason="no shipped world model yet"
)
def test_the_shipped_world_leaves_alone_what_nobody_pushes() -> None:
    model = restored_model(load_checkpoint(WORLD_MODEL, embodiment_hash=EMBODIMENT.hash))
    simulator = Simulator(model, EMBODIMENT)
    drifts = []
    with np.load(START_FRAMES) as starts:
        for image, joints in zip(starts["images"][:6], starts["proprioception"][:6], strict=True):
            begun = state = simulator.begin(image, joints, seed=0)
            for _ in range(100):
                state, _ = simulator.step(state, joints.astype(np.float64))
            drifts.append(float(np.linalg.norm(state.poses[0, :2] - begun.poses[0, :2])))
    # 0.04 of the T's 140 mm.
    assert max(drifts) < 0.0056, drifts
