"""The world model as one thing: its parts, its file, and what it was made for."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_learning.checkpoints import Checkpoint, CheckpointInfo, load_checkpoint, load_weights
from hiwm_learning.world_model.dynamics import DynamicsConfig, DynamicsEnsemble
from hiwm_learning.world_model.heads import OutcomeHead
from hiwm_learning.world_model.layers import LayeredDecoder, LayerSpec

KIND = "layered_world_model"


@dataclass(frozen=True, kw_only=True)
class WorldModelConfig:
    """Everything that fixes the network's shape."""

    layers: tuple[LayerSpec, ...]
    camera: str
    height: int  # px
    width: int  # px
    view_m: tuple[float, float]
    dynamics: DynamicsConfig

    def as_json(self) -> dict[str, Any]:
        """Return JSON values alone."""
        data = asdict(self)
        data["layers"] = [asdict(layer) for layer in self.layers]
        return data

    @staticmethod
    def from_json(data: dict[str, Any]) -> "WorldModelConfig":
        """Return the config `as_json` gave; raises CheckpointError where it is of another form."""
        try:
            layers = tuple(
                LayerSpec(**{
                    **layer,
                    "proprioception": tuple(layer["proprioception"])
                    if layer["proprioception"] else None,
                })
                for layer in data["layers"]
            )
            return WorldModelConfig(
                layers=layers, camera=data["camera"], height=data["height"],
                width=data["width"], view_m=(data["view_m"][0], data["view_m"][1]),
                dynamics=DynamicsConfig(**data["dynamics"]),
            )
        except (KeyError, TypeError, IndexError) as error:
            raise CheckpointError(
                f"the model's configuration lacks or misnames {error}", where="checkpoint config",
                remedy="use the version that trained it, or train again",
            ) from None


def planar_config(
    embodiment: Embodiment, *, object_extent_m: float = 0.24, arm_extent_m: float = 0.04,
    dynamics: DynamicsConfig | None = None,
) -> WorldModelConfig:
    """Return the config for one rigid object and the planar arms of an embodiment.

    Args:
        embodiment: one camera from above; every arm has an x and a y in m, actions and
            proprioception alike.
        object_extent_m: width of the table patch that holds the object at any angle.
        arm_extent_m: likewise for an arm's tip.
        dynamics: size of the ensemble.

    Raises:
        ConfigError: the embodiment is not planar.
    """
    camera = embodiment.cameras[0]
    names = [entry.name for entry in embodiment.proprioception]
    layers = [LayerSpec(name="object", kind="object", extent_m=object_extent_m, canvas_px=72)]
    for arm in embodiment.arms:
        if f"{arm}_x" not in names or f"{arm}_y" not in names or min(camera.view_m) <= 0:
            raise ConfigError(
                f"arm {arm!r} has no {arm}_x and {arm}_y, or the camera no view_m",
                where=f"embodiment {embodiment.name}",
                remedy="this model is for planar arms under a camera that sees them from above",
            )
        place = (names.index(f"{arm}_x"), names.index(f"{arm}_y"))
        layers.append(
            LayerSpec(
                name=arm, kind="arm", extent_m=arm_extent_m, canvas_px=20, proprioception=place
            )
        )
    return WorldModelConfig(
        layers=tuple(layers), camera=camera.name, height=camera.height, width=camera.width,
        view_m=camera.view_m, dynamics=dynamics or DynamicsConfig(),
    )


class WorldModel(nn.Module):
    """Decoder, dynamics and heads.

    Args:
        config: fixes every shape.
    """

    doubt_scale: Tensor

    def __init__(self, config: WorldModelConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = LayeredDecoder(config.layers, config.height, config.width, config.view_m)
        arms = len(config.layers) - 1
        self.dynamics = DynamicsEnsemble(
            config.dynamics, arms, config.layers[0].extent_m, config.view_m
        )
        self.head = OutcomeHead()
        # Real error after a rollout over how far the members parted on its way; measured after
        # training, on held-out rollouts.
        self.register_buffer("doubt_scale", torch.ones(()))

    def proprioception(self, poses: Tensor) -> Tensor:
        """Return proprioception [B, P], m, of poses [B, L, 4]: the arms' latents read out."""
        found = [(spec.proprioception, i) for i, spec in enumerate(self.config.layers)]
        size = sum(2 for place, _ in found if place is not None)
        out = torch.zeros(len(poses), size)
        for place, i in found:
            if place is not None:
                out[:, place[0]] = poses[:, i, 0]
                out[:, place[1]] = poses[:, i, 1]
        return out

    def targets(self, actions: Tensor) -> Tensor:
        """Return arm targets [B, arms, 2], m, of actions [B, A] in proprioception's order."""
        places = [spec.proprioception for spec in self.config.layers if spec.proprioception]
        return torch.stack([actions[:, list(place)] for place in places], dim=1)


def ensemble_heads(config: WorldModelConfig) -> tuple[str, ...]:
    """Return the heads that need no labels: trust, where there are members to disagree."""
    return ("trust",) if config.dynamics.members > 1 else ()


def trained_heads(model: WorldModel, info: CheckpointInfo) -> tuple[str, ...]:
    """Return the heads of a model that were trained.

    Files written before checkpoints listed their heads are looked into: a head that was never
    trained still has the weights that training's seed gave it.
    """
    if info.heads is not None:
        return info.heads
    with torch.random.fork_rng():
        torch.manual_seed(info.seed)
        initial = WorldModel(model.config).head.state_dict()
    untrained = all(
        torch.equal(value, initial[name]) for name, value in model.head.state_dict().items()
    )
    outcome = () if untrained else ("progress", "success")
    return outcome + ensemble_heads(model.config)


def load_world_model(
    path: Path, embodiment_hash: str | None = None
) -> tuple[WorldModel, Checkpoint]:
    """Return a world model, ready to run, and its checkpoint.

    Raises:
        CheckpointError: missing, damaged, another kind, or made for another embodiment.
    """
    checkpoint = load_checkpoint(path, kind=KIND, embodiment_hash=embodiment_hash)
    model = WorldModel(WorldModelConfig.from_json(checkpoint.info.config))
    load_weights(model, checkpoint)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model, checkpoint
