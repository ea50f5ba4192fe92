"""Serve a world model of the Interactive World Simulator, its context window as the state.

Run it inside that project's environment, with msgpack and websockets added, and with src/hiwm_core
and src/hiwm_learning of this repository on PYTHONPATH (Python 3.11 or later):

    python serve_interactive_world_sim.py outputs/pusht_cam1/checkpoints/best.ckpt \
        --camera camera_1_color=top --period 0.1

Written against github.com/WangYixuan12/interactive_world_sim (its LatentWorldModel, and the
functions that its deploy/server.py calls). docs/world_servers.md says what was run: that model with
random weights, not with the published ones. The tests use a small stand-in for it.

The embodiment's proprioception must be the measured counterpart of each action entry, in the order
of the actions: end-effector positions in metres for bimanual Push-T. The model predicts no joints,
so they follow the targets.
"""

import argparse
import hashlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hiwm_learning.world_models.remote.connection import API_KEY
from hiwm_learning.world_models.remote.protocol import CameraView, WorldMetadata, WorldObservation
from hiwm_learning.world_models.remote.server import WorldServer

WINDOW = 10  # frames that the model sees at once, the new one included, as in its own server
CONTEXT = WINDOW - 1  # latents that it looks back at
# (model, latent [B, C, h, w], resolution, normalizer, num_views=) -> frames [B, 3, H, W] in 0..1.
Render = Callable[..., torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class ContextState:
    """All that the next frame depends on."""

    latents: torch.Tensor  # [T, C, h, w], T at most CONTEXT, oldest first
    actions: torch.Tensor  # [T, A] normalised, the one that led to each latent; first, where it was
    seed: int  # of the episode
    step: int


class ContextWorld:
    """A `ServedWorld` of a LatentWorldModel.

    Args:
        model: on its device, in eval mode.
        render: `render_img_cm` of the project.
        metadata: of the model; its cameras are those of the model's obs_keys, in their order.
    """

    def __init__(self, model: Any, render: Render, metadata: WorldMetadata) -> None:
        self._model, self._render = model, render
        self.metadata = metadata

    @torch.no_grad()
    def begin(
        self, images: tuple[NDArray[np.uint8], ...], proprioception: NDArray[np.float64], seed: int
    ) -> ContextState:
        """Return a window of one latent: the recorded frames, and where the arms are."""
        seen = [
            self._model.normalizer[key].normalize(
                torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255.0
            ) for key, image in zip(self._model.obs_keys, images, strict=True)
        ]
        return ContextState(
            latents=self._model.encoder_forward(
                torch.cat(seen, dim=1).to(self._model.device, torch.float32)
            ), actions=self._normalised(proprioception), seed=seed, step=0,
        )

    @torch.no_grad()
    def step_many(
        self, states: Sequence[ContextState], actions: NDArray[np.float64]
    ) -> list[ContextState]:
        """Return the next states, one by one: each draws its noise from its own seed."""
        return [
            self._next(state, action) for state, action in zip(states, actions, strict=True)
        ]

    @torch.no_grad()
    def observations(self, states: Sequence[ContextState]) -> list[WorldObservation]:
        """Return the frames of the states."""
        return [WorldObservation(images=self._frames(state)) for state in states]

    def packed(self, state: ContextState) -> dict[str, bytes]:
        """Return a part for each latent, so that a store keeps each only once."""
        parts = {
            f"latent_{i:02d}": _bytes(latent.cpu().numpy())
            for i, latent in enumerate(state.latents)
        }
        return {
            **parts, "actions": _bytes(state.actions.cpu().numpy()),
            "count": _bytes(np.array([state.seed, state.step], np.int64)),
        }

    def unpacked(self, parts: Mapping[str, bytes]) -> ContextState:
        """Return a state from its parts."""
        names = sorted(name for name in parts if name.startswith("latent_"))
        seed, step = _array(parts["count"]).tolist()
        return ContextState(
            latents=self._tensor(np.stack([_array(parts[name]) for name in names])),
            actions=self._tensor(_array(parts["actions"])), seed=seed, step=step,
        )

    def _next(self, state: ContextState, action: NDArray[np.float64]) -> ContextState:
        # It was trained on actions within -1..1.
        newest = torch.clamp(self._normalised(action), -1.0, 1.0)
        actions = torch.cat([state.actions, newest])
        with self._noise(state, "step"):
            # A copy: some configurations blank the old actions in place.
            predicted = self._model.dynamics_forward(state.latents[None], actions[None].clone())
        latents = torch.cat([state.latents, predicted[0, -1:]])
        return ContextState(
            latents=latents[-CONTEXT:], actions=actions[-CONTEXT:], seed=state.seed,
            step=state.step + 1,
        )

    def _frames(self, state: ContextState) -> tuple[NDArray[np.uint8], ...]:
        cameras = self.metadata.cameras
        with self._noise(state, "frame"):
            drawn = self._render(
                self._model, state.latents[-1:], cameras[0].height,
                normalizer=self._model.normalizer, num_views=len(cameras),
            )
        pixels = (drawn[0].permute(1, 2, 0) * 255.0 + 0.5).clamp(0.0, 255.0).to(torch.uint8)
        return tuple(
            np.ascontiguousarray(pixels[..., 3 * i:3 * i + 3].cpu().numpy())
            for i in range(len(cameras))
        )

    def _noise(self, state: ContextState, purpose: str) -> Any:
        """Return a context in which the model's noise is a function of the state alone."""
        text = f"{state.seed} {state.step} {purpose}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
        return _Seeded(number)

    def _normalised(self, action: NDArray[np.float64]) -> torch.Tensor:
        """Return targets or positions [A] in the model's units, [1, A]."""
        given = torch.from_numpy(np.asarray(action, np.float32))[None]
        found: torch.Tensor = self._model.normalizer["action"].normalize(given)
        return found.to(self._model.device, torch.float32)

    def _tensor(self, values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(values).to(self._model.device)


class _Seeded:
    """Seeds torch inside, and restores its generators after."""

    def __init__(self, seed: int) -> None:
        self._seed, self._fork = seed, torch.random.fork_rng()

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *reason: Any) -> None:
        self._fork.__exit__(*reason)


def _bytes(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _array(part: bytes) -> NDArray[Any]:
    return np.load(io.BytesIO(part), allow_pickle=False)


def _loaded(checkpoint: Path, device: str) -> Any:
    """Return the model of a training folder, as deploy/server.py does."""
    from interactive_world_sim.algorithms.latent_dynamics.latent_world_model import (
        LatentWorldModel,
    )
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("torch", lambda name: getattr(torch, name))
    OmegaConf.register_new_resolver("eval", lambda text: eval(text, {"np": np}))
    text = _config_file(checkpoint).read_text()
    for package in ("algorithms", "utils"):
        text = text.replace(
            f"_target_: {package}.", f"_target_: interactive_world_sim.{package}."
        )
    config = OmegaConf.create(text).algorithm
    config.load_ae, config.n_frames = None, WINDOW
    config.metrics = []  # else it downloads the networks of its video metrics
    # Their checkpoints are pickles: load only those whose origin you trust.
    model = LatentWorldModel.load_from_checkpoint(
        str(checkpoint), cfg=config, map_location=device, strict=False, weights_only=False,
    )
    model.dynamics.to(config.get("dtype", torch.float32))
    return model.eval()


def _config_file(checkpoint: Path) -> Path:
    return checkpoint.parents[1] / ".hydra" / "config.yaml"


def _metadata(model: Any, checkpoint: Path, named: Mapping[str, str], period: float) -> Any:
    """Return what the server says of a model whose cameras have other names in the embodiment."""
    if unknown := set(named) - set(model.obs_keys):
        sys.exit(
            f"--camera {', '.join(sorted(unknown))}: the model has {', '.join(model.obs_keys)}"
        )
    digest = hashlib.sha256(_config_file(checkpoint).read_bytes())
    with checkpoint.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    _, height, width = model.cfg.x_shape
    return WorldMetadata(
        name="interactive_world_sim", model=digest.hexdigest(), proprioception=0,
        actions=len(model.normalizer["action"].get_input_stats()["min"]),
        cameras=tuple(
            CameraView(name=named.get(key, key), height=height, width=width)
            for key in model.obs_keys
        ),
        period_s=period,
    )


def main() -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoints/*.ckpt of a training folder")
    parser.add_argument(
        "--camera", action="append", default=[], metavar="KEY=NAME",
        help="the embodiment's name for one of the model's obs_keys",
    )
    parser.add_argument("--period", type=float, required=True, help="of a step, s")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 = for other machines too")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--device", default="cuda:0")
    options = parser.parse_args()
    if wrong := [each for each in options.camera if "=" not in each]:
        parser.error(f"--camera {wrong[0]}: give KEY=NAME")
    from interactive_world_sim.algorithms.common.diffusion_helper import render_img_cm

    model = _loaded(options.checkpoint, options.device)
    named = dict(each.split("=", 1) for each in options.camera)
    world = ContextWorld(
        model, render_img_cm, _metadata(model, options.checkpoint, named, options.period)
    )
    server = WorldServer(
        world, host=options.host, port=options.port, api_key=os.environ.get(API_KEY, "")
    )
    print(f"serving {options.checkpoint} on {server.url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
