"""Small untrained latent world models and synthetic clips, for tests."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import CameraSpec, Embodiment, load_embodiment
from hiwm_core.tasks import load_task
from hiwm_core.world_heads import HEADS
from hiwm_learning.checkpoints import CheckpointInfo, save_checkpoint
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.config import latent_config
from hiwm_learning.world_models.latent.model import KIND, LatentWorldModel, Worlds, ready
from hiwm_learning.world_models.recordings import write_starts


def embodiment_with(size: int, cameras: tuple[str, ...] = ("top",)) -> Embodiment:
    """Return the planar embodiment with cameras of `size` px; only `top` sees the table."""
    base = load_embodiment(load_task(default_task()).embodiment)
    specs = tuple(
        CameraSpec(
            name=name, width=size, height=size, encoding="rgb8",
            view_m=base.cameras[0].view_m if name == "top" else (0.0, 0.0),
        )
        for name in cameras
    )
    return dataclasses.replace(base, cameras=specs)


def untrained_world(embodiment: Embodiment, seed: int = 0) -> LatentWorldModel:
    """Return a tiny model with random weights, in evaluation mode.

    Its dynamics are random, too: as they start, they change nothing.
    """
    torch.manual_seed(seed)
    model = LatentWorldModel(latent_config(embodiment, network="tiny"))
    drawing = model.dynamics.drawing
    for layer in (
        drawing.shares, drawing.free, drawing.gate, drawing.painted,
        model.dynamics.joints, model.dynamics.gripped,
    ):
        torch.nn.init.normal_(layer.weight, std=0.1)
    model.response.spread.fill_(1e-3)
    if model.has_gripper:
        model.shut_below.fill_(0.5)
    return ready(model)


def world_with_gripper(embodiment: Embodiment) -> LatentWorldModel:
    """Return an untrained world of two hands, the first with a gripper: below 0.5 it is shut."""
    model = untrained_world(embodiment)
    gripping = LatentWorldModel(dataclasses.replace(model.config, grippers=(0, None)))
    gripping.load_state_dict({**model.state_dict(), "shut_below": torch.tensor([0.5, torch.nan])})
    return ready(gripping)


def write_untrained_checkpoint(
    folder: Path, *, name: str = "world.safetensors", embodiment_hash: str = "", seed: int = 0,
    heads: tuple[str, ...] = HEADS,
) -> Path:
    """Write an untrained model of the shipped task and three starts; return the model's path.

    Args:
        folder: to write into.
        name: file name of the model.
        embodiment_hash: replaces the hash of the embodiment.
        seed: of the weights and frames.
        heads: listed as trained in the file.
    """
    task = load_task(default_task())
    embodiment = load_embodiment(task.embodiment)
    model = untrained_world(embodiment, seed=seed)
    path = folder / name
    save_checkpoint(
        path,
        CheckpointInfo(
            kind=KIND, name="untrained", config=model.config.as_json(),
            embodiment=embodiment.name, embodiment_hash=embodiment_hash or embodiment.hash,
            embodiment_text=embodiment.text, task=task.name, task_hash=task.hash, data={}, steps=0,
            seed=seed, minutes=0.0,
            heads=heads,
        ),
        dict(model.state_dict()),
    )
    rng = np.random.default_rng(seed)
    shape = (model.config.height, model.config.width, 3)
    write_starts(
        path, names=["a", "b", "c"],
        images=[(rng.integers(0, 256, shape, np.uint8),) for _ in range(3)],
        proprioception=[np.array(embodiment.home, np.float32)] * 3,
        values=[np.zeros(3)] * 3,
    )
    return path


def moving_square(embodiment: Embodiment, runs: int, length: int, seed: int) -> Clips:
    """Return runs in which a square is at the left arm's last commanded position.

    Args:
        embodiment: planar; every camera sees the same.
        runs: number of runs.
        length: ticks of each.
        seed: of the targets.
    """
    rng = np.random.default_rng(seed)
    size, view = embodiment.cameras[0].width, embodiment.cameras[0].view_m[0]
    frames, positions, actions = [], [], []
    for _ in range(runs):
        walk = rng.normal(0.0, 0.02, (length + 1, embodiment.action_dim)).cumsum(0)
        walk = walk.clip(-0.12, 0.12).astype(np.float32)
        positions.append(walk[:-1])
        actions.append(walk[1:])
        axis = (np.arange(size) + 0.5) / size - 0.5
        across = np.abs(axis[None, None] - walk[:-1, 0, None, None] / view) < 0.1
        along = np.abs(axis[None, :, None] + walk[:-1, 1, None, None] / view) < 0.1
        shape = np.where((across & along)[..., None], (220, 60, 40), (30, 40, 60))
        frames.append(np.repeat(shape[:, None].astype(np.uint8), len(embodiment.cameras), 1))
    commanded = np.concatenate(actions)
    commanded[length - 1 :: length] = np.nan
    first = torch.arange(runs).repeat_interleave(length) * length
    proprioception = np.concatenate(positions)
    return Clips(
        frames=torch.from_numpy(np.concatenate(frames)),
        proprioception=torch.from_numpy(proprioception),
        measured=torch.from_numpy(proprioception[:, : embodiment.action_dim]),
        actions=torch.from_numpy(commanded),
        progress_labels=torch.from_numpy(0.5 + proprioception[:, 0] * 2.0),
        success_labels=torch.from_numpy((proprioception[:, 0] > 0.05).astype(np.float32)),
        first=first, last=first + length - 1,
        starts=(), summary={"episodes": runs, "frames": runs * length},
    )


def resting_worlds(model: LatentWorldModel, scene: torch.Tensor, gap: float = 0.0) -> Worlds:
    """Return worlds at rest with scenes [B, C, 3, H, W] in usual light; commands are `gap`."""
    batch, cameras, actions = *scene.shape[:2], model.config.actions
    joints = torch.zeros(batch, model.config.proprioception)
    command = torch.full((batch, actions), gap)
    return Worlds(
        scene=scene, light=torch.ones(batch, cameras, 3), joints=joints, joints_before=joints,
        gap=command, last_gap=torch.zeros(batch, actions), command=command,
        evidence=torch.zeros(batch, len(model.config.arms)),
    )
