"""A policy learns what it is shown, augmentation agrees with itself, and a run can be resumed."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment, parse_embodiment
from hiwm_core.errors import BagError, CheckpointError
from hiwm_core.provenance import Provenance
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.datasets import BASE_WEIGHTS, EpisodeInfo, Episodes, load_episodes
from hiwm_learning.datasets.episodes import EpisodeWriter
from hiwm_learning.policies.augmentation import metres_per_pixel, shifted_images
from hiwm_learning.policies.diffusion_policy import DiffusionPolicyConfig
from hiwm_learning.policies.planning import load_planner
from hiwm_learning.policies.trainer import DiffusionTrainer
from hiwm_learning.training_loop import Budget, train

PIXELS = 32
# A table of 0.32 m under a camera of 32 px: 1 px is 10 mm.
TEXT = f"""
name: dot
frame: table
rate_hz: 10.0
arms: [arm]
actions:
  - {{name: arm_x, arm: arm, joint: jx, unit: m, lower: -0.16, upper: 0.16, max_velocity: 0.1,
     max_acceleration: 1.0}}
  - {{name: arm_y, arm: arm, joint: jy, unit: m, lower: -0.16, upper: 0.16, max_velocity: 0.1,
     max_acceleration: 1.0}}
  - {{name: grip, arm: arm, joint: jg, unit: "1", lower: 0.0, upper: 1.0, max_velocity: 9.0,
     max_acceleration: 99.0}}
proprioception:
  - {{name: arm_x, joint: jx, field: position, unit: m}}
  - {{name: arm_y, joint: jy, field: position, unit: m}}
home: [0.0, 0.0, 0.0]
cameras:
  - {{name: top, width: {PIXELS}, height: {PIXELS}, encoding: rgb8, view_m: [0.32, 0.32]}}
