"""A world model whose layers are drawn instead of trained, for tests."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.tasks import load_task
from hiwm_core.world_heads import HEADS
from hiwm_learning.checkpoints import CheckpointInfo, save_checkpoint
from hiwm_learning.world_models.layered.appearance import arm_poses
from hiwm_learning.world_models.layered.dynamics import DynamicsConfig
from hiwm_learning.world_models.layered.layers import frames_to_bytes, to_logit
from hiwm_learning.world_models.layered.model import KIND, WorldModel, planar_config
from hiwm_learning.world_models.recordings import Recording

UNIT_M = 0.035
_COLOURS = ((0.2, 0.4, 0.8), (0.9, 0.2, 0.2), (0.2, 0.7, 0.3))


def drawn_world_model(embodiment: Embodiment, seed: int = 0) -> WorldModel:
    """Return a model with a blue T and two discs on a light table, its dynamics untrained."""
    torch.manual_seed(seed)
    config = planar_config(embodiment, dynamics=DynamicsConfig(members=2, hidden=16, depth=2))
    model = WorldModel(config)
    decoder = model.decoder
    decoder.background.data = to_logit(torch.full_like(decoder.background, 0.9))
    for index, spec in enumerate(decoder.layers):
        axis = (np.arange(spec.canvas_px) + 0.5) / spec.canvas_px - 0.5
        x, y = np.meshgrid(axis * spec.extent_m, -axis * spec.extent_m)
        points = np.stack([x, y], axis=-1).reshape(-1, 2)
        solid = _in_t(points / UNIT_M) if index == 0 else np.hypot(*points.T) < 0.012
        alpha = torch.from_numpy(solid.reshape(1, spec.canvas_px, -1)).float()
        colour = torch.tensor(_COLOURS[index])[:, None, None].expand(-1, *alpha.shape[1:])
        decoder.canvases[index].data = to_logit(torch.cat([colour, alpha]))
    model.dynamics.set_shape(decoder, 0)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def _in_t(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points [N, 2] are in a T: a bar of 4 x 1 over a stem of 1 x 3, centred."""
    x, y = np.abs(points[:, 0]), points[:, 1] - 5 / 14  # from the joint line of bar and stem
    bar, stem = (x <= 2) & (y >= 0) & (y <= 1), (x <= 0.5) & (y >= -3) & (y <= 0)
    return np.asarray(bar | stem)


def object_pose(x: float, y: float, yaw: float) -> Tensor:
    """Return the latent pose [4] of a position in m and a yaw in rad."""
    return torch.tensor([x, y, np.cos(yaw), np.sin(yaw)], dtype=torch.float32)


def scene(model: WorldModel, objects: Tensor, proprioception: Tensor) -> Tensor:
    """Return layer poses [B, L, 4] for object poses [B, 4] and proprioception [B, P], m."""
    poses = arm_poses(model.decoder, proprioception)
    poses[:, 0] = objects
    return poses


def drawn_recording(
    model: WorldModel, name: str, length: int, *, seed: int, held_out: bool = True
) -> Recording:
    """Return a recording of a T at rest, placed by the seed, and of arms on a 2 mm random walk."""
    generator = torch.Generator().manual_seed(seed)
    embodiment = load_embodiment(load_task(default_task()).embodiment)
    home = torch.tensor(embodiment.home)
    steps = (torch.rand(length, 4, generator=generator) - 0.5) * 0.004
    proprioception = home + steps.cumsum(0)
    objects = object_pose(0.01 * seed, -0.02, 0.5 * seed).expand(length, -1)
    with torch.no_grad():
        frames = frames_to_bytes(model.decoder(scene(model, objects, proprioception)))
    return Recording(
        name=name, kind="demonstration", frames=frames, embodiment=embodiment,
        proprioception=proprioception, measured=proprioception,
        actions=torch.cat([proprioception[1:], torch.zeros(1, 4)]), held_out=held_out,
        progress_labels=torch.zeros(length), success_labels=torch.zeros(length),
        start_values=np.zeros((length, 3)),
        recorded_on="standin (stand-in)", period_s=0.1, measured_period_s=0.1,
    )


def write_drawn_checkpoint(
    folder: Path, *, name: str = "world.safetensors", embodiment_hash: str = "", seed: int = 0,
    heads: tuple[str, ...] = HEADS,
) -> Path:
    """Write a drawn model and three start frames named a, b and c; return the model's path.

    Args:
        folder: to write into.
        name: file name of the model.
        embodiment_hash: replaces the hash of the embodiment.
        seed: of the untrained dynamics.
        heads: listed as trained in the file.
    """
    task = load_task(default_task())
    embodiment = load_embodiment(task.embodiment)
    model = drawn_world_model(embodiment, seed)
    path = folder / name
    save_checkpoint(
        path,
        CheckpointInfo(
            kind=KIND, name="drawn", config=model.config.as_json(), embodiment=embodiment.name,
            embodiment_hash=embodiment_hash or embodiment.hash, embodiment_text=embodiment.text,
            task=task.name, task_hash=task.hash, data={}, steps=0, seed=seed, minutes=0.0,
            heads=heads,
        ),
        dict(model.state_dict()),
    )
    places = np.array([(0.0, 0.0, 0.3), (0.05, -0.04, 2.0), (-0.05, 0.05, -1.2)])
    proprioception = torch.from_numpy(np.tile(embodiment.home, (3, 1))).float()
    objects = torch.stack([object_pose(*place) for place in places])
    with torch.no_grad():
        images = frames_to_bytes(model.decoder(scene(model, objects, proprioception))).numpy()
    np.savez_compressed(
        path.with_name(path.stem + "_starts.npz"), names=np.array(["a", "b", "c"]),
        images=images, proprioception=proprioception.numpy(), start_values=places,
    )
    return path
