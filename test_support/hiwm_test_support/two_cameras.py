"""Recordings of the two arms: two cameras of different sizes, proprioception unlike the action."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiwm_core.provenance import Provenance
from hiwm_learning.datasets import EpisodeInfo, Episodes, load_episodes
from hiwm_learning.datasets.episodes import EpisodeWriter
from hiwm_test_support.arms import two_arms

LENGTH = 8  # frames per episode


def noise_images(shape: tuple[int, ...], seed: int) -> dict[str, NDArray[np.uint8]]:
    """Return random images of both cameras, [*shape, H, W, 3] each."""
    rng = np.random.default_rng(seed)
    return {
        camera.name: rng.integers(
            0, 256, (*shape, camera.height, camera.width, 3), dtype=np.uint8
        )
        for camera in two_arms().cameras
    }


def two_camera_episodes(path: Path, count: int, seed: int = 0) -> Episodes:
    """Write episodes of random images and motions to a store at `path`; return them as read."""
    embodiment, rng = two_arms(), np.random.default_rng(seed)
    writer = EpisodeWriter(path, embodiment, tuple(str(name) for name in Provenance))
    for number in range(count):
        images = noise_images((LENGTH,), seed + number)
        actions = rng.uniform(-0.5, 0.5, (LENGTH, embodiment.action_dim))
        actions[-1] = np.nan
        blank = np.full(LENGTH, np.nan)
        writer.add(
            EpisodeInfo(
                bag=f"bag{number}", session_id="s", episode_id=f"ep{number}", branch_id="b",
                parent_branch_id="", fork_step=-1, world="hardware", stand_in=False, task="dot",
                task_hash="0",
            ),
            {
                **{f"images/{name}": frames for name, frames in images.items()},
                "proprio": rng.uniform(-0.5, 0.5, (LENGTH, embodiment.proprio_dim)),
                "actions": actions, "source": np.full(LENGTH, 3), "provenance": np.zeros(LENGTH),
                "steps": np.arange(LENGTH), "trust": np.ones(LENGTH), "progress": blank,
                "success": blank,
            },
        )
    writer.close({})
    return load_episodes(path)