"""
LENGTH = 7  # steps of an episode: most of them move
CENTRES = (np.arange(PIXELS) + 0.5) / PIXELS - 0.5


def embodiment() -> Embodiment:
    return parse_embodiment(TEXT, "test")


def picture(*places: NDArray[Any]) -> NDArray[np.uint8]:
    """Return discs of 20 mm at places (m, table frame), one colour channel each."""
    x, y = np.meshgrid(CENTRES * 0.32, -CENTRES * 0.32)
    image = np.zeros((PIXELS, PIXELS, 3), np.uint8)
    for channel, place in enumerate(places):
        image[..., channel] = 255 * ((x - place[0]) ** 2 + (y - place[1]) ** 2 < 0.02**2)
    return image


def seen_place(image: NDArray[np.uint8], channel: int) -> NDArray[np.float64]:
    """Return the centre of a disc in m, table frame."""
    rows, columns = np.nonzero(image[..., channel])
    return np.array([CENTRES[columns].mean(), -CENTRES[rows].mean()]) * 0.32


def dot_episodes(path: Path, count: int, seed: int = 0) -> Episodes:
    """Return episodes in which the arm drives straight to a disc that only the picture shows."""
    rng = np.random.default_rng(seed)
    writer = EpisodeWriter(path, embodiment(), tuple(str(name) for name in Provenance))
    for number in range(count):
        goal, hand = rng.uniform(-0.1, 0.1, (2, 2))
        images, proprio, actions = [], [], []
        for _ in range(LENGTH):
            images.append(picture(goal, hand))
            proprio.append(hand)
            step = goal - hand
            hand = hand + step * min(1.0, 0.02 / max(1e-9, float(np.linalg.norm(step))))
            actions.append([*hand, 0.5])
        actions[-1] = [np.nan] * 3
        blank = np.full(LENGTH, np.nan)
        writer.add(
            EpisodeInfo(
                bag=f"bag{number}", session_id="s", episode_id=f"ep{number}", branch_id="b",
                parent_branch_id="", fork_step=-1, world="hardware", stand_in=True, task="dot",
                task_hash="0",
            ),
            {
                "images/top": np.array(images), "proprio": np.array(proprio),
                "actions": np.array(actions), "source": np.full(LENGTH, 3),
                "provenance": np.zeros(LENGTH), "steps": np.arange(LENGTH),
                "trust": np.ones(LENGTH), "progress": blank, "success": blank,
                "object_pose": np.tile(blank[:, None], 3),
                "coverage": blank,
            },
        )
    writer.close({})
    return load_episodes(path)


def small(episodes: Episodes, output: Path, seed: int = 0) -> DiffusionTrainer:
    config = DiffusionPolicyConfig.for_embodiment(
        episodes.embodiment, horizon=4, execute_horizon=2, encoder_width=16, keypoints=8,
        features=48, denoiser_width=64, denoiser_blocks=2,
    )
    return DiffusionTrainer(
        episodes, config, weights=BASE_WEIGHTS, seed=seed, output=output, name="dot",
    )


def quiet(_line: str) -> None:
    pass


def test_a_moved_picture_says_the_same_as_moved_proprioception() -> None:
    body = embodiment()
    camera = body.cameras[0]
    place = np.array([0.035, -0.025])
    frames = picture(place)[None]
    shift = np.array([[3, 0], [0, 3], [-4, 2], [0, 0]])
    moved = shifted_images(frames, np.zeros((4, 1), np.int64), shift)
    told = seen_place(frames[0], 0) + (shift @ metres_per_pixel(body.proprioception, camera).T)
    for image, expected in zip(moved[:, 0], told, strict=True):
        np.testing.assert_allclose(seen_place(image, 0), expected, atol=1e-6)
    np.testing.assert_array_equal(metres_per_pixel(body.actions, camera)[2], [0, 0])


def test_a_camera_from_the_side_moves_no_numbers() -> None:
    body = embodiment()
    camera = replace(body.cameras[0], view_m=(0.0, 0.0))
    assert not metres_per_pixel(body.proprioception, camera).any()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_training_makes_chunks_that_reach_what_the_picture_shows(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    episodes = dot_episodes(tmp_path / "set.zarr", 80)
    output = tmp_path / "dot.safetensors"
    trainer = small(episodes, output)
    before = trainer.held_out()
    train(trainer, Budget(steps=500), state_path=tmp_path / "run.pt", write=quiet)
    after = trainer.held_out()
    assert after["held_out_loss"] < 0.5 * before["held_out_loss"]

    # Scenes that were in no episode: where does the chunk lead?
    planner = load_planner(output)
    rng = np.random.default_rng(99)
    misses, blind = [], []
    for number in range(30):
        goal, hand = rng.uniform(-0.09, 0.09, (2, 2))
        step = goal - hand
        target = hand + step * min(1.0, 4 * 0.02 / float(np.linalg.norm(step)))
        images = np.stack([picture(goal, hand)] * 2)
        chunk = planner.plan(images, np.stack([hand] * 2).astype(np.float32), (0, 1, number))
        assert chunk.shape == (4, 3)
        assert abs(chunk[:, 2] - 0.5).max() < 0.05
        misses.append(float(np.linalg.norm(chunk[-1, :2] - target)))
        blind.append(float(np.linalg.norm(hand - target)))
    assert np.median(misses) < 0.5 * np.median(blind)
    card = output.with_suffix(".card.md").read_text()
    assert "80 episodes, 560 frames" in card and load_checkpoint(output).hash in card


def test_the_same_seed_gives_the_same_chunk_and_another_a_different_one(tmp_path: Path) -> None:
    episodes = dot_episodes(tmp_path / "set.zarr", 3)
    output = tmp_path / "dot.safetensors"
    small(episodes, output).export(0, 0.0, {})
    images, proprio = episodes.images["top"][:2], episodes.proprio[:2]
    first = load_planner(output).plan(images, proprio, (7, 3, 20))
    np.testing.assert_array_equal(first, load_planner(output).plan(images, proprio, (7, 3, 20)))
    assert (first != load_planner(output).plan(images, proprio, (7, 4, 20))).any()


class Interrupted:
    """A trainer that is interrupted as by Ctrl-C in the middle of a step."""

    def __init__(self, trainer: DiffusionTrainer, at: int) -> None:
        self._trainer, self._at = trainer, at

    def train_step(self, step: int, progress: float) -> dict[str, float]:
        if step == self._at:
            os.kill(os.getpid(), signal.SIGINT)
        return self._trainer.train_step(step, progress)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)


def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    episodes = dot_episodes(tmp_path / "set.zarr", 6)
    budget = Budget(steps=7)
    whole = small(episodes, tmp_path / "whole.safetensors")
    train(whole, budget, state_path=tmp_path / "whole.pt", write=quiet)

    state = tmp_path / "parts.pt"
    first = Interrupted(small(episodes, tmp_path / "parts.safetensors"), at=2)
    outcome = train(first, budget, state_path=state, write=quiet)
    assert outcome.interrupted
    assert outcome.steps == 3
    assert load_checkpoint(tmp_path / "parts.safetensors").info.steps == 3
    second = small(episodes, tmp_path / "parts.safetensors")
    assert train(second, budget, state_path=state, resume=True, write=quiet).steps == 7
    for name, tensor in whole.policy.state_dict().items():
        assert torch.equal(tensor, second.policy.state_dict()[name]), name


def test_another_run_is_not_resumed(tmp_path: Path) -> None:
    episodes = dot_episodes(tmp_path / "set.zarr", 3)
    output, state = tmp_path / "a.safetensors", tmp_path / "a.pt"
    train(small(episodes, output), Budget(steps=1), state_path=state, write=quiet)
    with pytest.raises(CheckpointError, match="seed 0.*has 1"):
        train(small(episodes, output, seed=1), Budget(steps=2), state_path=state, resume=True,
              write=quiet)


def test_a_set_without_demonstrations_is_refused(tmp_path: Path) -> None:
    episodes = dot_episodes(tmp_path / "set.zarr", 2)
    failures = replace(episodes, provenance=np.full_like(episodes.provenance, 4))
    with pytest.raises(BagError, match="rolled-back"):
        small(failures, tmp_path / "a.safetensors")
