"""A task that is learnt in seconds: an arm moves straight to a disc that only the image shows.

For tests of policies, their training and their use.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment, parse_embodiment
from hiwm_core.provenance import Provenance
from hiwm_learning.checkpoints import CheckpointInfo, save_checkpoint
from hiwm_learning.datasets import EpisodeInfo, Episodes, load_episodes
from hiwm_learning.datasets.episodes import EpisodeWriter
from hiwm_learning.policies.backbones import BACKBONES
from hiwm_learning.policies.chunk_policy import PolicyConfig

PIXELS = 32
VIEW_M = 0.32  # 1 px is 10 mm
STEP_M = 0.02
LENGTH = 7  # frames per episode; the arm moves in most of them
EMBODIMENT_TEXT = f"""
name: dot
frame: table
rate_hz: 10.0
groups:
  - name: arm
    arm: arm
    kind: joint_position
    measured: {{source: joint_states}}
    entries:
      - {{name: arm_x, joint: jx, unit: m, lower: -0.16, upper: 0.16, home: 0.0,
         max_velocity: 0.1, max_acceleration: 1.0, max_following_error: 0.02}}
      - {{name: arm_y, joint: jy, unit: m, lower: -0.16, upper: 0.16, home: 0.0,
         max_velocity: 0.1, max_acceleration: 1.0, max_following_error: 0.02}}
  - name: grip
    arm: arm
    kind: gripper
    measured: {{source: joint_states}}
    entries:
      - {{name: grip, joint: jg, unit: "1", lower: 0.0, upper: 1.0, home: 0.0, max_velocity: 9.0,
         max_acceleration: 99.0, max_following_error: 1.0}}
proprioception:
  - {{name: arm_x, joint: jx, field: position, unit: m}}
  - {{name: arm_y, joint: jy, field: position, unit: m}}
cameras:
  - {{name: top, width: {PIXELS}, height: {PIXELS}, encoding: rgb8, view_m: [{VIEW_M}, {VIEW_M}]}}
"""
_CENTRES = ((np.arange(PIXELS) + 0.5) / PIXELS - 0.5) * VIEW_M
# Networks that train in seconds.
_SMALL: dict[str, dict[str, Any]] = {
    "diffusion": {
        "encoder_width": 16, "keypoints": 8, "features": 48, "denoiser_width": 64,
        "denoiser_blocks": 2,
    },
    "act": {
        "encoder_width": 16, "features": 48, "heads": 2, "feedforward": 96, "encoder_layers": 1,
        "latent": 4,
    },
}


def dot_embodiment() -> Embodiment:
    """Return one arm that moves in the plane, with a gripper that proprioception leaves out."""
    return parse_embodiment(EMBODIMENT_TEXT, "test")


def small_config(backbone: str, **changes: Any) -> PolicyConfig:
    """Return the config of a network that learns the dot task in seconds."""
    return BACKBONES[backbone].config.for_embodiment(
        dot_embodiment(), **{"horizon": 4, "execute_horizon": 2, **_SMALL[backbone], **changes}
    )


def write_untrained_policy(folder: Path, embodiment: Embodiment) -> Path:
    """Write a small diffusion policy with random weights: chunks of 6, of which 3 are executed."""
    config = BACKBONES["diffusion"].config.for_embodiment(
        embodiment, horizon=6, execute_horizon=3, encoder_width=8, keypoints=4, features=16,
        denoiser_width=16, denoiser_blocks=1, sample_steps=2,
    )
    info = CheckpointInfo(
        kind=config.kind, name="random", config=config.to_dict(), embodiment=embodiment.name,
        embodiment_hash=embodiment.hash, embodiment_text=embodiment.text, task="toy_task",
        task_hash="0", data={}, steps=0, seed=0, minutes=0.0,
    )
    path = folder / "random.safetensors"
    save_checkpoint(path, info, BACKBONES["diffusion"].build(config).state_dict())
    return path


def picture(*places: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image of discs of 20 mm at places (m, table frame), one per colour channel."""
    x, y = np.meshgrid(_CENTRES, -_CENTRES)
    image = np.zeros((PIXELS, PIXELS, 3), np.uint8)
    for channel, place in enumerate(places):
        image[..., channel] = 255 * ((x - place[0]) ** 2 + (y - place[1]) ** 2 < 0.02**2)
    return image


def seen_place(image: NDArray[np.uint8], channel: int) -> NDArray[np.float64]:
    """Return the centre of a disc in m, table frame."""
    rows, columns = np.nonzero(image[..., channel])
    return np.array([_CENTRES[columns].mean(), -_CENTRES[rows].mean()])


def towards(goal: NDArray[Any], arm: NDArray[Any], steps: int = 1) -> NDArray[Any]:
    """Return the arm's position after some steps towards the goal."""
    way = goal - arm
    share = min(1.0, steps * STEP_M / max(1e-9, float(np.linalg.norm(way))))
    return np.asarray(arm + share * way)


def dot_episodes(path: Path, count: int, seed: int = 0) -> Episodes:
    """Write demonstrations to a store at `path`; return them as read back."""
    rng = np.random.default_rng(seed)
    writer = EpisodeWriter(path, dot_embodiment(), tuple(str(name) for name in Provenance))
    for number in range(count):
        goal, arm = rng.uniform(-0.1, 0.1, (2, 2))
        images, proprio, actions = [], [], []
        for _ in range(LENGTH):
            images.append(picture(goal, arm))
            proprio.append(arm)
            arm = towards(goal, arm)
            actions.append([*arm, 0.5])
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
            },
        )
    writer.close({})
    return load_episodes(path)
