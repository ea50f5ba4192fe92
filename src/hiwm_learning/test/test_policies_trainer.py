"""A policy learns its data; a run can be interrupted, resumed and continued."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hiwm_core.errors import CheckpointError
from hiwm_learning.checkpoints import load_checkpoint, save_checkpoint
from hiwm_learning.datasets import Episodes
from hiwm_learning.policies.backbones import BACKBONES
from hiwm_learning.policies.planning import load_planner
from hiwm_learning.policies.trainer import PolicyTrainer
from hiwm_learning.training_loop import Budget, train
from hiwm_test_support.policies import dot_episodes, picture, small_config, towards

backbones = pytest.mark.parametrize("backbone", sorted(BACKBONES))


def small(
    episodes: Episodes, output: Path, backbone: str = "act", **options: Any
) -> PolicyTrainer:
    changes = options.pop("changes", {})
    return PolicyTrainer(episodes, small_config(backbone, **changes), output=output, **{
        "weights": np.ones(len(episodes.actions), np.float32), "data": {"by": "hand"}, "seed": 0,
        "name": "dot", **options,
    })


def quiet(_line: str) -> None:
    pass


@pytest.mark.slow
@pytest.mark.timeout(600)
@backbones
def test_trained_chunks_reach_the_goal_in_the_image(
    tmp_path: Path, backbone: str
) -> None:
    torch.set_num_threads(1)
    episodes = dot_episodes(tmp_path / "set.zarr", 80)
    output = tmp_path / "dot.safetensors"
    trainer = small(episodes, output, backbone)
    before = trainer.held_out()
    train(trainer, Budget(steps=500), state_path=tmp_path / "run.pt", write=quiet)
    after = trainer.held_out()
    assert after["held_out_loss"] < 0.5 * before["held_out_loss"]

    # Where do chunks lead in unseen scenes?
    planner = load_planner(output)
    rng = np.random.default_rng(99)
    misses, blind = [], []
    for number in range(30):
        goal, hand = rng.uniform(-0.09, 0.09, (2, 2))
        target = towards(goal, hand, 4)
        images = np.stack([picture(goal, hand)] * 2)
        proprio = np.stack([hand] * 2).astype(np.float32)
        chunk = planner.plan({"top": images}, proprio, (0, 1, number))
        assert chunk.shape == (4, 3)
        assert abs(chunk[:, 2] - 0.5).max() < 0.05
        misses.append(float(np.linalg.norm(chunk[-1, :2] - target)))
        blind.append(float(np.linalg.norm(hand - target)))
    assert np.median(misses) < 0.5 * np.median(blind)
    card = output.with_suffix(".card.md").read_text()
    assert "80 episodes, 560 frames" in card and load_checkpoint(output).hash in card


def test_held_out_errors_are_reported_by_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions in mm, the gripper's opening as a ratio: it is 0.5 in every recorded action."""
    output = tmp_path / "dot.safetensors"
    trainer = small(dot_episodes(tmp_path / "set.zarr", 20), output)
    monkeypatch.setattr(
        trainer.policy, "sample", lambda _, proprio, __: torch.zeros(len(proprio), 4, 3)
    )
    scores = trainer.held_out()
    assert set(scores) == {"held_out_loss", "held_out_mm", "held_out_ratio"}
    assert scores["held_out_ratio"] == pytest.approx(0.5)
    assert 0.0 < scores["held_out_mm"] < 110.0
    trainer.export(1, 0.0, scores)
    card = output.with_suffix(".card.md").read_text()
    assert f"{scores['held_out_mm']:.2f} mm, 0.5000 (ratio)" in card


class Interrupted:
    """A trainer that is interrupted in the middle of a step, as by Ctrl-C."""

    def __init__(self, trainer: PolicyTrainer, at: int) -> None:
        self._trainer, self._at = trainer, at

    def train_step(self, step: int, progress: float) -> dict[str, float]:
        if step == self._at:
            os.kill(os.getpid(), signal.SIGINT)
        return self._trainer.train_step(step, progress)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)


