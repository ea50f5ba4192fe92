"""The latent world model as one thing: its parts, its file, and what it was made for."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_learning.checkpoints import Checkpoint, load_checkpoint, load_weights
from hiwm_learning.latent_world.autoencoder import Autoencoder, AutoencoderConfig, unit_latents
from hiwm_learning.latent_world.dynamics import (
    ActionScale,
    Condition,
    DynamicsConfig,
    LatentDynamics,
    Plane,
    planes_of,
)
from hiwm_learning.latent_world.heads import DoubtEnsemble, OutcomeHead
from hiwm_learning.latent_world.objectives import Network, objective_named
from hiwm_learning.latent_world.samplers import SAMPLERS, Draw
from hiwm_learning.latent_world.views import Size, model_size

KIND = "latent_world_model"
# A latent grid has at most this many cells a side: 96 px give 24, 128 px and 256 px give 32.
MOST_CELLS = 32


@dataclass(frozen=True, kw_only=True)
class LatentWorldConfig:
    """Everything that fixes the network's shape and how it is sampled."""

    cameras: tuple[str, ...]
    height: int  # px, of every camera as the model sees it
    width: int  # px
    autoencoder: AutoencoderConfig
    dynamics: DynamicsConfig
    objective: str  # one of OBJECTIVES
    sampler_steps: int
    action_lower: tuple[float, ...]  # [A] in each entry's unit
    action_upper: tuple[float, ...]
    planes: tuple[Plane, ...]
    proprio_dim: int
    # Height and width of each camera, px; empty: those of the model.
    sizes: tuple[Size, ...] = ()
    head_width: int = 32
    doubt_members: int = 4

    @property
    def camera_sizes(self) -> tuple[Size, ...]:
        """Height and width of each camera, px."""
        return self.sizes or ((self.height, self.width),) * len(self.cameras)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values alone."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "LatentWorldConfig":
        """Return the config `as_json` gave; raises CheckpointError where it is of another form."""
        try:
            coder, dynamics = data["autoencoder"], data["dynamics"]
            return LatentWorldConfig(**{
                **data,
                "cameras": tuple(data["cameras"]),
                "sizes": tuple((height, width) for height, width in data.get("sizes", ())),
                "action_lower": tuple(data["action_lower"]),
                "action_upper": tuple(data["action_upper"]),
                "autoencoder": AutoencoderConfig(**{**coder, "widths": tuple(coder["widths"])}),
                "dynamics": DynamicsConfig(**{**dynamics, "widths": tuple(dynamics["widths"])}),
                "planes": tuple(
                    Plane(**{**plane, "view_m": tuple(plane["view_m"])}) for plane in data["planes"]
                ),
            })
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"the model's configuration lacks or misnames {error}", where="checkpoint config",
                remedy="use the version that trained it, or train again",
            ) from None


@dataclass(frozen=True, kw_only=True)
class _Preset:
    """Width and depth of everything."""

    coder_widths: tuple[int, ...]  # of the autoencoder, fine to coarse; as many as are needed
    coder_blocks: int
    dynamics: DynamicsConfig
    head_width: int


_PRESETS = {
    # Takes a training step on one CPU core within a second: for tests.
    "tiny": _Preset(
        coder_widths=(16, 24, 32), coder_blocks=1, head_width=16,
        dynamics=DynamicsConfig(context=6, widths=(16, 32), blocks=1, attention=False),
    ),
    "full": _Preset(
        coder_widths=(64, 128, 192), coder_blocks=2, head_width=48, dynamics=DynamicsConfig(),
    ),
}
PRESETS = tuple(_PRESETS)


def latent_config(
    embodiment: Embodiment, *, preset: str = "full", objective: str = "flow",
    sampler_steps: int | None = None, context: int | None = None,
    cameras: tuple[str, ...] | None = None,
) -> LatentWorldConfig:
    """Return the config for an embodiment.

    Args:
        embodiment: any.
        preset: width and depth, one of PRESETS.
        objective: one of OBJECTIVES.
        sampler_steps: network calls a step; the objective's usual number when None.
        context: past latents seen; the preset's when None.
        cameras: names; all of the embodiment when None.

    Raises:
        ConfigError: an unknown name.
    """
    if preset not in _PRESETS:
        raise ConfigError(
            f"no preset {preset!r}", where="world model", remedy=f"use one of {', '.join(PRESETS)}"
        )
    objective_named(objective)
    names = cameras or tuple(camera.name for camera in embodiment.cameras)
    specs = [embodiment.camera(name) for name in names]
    size = _PRESETS[preset]
    sizes = tuple((spec.height, spec.width) for spec in specs)
    halvings = 2 if max(map(max, sizes)) <= 4 * MOST_CELLS else 3
    # The dynamics halve the latents once for every width but the first.
    cell = 2 ** (halvings + len(size.dynamics.widths) - 1)
    height, width = model_size(sizes, cell)
    return LatentWorldConfig(
        cameras=names, height=height, width=width,
        sizes=() if set(sizes) == {(height, width)} else sizes,
        # Eight times fewer cells a side than pixels want more channels to hold the same picture.
        autoencoder=AutoencoderConfig(
            channels=4 if halvings == 2 else 8, widths=size.coder_widths[:halvings],
            blocks=size.coder_blocks,
        ),
        dynamics=replace(size.dynamics, context=context or size.dynamics.context),
        objective=objective, sampler_steps=sampler_steps or SAMPLERS[objective][1],
        action_lower=tuple(float(value) for value in embodiment.lower),
        action_upper=tuple(float(value) for value in embodiment.upper),
        planes=planes_of(embodiment, names), proprio_dim=embodiment.proprio_dim,
        head_width=size.head_width,
    )


