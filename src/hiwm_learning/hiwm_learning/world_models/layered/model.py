"""The world model as one thing: its parts, its file, and what it was made for."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.checkpoints import Checkpoint, CheckpointInfo, load_weights
from hiwm_learning.world_models.layered.dynamics import DynamicsConfig, DynamicsEnsemble
from hiwm_learning.world_models.layered.heads import OutcomeHead
from hiwm_learning.world_models.layered.layers import LayeredDecoder, LayerSpec

KIND = "layered_world_model"


@dataclass(frozen=True, kw_only=True)
class ReadOut:
    """One entry of proprioception, as the model reads it from its layers."""

    layer: int
    axis: int  # 0: x, 1: y
    rate_hz: float  # 0: position, m; else the velocity, m/s, of steps at this rate


@dataclass(frozen=True, kw_only=True)
class WorldModelConfig:
    """Everything that fixes the network's shape."""

    layers: tuple[LayerSpec, ...]
    readout: tuple[ReadOut, ...]  # each entry of proprioception
    camera: str
    height: int  # px
    width: int  # px
    view_m: tuple[float, float]
    dynamics: DynamicsConfig

    def as_json(self) -> dict[str, Any]:
        """Return the configuration as JSON values."""
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
                    **{
                        key: tuple(layer[key]) if layer[key] else None
                        for key in ("proprioception", "action")
                    },
                })
                for layer in data["layers"]
            )
            return WorldModelConfig(
                layers=layers, readout=tuple(ReadOut(**entry) for entry in data["readout"]),
                camera=data["camera"], height=data["height"], width=data["width"],
                view_m=(data["view_m"][0], data["view_m"][1]),
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
        embodiment: one camera from above; every arm has targets x and y in m, and proprioception
            has their measured counterparts, and at most their velocities beside them.
        object_extent_m: width of the table patch that holds the object at any angle.
        arm_extent_m: likewise for an arm's tip.
        dynamics: size of the ensemble.

    Raises:
        ConfigError: the embodiment has several cameras, or is not planar.
    """
    if len(embodiment.cameras) > 1:
        raise ConfigError(
            f"the layered world model draws one camera, not "
            f"{', '.join(camera.name for camera in embodiment.cameras)}",
            where=f"embodiment {embodiment.name}",
            remedy="train the family latent, which draws them all: --family latent",
        )
    camera = embodiment.cameras[0]
    measured = MeasuredFromProprioception(embodiment).columns
    names = [entry.name for entry in embodiment.actions]
    layers = [LayerSpec(name="object", kind="object", extent_m=object_extent_m, canvas_px=72)]
    for arm in embodiment.arms:
        if f"{arm}_x" not in names or f"{arm}_y" not in names or min(camera.view_m) <= 0:
            raise ConfigError(
                f"arm {arm!r} has no {arm}_x and {arm}_y, or the camera no view_m",
                where=f"embodiment {embodiment.name}",
                remedy="this model is for planar arms under a camera that sees them from above",
            )
        action = (names.index(f"{arm}_x"), names.index(f"{arm}_y"))
        layers.append(LayerSpec(
            name=arm, kind="arm", extent_m=arm_extent_m, canvas_px=20, action=action,
            proprioception=(int(measured[action[0]]), int(measured[action[1]])),
        ))
    return WorldModelConfig(
        layers=tuple(layers), readout=_readout(embodiment, layers), camera=camera.name,
        height=camera.height, width=camera.width, view_m=camera.view_m,
        dynamics=dynamics or DynamicsConfig(),
    )


def _readout(embodiment: Embodiment, layers: Sequence[LayerSpec]) -> tuple[ReadOut, ...]:
    """Return how each entry of proprioception is read; raises ConfigError if one cannot be."""
    places: dict[str, tuple[int, int]] = {}  # joint or action entry -> layer, axis
    for layer, spec in enumerate(layers):
        for axis, index in enumerate(spec.action or ()):
            target = embodiment.actions[index]
            places[target.joint] = places[target.name] = (layer, axis)
    readout = []
    for entry in embodiment.proprioception:
        place = places.get(entry.action or entry.joint)
        if place is None or entry.field == "effort":
            raise ConfigError(
                f"this model cannot predict proprioception {entry.name}",
                where=f"embodiment {embodiment.name}: proprioception",
                remedy="it predicts positions and velocities of planar arms; leave the entry out, "
                "or train the latent family",
            )
        rate = embodiment.rate_hz if entry.field == "velocity" else 0.0
        readout.append(ReadOut(layer=place[0], axis=place[1], rate_hz=rate))
    return tuple(readout)


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

    def proprioception(self, poses: Tensor, previous: Tensor) -> Tensor:
        """Return proprioception [B, P]: the arms' latents read out.

        Args:
            poses: [B, L, 4].
            previous: [B, L, 4] one step earlier.
        """
        return torch.stack([
            (poses - previous)[:, one.layer, one.axis] * one.rate_hz if one.rate_hz
            else poses[:, one.layer, one.axis]
            for one in self.config.readout
        ], dim=1)

    def targets(self, actions: Tensor) -> Tensor:
        """Return arm targets [B, arms, 2], m, of actions [B, A]."""
        places = [spec.action for spec in self.config.layers if spec.action]
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


def restored_model(checkpoint: Checkpoint) -> WorldModel:
    """Return the model of a checkpoint, ready to run.

    Raises:
        CheckpointError: its configuration or weights are of another form.
    """
    model = WorldModel(WorldModelConfig.from_json(checkpoint.info.config))
    load_weights(model, checkpoint)
    return model.eval().requires_grad_(False)
