"""What every policy backbone has in common: its configuration, anchoring and scales.

Actions are learnt as offsets from where the arms are measured to be when the chunk is planned,
each entry of the chunk at its own scale. With few demonstrations that is the better half of the
choice: the first action of every chunk starts where the arm is, whatever the image encoder thinks
of its absolute place, and an error of the network is one of some share of a step, not of the
table's width.

Trainer and planner know `ChunkPolicy` alone, so that a backbone is a network with a loss.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError

# Entry of `anchors` for an action without a measured position, which is learnt as it is.
ABSOLUTE = -1
# Older proprioceptions enter as differences, magnified: a step is a small share of the range.
_MOTION_GAIN = 10.0


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(ABC):
    """What a network sees and plans; a backbone adds what shapes it. Travels in the checkpoint."""

    kind: ClassVar[str]  # of the checkpoints
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]]  # size -> fields that differ from the default

    camera: str  # the one camera it looks through
    height: int  # [px]
    width: int  # [px]
    action_dim: int
    proprio_dim: int
    anchors: tuple[int, ...]  # per action: index of its measured position in the proprioception
    observation_steps: int = 2  # frames and proprioceptions it sees, newest last
    horizon: int = 16  # actions in a chunk
    execute_horizon: int = 8  # of them meant to run before the next chunk

    @classmethod
    def for_embodiment(
        cls, embodiment: Embodiment, size: str = "tiny", **changes: Any
    ) -> Self:
        """Return the network of a size for an embodiment, looking through its first camera.

        Args:
            embodiment: what it acts with.
            size: "tiny" trains and runs on two CPU cores, "full" wants a GPU.
            changes: fields to set otherwise.
        """
        camera = embodiment.cameras[0]
        return cls(**{
            "camera": camera.name, "height": camera.height, "width": camera.width,
            "action_dim": embodiment.action_dim, "proprio_dim": embodiment.proprio_dim,
            "anchors": action_anchors(embodiment), **cls.sizes[size], **changes,
        })

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str) -> Self:
        """Return the config of a checkpoint; raises CheckpointError where it does not fit."""
        try:
            return cls(**{**data, "anchors": tuple(data["anchors"])})
        except (TypeError, KeyError) as error:
            raise CheckpointError(
                f"not the configuration of a {cls.kind}: {error}", where=where,
                remedy="use the version that trained it, or train again",
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values that `from_dict` reads."""
        return {**asdict(self), "anchors": list(self.anchors)}

    def differences(self, other: "PolicyConfig") -> list[str]:
        """Return what differs from another config of the same kind, one text per field."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [f"{name} {mine!r}, not {theirs!r}" for name, mine, theirs in pairs
                if mine != theirs]

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """The highest rate it is trained at; lower the wider the network."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """N training samples as tensors."""

    images: Tensor  # [N, S, H, W, 3] uint8, newest last
    proprio: Tensor  # [N, S, P], the embodiment's units
    actions: Tensor  # [N, K, A], the embodiment's units, the first answering the newest image
    weights: Tensor  # [N, K], how much each action counts
    light: Tensor | None = None  # [N, 2], gain and offset of the images in training


class ChunkPolicy(nn.Module, ABC):
    """Observations to chunks of actions."""

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
        """Return what training makes small as "loss", and its parts worth reporting.

        Args:
            batch: samples; the mean over them counts each action by its weight.
            rng: where the noise of the objective is drawn.
        """

    @abstractmethod
    def sample(self, images: Tensor, proprio: Tensor, generator: torch.Generator) -> Tensor:
        """Return chunks [N, K, A] in the embodiment's units, without gradients.

        Args:
            images: [N, S, H, W, 3] uint8, newest last.
            proprio: [N, S, P] in the embodiment's units.
            generator: of the CPU, where the sampling noise is drawn on every device.
        """

    def fit_scales(self, proprio: NDArray[np.float32], actions: NDArray[np.float32]) -> None:
        """Set the normalisation from training data: proprio [N, P], chunks [N, K, A]."""
        low, high = proprio.min(0), proprio.max(0)
        self.proprio_centre.copy_(torch.from_numpy((low + high) / 2))
        self.proprio_scale.copy_(torch.from_numpy(np.maximum((high - low) / 2, 1e-6)))
        offsets = self._offsets(proprio, actions)
        self.offset_centre.copy_(torch.from_numpy(offsets.mean(0)))
        self.offset_scale.copy_(torch.from_numpy(np.maximum(offsets.std(0), 1e-6)))
        self.offset_lower.fill_(torch.inf)
        self.offset_upper.fill_(-torch.inf)
        self.widen_bounds(proprio, actions)

    def widen_bounds(self, proprio: NDArray[np.float32], actions: NDArray[np.float32]) -> None:
        """Let samples reach as far as these chunks do: proprio [N, P], actions [N, K, A]."""
        normal = (
            torch.from_numpy(self._offsets(proprio, actions)) - self.offset_centre
        ) / self.offset_scale
        self.offset_lower.copy_(torch.minimum(self.offset_lower, normal.amin(0)))
        self.offset_upper.copy_(torch.maximum(self.offset_upper, normal.amax(0)))

    def anchor(self, proprio: Tensor) -> Tensor:
        """Return [N, A], what offsets count from, for the newest proprioception [N, P]."""
        known = torch.tensor(
            [index != ABSOLUTE for index in self.config.anchors], device=proprio.device
        )
        index = torch.tensor([max(0, i) for i in self.config.anchors], device=proprio.device)
        return torch.where(known, proprio[:, index], torch.zeros((), device=proprio.device))

    def normal_state(self, proprio: Tensor) -> Tensor:
        """Return [N, S * P] for proprioception [N, S, P]: where the arms are, how they came."""
        normal = (proprio - self.proprio_centre) / self.proprio_scale
        motion = (normal[:, :-1] - normal[:, -1:]) * _MOTION_GAIN
        return torch.cat((normal[:, -1], motion.flatten(1)), dim=-1)

    def normal_chunk(self, batch: Batch) -> Tensor:
        """Return a batch's actions as normalised offsets, [N, K, A]."""
        offsets = batch.actions - self.anchor(batch.proprio[:, -1])[:, None]
        return (offsets - self.offset_centre) / self.offset_scale

    def actions_of(self, chunk: Tensor, proprio: Tensor) -> Tensor:
        """Return actions for normalised offsets [N, K, A] and proprioception [N, S, P]."""
        offsets = chunk * self.offset_scale + self.offset_centre
        return offsets + self.anchor(proprio[:, -1])[:, None]

    def _offsets(
        self, proprio: NDArray[np.float32], actions: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        anchor = self.anchor(torch.from_numpy(proprio)).numpy()
        offsets: NDArray[np.float32] = actions - anchor[:, None]
        return offsets


def action_anchors(embodiment: Embodiment) -> tuple[int, ...]:
    """Return per action the index of its joint's measured position, or `ABSOLUTE`."""
    measured = {
        entry.joint: index for index, entry in enumerate(embodiment.proprioception)
        if entry.field == "position"
    }
    return tuple(measured.get(entry.joint, ABSOLUTE) for entry in embodiment.actions)
