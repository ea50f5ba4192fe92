"""What every family of world models must do; a new one adds a line to FAMILIES and to `MODELS`."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiwm_core.blob_store import BlobStore
from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError
from hiwm_core.tasks import load_task
from hiwm_learning.checkpoints import load_checkpoint, save_checkpoint
from hiwm_learning.world_models import train
from hiwm_learning.world_models.families import FAMILIES, load_simulator
from hiwm_learning.world_models.simulators import WorldSimulator
from hiwm_test_support.latent_worlds import write_untrained_checkpoint
from hiwm_test_support.layered_worlds import write_drawn_checkpoint
from hiwm_test_support.remote_worlds import write_remote_checkpoint

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)
HOME = np.array(EMBODIMENT.home)
MODELS: dict[str, Callable[..., Path]] = {
    "layered": write_drawn_checkpoint, "latent": write_untrained_checkpoint,
    "remote": write_remote_checkpoint,
}
STEPS = 4


@pytest.fixture(scope="module", params=[family.name for family in FAMILIES])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MODELS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def simulator(checkpoint: Path) -> WorldSimulator[Any]:
    return load_simulator(checkpoint, EMBODIMENT)[0]


def begun(simulator: WorldSimulator[Any], checkpoint: Path, number: int = 0) -> Any:
    with np.load(checkpoint.with_name(f"{checkpoint.stem}_starts.npz")) as starts:
        return simulator.begin(
            starts["images"][number], starts["proprioception"][number], seed=number
        )


def actions(seed: int, count: int = STEPS) -> np.ndarray:
    return HOME + np.random.default_rng(seed).normal(0, 0.02, (count, len(HOME))).cumsum(0)


def content(simulator: WorldSimulator[Any], state: Any) -> tuple[Any, ...]:
    seen = simulator.observe(state)
    parts, meta = state.to_parts()
    arrays = {name: (value.dtype, value.tobytes()) for name, value in parts.items()}
    return arrays, meta, seen.image.tobytes(), seen.proprioception.tobytes(), seen.trust


def test_a_restored_state_replays_the_same_bytes_in_another_simulator(
    simulator: WorldSimulator[Any], checkpoint: Path, tmp_path: Path
) -> None:
    store, state = BlobStore(tmp_path), begun(simulator, checkpoint)
    for action in actions(0):
        state, _ = simulator.step(state, action)
    saved = store.put_state(*state.to_parts())
    other, _ = load_simulator(checkpoint, EMBODIMENT)
    again = other.restored(*BlobStore(tmp_path, read_only=True).get_state(saved))
    for action in actions(1):
        assert content(other, again) == content(simulator, state)
        state, _ = simulator.step(state, action)
        again, _ = other.step(again, action)
    assert content(other, again) == content(simulator, state)


def test_a_batch_and_a_single_world_agree_within_rounding(
    simulator: WorldSimulator[Any], checkpoint: Path
) -> None:
    together = [begun(simulator, checkpoint, k) for k in range(3)]
    alone = list(together)
    for k in range(2):
        told = list(actions(k, 3))
        together, _ = simulator.step_many(together, told)
        alone = [simulator.step(s, a)[0] for s, a in zip(alone, told, strict=True)]
    many = simulator.observe_many(together)
    for one, single, read in zip(many, alone, simulator.read_many(together), strict=True):
        seen = simulator.observe(single)
        np.testing.assert_allclose(one.proprioception, seen.proprioception, atol=1e-4)
        np.testing.assert_array_equal(one.proprioception, read.proprioception)
        far = np.abs(one.image.astype(int) - seen.image.astype(int))
        assert np.quantile(far, 0.99) <= 2


def test_a_step_changes_neither_its_state_nor_another(
    simulator: WorldSimulator[Any], checkpoint: Path
) -> None:
    state = begun(simulator, checkpoint)
    before = content(simulator, state)
    after, _ = simulator.step(state, HOME + 0.01)
    assert content(simulator, state) == before
    assert (state.step, after.step) == (0, 1)


def test_actions_matter_and_are_limited_as_on_the_robot(
    simulator: WorldSimulator[Any], checkpoint: Path
) -> None:
    state = begun(simulator, checkpoint)
    away, limited = simulator.step(state, HOME + 1.0)
    back, other = simulator.step(state, HOME - 1.0)
    most = np.array([entry.max_velocity for entry in EMBODIMENT.actions]) / EMBODIMENT.rate_hz
    for result in (limited, other):
        assert (np.abs(result.action - HOME) <= most + 1e-9).all()
    assert content(simulator, away) != content(simulator, back)


@pytest.mark.parametrize("unusable", [np.full(4, np.nan), np.zeros(3)])
def test_an_unusable_action_holds(
    simulator: WorldSimulator[Any], checkpoint: Path, unusable: np.ndarray
) -> None:
    _, limited = simulator.step(begun(simulator, checkpoint), unusable)
    assert limited.held


def test_untrained_heads_say_nothing(checkpoint: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    bare = tmp_path / "bare.safetensors"
    save_checkpoint(bare, dataclasses.replace(loaded.info, heads=()), loaded.weights)
    simulator, _ = load_simulator(bare, EMBODIMENT)
    seen = simulator.observe(begun(simulator, checkpoint))
    assert simulator.heads == frozenset()
    assert all(math.isnan(value) for value in (seen.trust, seen.progress, seen.success))


def test_frames_of_another_size_and_states_of_another_family_are_refused(
    simulator: WorldSimulator[Any], checkpoint: Path
) -> None:
    with pytest.raises(CheckpointError):
        simulator.begin((np.zeros((8, 8, 3), np.uint8),) * 2, HOME, 0)
    with pytest.raises(CheckpointError, match="has no"):
        simulator.restored({"nothing": np.zeros(1)}, {})


def test_every_family_is_offered_by_the_training_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        train.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"{family.name} " in text and family.summary[:30] in text for family in FAMILIES)
    assert set(MODELS) == {family.name for family in FAMILIES}