@backbones
@pytest.mark.parametrize("sampling", ["uniform", "weighted"])
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, backbone: str, sampling: str
) -> None:
    episodes = dot_episodes(tmp_path / "set.zarr", 6)
    weights = np.random.default_rng(0).random(len(episodes.actions), np.float32)
    budget, options = Budget(steps=7), {"weights": weights, "sampling": sampling}
    whole = small(episodes, tmp_path / "whole.safetensors", backbone, **options)
    train(whole, budget, state_path=tmp_path / "whole.pt", write=quiet)

    state, output = tmp_path / "parts.pt", tmp_path / "parts.safetensors"
    first = Interrupted(small(episodes, output, backbone, **options), at=2)
    outcome = train(first, budget, state_path=state, write=quiet)
    assert outcome.interrupted
    assert outcome.steps == 3
    assert load_checkpoint(output).info.steps == 3
    second = small(episodes, output, backbone, **options)
    assert train(second, budget, state_path=state, resume=True, write=quiet).steps == 7
    for name, tensor in whole.policy.state_dict().items():
        assert torch.equal(tensor, second.policy.state_dict()[name]), name


@pytest.mark.parametrize(("what", "options"), [
    ("seed 0.*has 1", {"seed": 1}),
    ("config", {"changes": {"horizon": 5}}),
    ("weights", {"weights": np.full(21, 2.0, np.float32)}),
    ("sampling 'uniform'", {"sampling": "weighted"}),
])
def test_another_run_is_not_resumed(tmp_path: Path, what: str, options: dict[str, Any]) -> None:
    episodes = dot_episodes(tmp_path / "set.zarr", 3)
    output, state = tmp_path / "a.safetensors", tmp_path / "a.pt"
    train(small(episodes, output), Budget(steps=1), state_path=state, write=quiet)
    with pytest.raises(CheckpointError, match=what):
        train(small(episodes, output, **options), Budget(steps=2), state_path=state, resume=True,
              write=quiet)


@backbones
def test_a_run_starts_from_the_checkpoint_of_another(tmp_path: Path, backbone: str) -> None:
    base = tmp_path / "base.safetensors"
    trainer = small(dot_episodes(tmp_path / "set.zarr", 3), base, backbone)
    train(trainer, Budget(steps=2), state_path=tmp_path / "a.pt", write=quiet)
    further = dot_episodes(tmp_path / "more.zarr", 3, seed=1)
    output = tmp_path / "further.safetensors"
    started = small(further, output, backbone, start_from=base, seed=5)
    for name, tensor in load_checkpoint(base).weights.items():
        if name not in ("offset_lower", "offset_upper"):
            assert torch.equal(tensor, started.policy.state_dict()[name]), name
    started.train_step(0, 0.0)
    started.export(1, 0.0, {})
    info = load_checkpoint(output).info
    assert info.data["started_from"] == load_checkpoint(base).label
    assert info.data["weights"] == {"by": "hand"}
    assert load_checkpoint(base).label in output.with_suffix(".card.md").read_text()


def test_a_run_starts_only_from_the_same_kind_network_and_embodiment(tmp_path: Path) -> None:
    episodes = dot_episodes(tmp_path / "set.zarr", 3)
    base = tmp_path / "base.safetensors"
    small(episodes, base).export(0, 0.0, {})
    output = tmp_path / "further.safetensors"
    with pytest.raises(CheckpointError, match="act_policy, not a diffusion_policy"):
        small(episodes, output, "diffusion", start_from=base)
    with pytest.raises(CheckpointError, match="horizon 4, not 6"):
        small(episodes, output, start_from=base, changes={"horizon": 6})
    checkpoint = load_checkpoint(base)
    save_checkpoint(base, replace(checkpoint.info, embodiment_hash="f" * 64), checkpoint.weights)
    with pytest.raises(CheckpointError, match="f" * 64):
        small(episodes, output, start_from=base)
