"""The common part of every policy backbone: configuration, anchors and scales.

Actions are learnt as offsets from the arms' measured positions at planning time. Every entry of the
chunk has its own scale. This works better with few demonstrations: every chunk starts at the arm,
however well the image encoder locates it, and the network's error is a fraction of a step rather
than of the table's width.

Trainer and planner use only `ChunkPolicy`, so that a backbone is a network with a loss.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hiwm_core.action_parts import turns_freely
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError
from hiwm_core.measured import measured_columns

# Entry of `anchors` for an action without a measured position; it is learnt as an absolute value.
ABSOLUTE = -1
# Gain on differences to older proprioceptions: a step is a small fraction of the range.
_MOTION_GAIN = 10.0


@dataclass(frozen=True, kw_only=True)
class CameraInput:
    """One camera that a policy sees."""

    name: str
    height: int  # [px]
    width: int  # [px]


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(ABC):
    """Inputs and outputs of a network; subclasses add its dimensions. Stored in the checkpoint."""

    kind: ClassVar[str]  # of the checkpoints
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]]  # size -> fields that differ from the default

    camera: str  # the first camera it sees
    height: int  # [px]
    width: int  # [px]
    action_dim: int
    proprio_dim: int
    anchors: tuple[int, ...]  # per action: index of its measured counterpart in proprioception
    angles: tuple[int, ...] = ()  # actions that wrap around, rad
    observation_steps: int = 2  # frames and proprioceptions in the input, newest last
    others: tuple[CameraInput, ...] = ()  # the other cameras it sees
    horizon: int = 16  # actions in a chunk
    execute_horizon: int = 8  # actions to run before the next chunk

    @classmethod
    def for_embodiment(
        cls, embodiment: Embodiment, size: str = "tiny", **changes: Any
    ) -> Self:
        """Return the config of a size for an embodiment, with all its cameras.

        Args:
            embodiment: the robot and cameras.
            size: "tiny" trains and runs on two CPU cores, "full" needs a GPU.
            changes: fields to override.
        """
        camera, *others = embodiment.cameras
        return cls(**{
            "camera": camera.name, "height": camera.height, "width": camera.width,
            "others": tuple(
                CameraInput(name=one.name, height=one.height, width=one.width) for one in others
            ),
            "action_dim": embodiment.action_dim, "proprio_dim": embodiment.proprio_dim,
            "anchors": action_anchors(embodiment), "angles": free_angles(embodiment),
            **cls.sizes[size], **changes,
        })

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str) -> Self:
        """Return the config of a checkpoint; raises CheckpointError if it does not fit."""
        try:
            others = tuple(CameraInput(**one) for one in data.get("others", ()))
            angles = tuple(data.get("angles", ()))
            return cls(**{
                **data, "anchors": tuple(data["anchors"]), "angles": angles, "others": others,
            })
        except (TypeError, KeyError) as error:
            raise CheckpointError(
                f"not the configuration of a {cls.kind}: {error}", where=where,
                remedy="use the version that trained it, or train again",
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values for `from_dict`."""
        return {
            **asdict(self), "anchors": list(self.anchors), "angles": list(self.angles),
            "others": [asdict(one) for one in self.others],
        }

    def differences(self, other: "PolicyConfig") -> list[str]:
        """Return the differences to another config of the same kind, one text per field."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [f"{name} {mine!r}, not {theirs!r}" for name, mine, theirs in pairs
                if mine != theirs]

    @property
    def cameras(self) -> tuple[CameraInput, ...]:
        """Every camera it sees, in the order of its inputs."""
        return CameraInput(name=self.camera, height=self.height, width=self.width), *self.others

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """The peak learning rate; lower for wider networks."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """N training samples as tensors."""

    images: tuple[Tensor, ...]  # of each camera, [N, S, H, W, 3] uint8, newest last
    proprio: Tensor  # [N, S, P], the embodiment's units
    actions: Tensor  # [N, K, A], the embodiment's units, from the newest image on
    weights: Tensor  # [N, K], of each action
    light: Tensor | None = None  # [N, 2], gain and offset of the images in training


class ChunkPolicy(nn.Module, ABC):
    """Maps observations to chunks of actions."""

    config: PolicyConfig
    proprio_centre: Tensor  # [P]
    proprio_scale: Tensor  # [P]
    offset_centre: Tensor  # [K, A]
    offset_scale: Tensor  # [K, A]
    offset_lower: Tensor  # [K, A], normalised
    offset_upper: Tensor  # [K, A], normalised

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        chunk = (config.horizon, config.action_dim)
        for name, value in (
            ("proprio_centre", torch.zeros(config.proprio_dim)),
            ("proprio_scale", torch.ones(config.proprio_dim)),
            ("offset_centre", torch.zeros(chunk)),
            ("offset_scale", torch.ones(chunk)),
            ("offset_lower", torch.full(chunk, -1.0)),
            ("offset_upper", torch.full(chunk, 1.0)),
        ):
            self.register_buffer(name, value)

    @abstractmethod
    def loss(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return the objective as "loss", and those of its parts to report.

        Args:
            batch: samples; the mean weights each action.
            rng: source of the objective's noise.
        """

    @abstractmethod
    def sample(
        self, images: Sequence[Tensor], proprio: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return chunks [N, K, A] in the embodiment's units, without gradients.

        Args:
            images: of each camera of the config, [N, S, H, W, 3] uint8, newest last.
            proprio: [N, S, P] in the embodiment's units.
            generator: a CPU generator, the source of the sampling noise on every device.
        """

    def fit_scales(self, proprio: NDArray[np.float32], actions: NDArray[np.float32]) -> None:
        """Set the normalisation from training data: proprio [N, P], chunks [N, K, A]."""
        low, high = proprio.min(0), proprio.max(0)
        self.proprio_centre.copy_(torch.from_numpy((low + high) / 2))
        self.proprio_scale.copy_(torch.from_numpy(np.maximum((high - low) / 2, 1e-6)))
        offsets = self._offset_array(proprio, actions)
        self.offset_centre.copy_(torch.from_numpy(offsets.mean(0)))
        self.offset_scale.copy_(torch.from_numpy(np.maximum(offsets.std(0), 1e-6)))
        self.offset_lower.fill_(torch.inf)
        self.offset_upper.fill_(-torch.inf)
        self.widen_bounds(proprio, actions)

    def widen_bounds(self, proprio: NDArray[np.float32], actions: NDArray[np.float32]) -> None:
        """Extend the bounds of samples to these chunks: proprio [N, P], actions [N, K, A]."""
        normal = (
            torch.from_numpy(self._offset_array(proprio, actions)) - self.offset_centre
        ) / self.offset_scale
        self.offset_lower.copy_(torch.minimum(self.offset_lower, normal.amin(0)))
        self.offset_upper.copy_(torch.maximum(self.offset_upper, normal.amax(0)))

    def anchor(self, proprio: Tensor) -> Tensor:
        """Return the origin of the offsets, [N, A], for the newest proprioception [N, P]."""
        known = torch.tensor(
            [index != ABSOLUTE for index in self.config.anchors], device=proprio.device
        )
        index = torch.tensor([max(0, i) for i in self.config.anchors], device=proprio.device)
        return torch.where(known, proprio[:, index], torch.zeros((), device=proprio.device))

    def normal_state(self, proprio: Tensor) -> Tensor:
        """Return [N, S * P] for proprioception [N, S, P]: current position and recent motion."""
        normal = (proprio - self.proprio_centre) / self.proprio_scale
        motion = (normal[:, :-1] - normal[:, -1:]) * _MOTION_GAIN
        return torch.cat((normal[:, -1], motion.flatten(1)), dim=-1)

    def normal_chunk(self, batch: Batch) -> Tensor:
        """Return a batch's actions as normalised offsets, [N, K, A]."""
        offsets = self._offsets(batch.proprio[:, -1], batch.actions)
        return (offsets - self.offset_centre) / self.offset_scale

    def actions_of(self, chunk: Tensor, proprio: Tensor) -> Tensor:
        """Return actions for normalised offsets [N, K, A] and proprioception [N, S, P]."""
        offsets = chunk * self.offset_scale + self.offset_centre
        return offsets + self.anchor(proprio[:, -1])[:, None]

    def _offsets(self, proprio: Tensor, actions: Tensor) -> Tensor:
        """Return actions [N, K, A] as offsets from the arms at proprioception [N, P]."""
        offsets = actions - self.anchor(proprio)[:, None]
        for i in self.config.angles:  # the short way round
            offsets[..., i] = torch.remainder(offsets[..., i] + math.pi, 2.0 * math.pi) - math.pi
        return offsets

    def _offset_array(
        self, proprio: NDArray[np.float32], actions: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        offsets: NDArray[np.float32] = self._offsets(
            torch.from_numpy(proprio), torch.from_numpy(actions)
        ).numpy()
        return offsets


def action_anchors(embodiment: Embodiment) -> tuple[int, ...]:
    """Return where each action's measured counterpart is in proprioception, or `ABSOLUTE`.

    6D rotations are absolute: a difference of two of them is not one of their numbers.
    """
    anchors = measured_columns(embodiment)
    for group in embodiment.groups:
        if group.rotation == "6d":
            anchors[group.rotation_slice] = ABSOLUTE
    return tuple(int(anchor) for anchor in anchors)


def free_angles(embodiment: Embodiment) -> tuple[int, ...]:
    """Return the actions that are yaws without a limit."""
    return tuple(
        group.rotation_slice.start for group in embodiment.groups
        if group.rotation == "yaw" and turns_freely(embodiment.actions[group.rotation_slice.start])
    )