class LatentWorldModel(nn.Module):
    """Autoencoder, dynamics and heads.

    Args:
        config: fixes every shape.
    """

    proprio_mean: Tensor
    proprio_spread: Tensor
    doubt_scale: Tensor

    def __init__(self, config: LatentWorldConfig) -> None:
        super().__init__()
        self.config = config
        self.autoencoder = Autoencoder(
            config.autoencoder, len(config.cameras), config.height, config.width
        )
        channels, *grid = self.autoencoder.latent_shape
        actions = len(config.action_lower)
        self.actions = ActionScale(
            config.action_lower, config.action_upper, config.planes, (grid[0], grid[1])
        )
        self.dynamics = LatentDynamics(
            config.dynamics, channels, (grid[0], grid[1]), actions, self.actions
        )
        self.outcome = OutcomeHead(channels, actions, config.proprio_dim, config.head_width)
        self.doubt = DoubtEnsemble(
            channels, actions, config.doubt_members, config.head_width, self.actions
        )
        self.register_buffer("proprio_mean", torch.zeros(config.proprio_dim))
        self.register_buffer("proprio_spread", torch.ones(config.proprio_dim))
        # Error of held-out rollouts, as a share of the distance between unrelated frames, over the
        # spread summed on their way; measured after training.
        self.register_buffer("doubt_scale", torch.ones(()))
        self._sample, _ = SAMPLERS[config.objective]

    def encode(self, frames: Tensor) -> Tensor:
        """Return latents [B, K, h, w] of frames [B, C, H, W, 3] uint8."""
        images = frames.movedim(-1, -3).to(self.proprio_mean.dtype) / 255.0
        return self.autoencoder.encode(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Return frames [B, C, H, W, 3] uint8 of latents [B, K, h, w]."""
        images = self.autoencoder.decode(latents).clamp(0.0, 1.0)
        return (images * 255.0 + 0.5).to(torch.uint8).movedim(-3, -1).contiguous()

    def bound(self, condition: Condition) -> Network:
        """Return the dynamics with everything but the noisy latent and its level filled in."""
        def network(noisy: Tensor, level: Tensor) -> Tensor:
            found: Tensor = self.dynamics(noisy, level, condition)
            return found

        return network

    def following(self, condition: Condition, draw: Draw) -> Tensor:
        """Return the next latents [B, K, h, w]; `draw` returns noise of that shape."""
        raw = self._sample(
            self.bound(condition), condition.latents[:, -1], draw, self.config.sampler_steps
        )
        return unit_latents(raw, self.config.autoencoder.channels)

    def proprioception(self, read: Tensor) -> Tensor:
        """Return proprioception [B, P] in the embodiment's units of what the head gave."""
        return read * self.proprio_spread + self.proprio_mean


def ready(model: LatentWorldModel, device: torch.device | str = "cpu") -> LatentWorldModel:
    """Return a model set to run, not to learn, on a device."""
    # Convolutions on a CPU are a third faster channels-last. Replays are promised to be exact, so
    # the fastest kernel must not be chosen anew in each process.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    moved = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved.eval().requires_grad_(False)  # type: ignore[no-any-return]


def load_latent_world(
    path: Path, embodiment_hash: str | None = None, device: torch.device | str = "cpu"
) -> tuple[LatentWorldModel, Checkpoint]:
    """Return a world model, ready to run, and its checkpoint.

    Raises:
        CheckpointError: missing, damaged, another kind, or made for another embodiment.
    """
    checkpoint = load_checkpoint(path, kind=KIND, embodiment_hash=embodiment_hash)
    model = LatentWorldModel(LatentWorldConfig.from_json(checkpoint.info.config))
    load_weights(model, checkpoint)
    return ready(model, device), checkpoint


