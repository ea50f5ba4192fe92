"""A disk that fills during training: older files stay, and a resumed run loses nothing.

The file being written is redirected to /dev/full, which refuses every byte like a full disk.
"""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch

from hiwm_core import atomic_files
from hiwm_core.errors import BagError, CheckpointError
from hiwm_learning.checkpoints import load_checkpoint, load_training_state, save_training_state
from hiwm_learning.datasets import Episodes, load_episodes
from hiwm_learning.policies import train as train_command
from hiwm_learning.policies.trainer import PolicyTrainer
from hiwm_learning.training_loop import Budget, train
from hiwm_test_support.policies import dot_episodes, small_config

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return a function that makes the next write of a file find the disk full."""
    opened = atomic_files._open_new
    full: set[str] = set()

    def open_new(part: Path) -> BinaryIO:
        name = part.name[1:].rsplit(".", 2)[0]
        if name not in full:
            return opened(part)
        full.remove(name)
        return FULL.open("wb")

    monkeypatch.setattr(atomic_files, "_open_new", open_new)
    return lambda path: full.add(path.name)


def quiet(_line: str) -> None:
    pass


class Filling:
    """A trainer during whose step the disk becomes full for one of its files."""

    def __init__(self, trainer: PolicyTrainer, fill: Callable[[], None], at: int) -> None:
        self._trainer, self._fill, self._at = trainer, fill, at

    def train_step(self, step: int, progress: float) -> dict[str, float]:
        if step == self._at:
            self._fill()
        return self._trainer.train_step(step, progress)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)


def trainer(episodes: Episodes, output: Path) -> PolicyTrainer:
    return PolicyTrainer(
        episodes, small_config("diffusion"), data={}, seed=0, output=output, name="dot",
        weights=np.ones(len(episodes.actions), np.float32),
    )


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Episodes:
    return dot_episodes(tmp_path_factory.mktemp("data") / "set.zarr", 3)


@pytest.fixture(scope="module")
def whole(episodes: Episodes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    one = trainer(episodes, folder / "p.safetensors")
    train(one, Budget(steps=5), state_path=folder / "p.pt", write=quiet)
    return one.policy.state_dict()


@pytest.mark.parametrize("which", ["p.pt", "p.safetensors", "p.card.json"])
def test_a_full_disk_ends_training_and_the_last_good_checkpoint_stays(
    episodes: Episodes, whole: dict[str, torch.Tensor], tmp_path: Path, which: str,
    fill: Callable[[Path], None],
) -> None:
    state, output = tmp_path / "p.pt", tmp_path / "p.safetensors"
    filling = Filling(trainer(episodes, output), lambda: fill(tmp_path / which), at=3)
    with pytest.raises(CheckpointError) as caught:
        train(filling, Budget(steps=5), state_path=state, checkpoint_every_s=0.0, write=quiet)
    for words in ("disk is full", which, str(tmp_path), "make room", "--resume"):
        assert words in str(caught.value)
    assert not list(tmp_path.glob(".*.part"))
    assert load_checkpoint(output).info.steps == (4 if which == "p.card.json" else 3)
    assert load_training_state(state)["step"] == (3 if which == "p.pt" else 4)

    again = trainer(episodes, output)
    assert train(again, Budget(steps=5), state_path=state, resume=True, write=quiet).steps == 5
    for name, tensor in whole.items():
        assert torch.equal(tensor, again.policy.state_dict()[name]), name


def test_the_command_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fill: Callable[[Path], None]
) -> None:
    dot_episodes(tmp_path / "set.zarr", 2)
    output = tmp_path / "p.safetensors"
    fill(output)
    assert train_command.main([
        str(tmp_path / "set.zarr"), "-o", str(output), "--steps", "1"
    ]) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: the disk is full") and line.count("\n") == 1


def test_what_is_no_refusal_of_the_disk_is_not_taken_for_one(tmp_path: Path) -> None:
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        save_training_state(tmp_path / "s.pt", {"hook": lambda: None})


def test_a_set_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "set.zarr"
    before = dot_episodes(path, 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with pytest.raises(BagError, match="make room there"):
            dot_episodes(path, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (load_episodes(path).ends == before.ends).all()
    assert not list(tmp_path.glob(".*.part"))
