"""What every imagined world offers, and the loading of one from a checkpoint of any kind."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hiwm_core.control_period import require_period
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_core.limits import Limiter, LimitResult
from hiwm_learning.checkpoints import Checkpoint, load_checkpoint


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What joints and heads say of a state: all but the pictures, which cost far more.

    A head that was not trained gives NaN, as in a tick: unknown is neither 0 nor 1.
    """

    proprioception: NDArray[np.float64]  # [P] in the embodiment's units
    trust: float  # 0..1, or NaN
    progress: float  # 0..1, or NaN
    success: float  # 0..1, or NaN


@dataclass(frozen=True, kw_only=True)
class ImaginedObservation(Reading):
    """What a world publishes of a state."""

    image: NDArray[np.uint8]  # [H, W, 3] rgb, of the world model's first camera
    others: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)  # its other cameras


def reading(
    heads: Collection[str], *, proprioception: NDArray[np.float64], trust: float, progress: float,
    success: float,
) -> Reading:
    """Return a reading in which the heads that are not among `heads` say nothing."""
    said = {"trust": trust, "progress": progress, "success": success}
    return Reading(
        proprioception=proprioception,
        **{name: value if name in heads else math.nan for name, value in said.items()},
    )


class WorldState(Protocol):
    """Everything an imagined world is at one step; nothing is kept beside it."""

    @property
    def step(self) -> int:
        """Control steps since the episode began."""

    def to_parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and JSON values for a blob store."""


StateT = TypeVar("StateT", bound=WorldState)


class WorldSimulator(Protocol[StateT]):
    """Runs a world model step by step. A restored state, given the same actions, replays exactly.

    Attributes:
        cameras: names, the first one giving `ImaginedObservation.image`.
        heads: those that were trained, of `hiwm_core.world_heads.HEADS`; the others give NaN.
    """

    cameras: tuple[str, ...]
    heads: frozenset[str]

    def begin(
        self, image: NDArray[np.uint8], proprioception: NDArray[Any], seed: int
    ) -> StateT:
        """Return the state in which recorded frames are the present.

        Args:
            image: [H, W, 3] rgb, or [C, H, W, 3] of several cameras.
            proprioception: [P] in the embodiment's units.
            seed: of the episode's draws.
        """

    def step(self, state: StateT, action: NDArray[np.float64]) -> tuple[StateT, LimitResult]:
        """Return the next state, and the action [A] as it was let through."""

    def step_many(
        self, states: Sequence[StateT], actions: Sequence[NDArray[np.float64]]
    ) -> tuple[list[StateT], list[LimitResult]]:
        """Return the next state of each of several worlds, and its action as it was let through.

        States must have finite proprioception. A step of many agrees with steps of each alone to
        rounding, not to the byte: other sizes take other kernels.
        """

    def observe(self, state: StateT) -> ImaginedObservation:
        """Return what cameras, joints and heads say of a state."""

    def observe_many(self, states: Sequence[StateT]) -> list[ImaginedObservation]:
        """Return the observation of each of several states."""

    def read_many(self, states: Sequence[StateT]) -> list[Reading]:
        """Return what joints and heads say of each of several states."""

    def redraw(
        self, recordings: Sequence[tuple[NDArray[np.uint8], NDArray[Any]]]
    ) -> list[list[ImaginedObservation]]:
        """Return what the model makes of recorded frames themselves, without foretelling any.

        Args:
            recordings: frames [T, H, W, 3] that follow one another and proprioception [T, P] each.
        """

    def restored(self, parts: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> StateT:
        """Return the state whose `to_parts` gave this.

        Raises:
            CheckpointError: something is missing.
        """


def load_simulator(
    path: Path, embodiment: Embodiment, device: str = "cpu"
) -> tuple[WorldSimulator[Any], Checkpoint]:
    """Return a simulator of the world model in a checkpoint of either kind, and the checkpoint.

    Args:
        path: the safetensors file.
        embodiment: it must have been made for.
        device: "cpu" or "cuda"; the layered model runs on the CPU whatever it is.

    Raises:
        CheckpointError: missing, damaged, no world model, or made for another embodiment.
        ConfigError: no such device.
    """
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(
            f"no device {device!r} here", where="world model",
            remedy="use cpu, or cuda on a machine with a GPU (torch_device:= of a launch file)",
        )
    # Either kind brings imports that the other does not need: diffusers takes seconds.
    from hiwm_learning.world_model import model as layered

    kind = load_checkpoint(path).info.kind
    if kind == layered.KIND:
        from hiwm_learning.world_model.simulator import Simulator

        world, checkpoint = layered.load_world_model(path, embodiment.hash)
        _require_own_period(checkpoint, embodiment)
        heads = layered.trained_heads(world, checkpoint.info)
        return Simulator(world, Limiter(embodiment), heads), checkpoint
    from hiwm_learning.latent_world import model as latent

    if kind == latent.KIND:
        from hiwm_learning.latent_world.simulator import LatentSimulator

        model, checkpoint = latent.load_latent_world(path, embodiment.hash, device)
        _require_own_period(checkpoint, embodiment)
        # One that does not say which of its heads were trained has none.
        heads = checkpoint.info.heads or ()
        return LatentSimulator(model, Limiter(embodiment), heads, device), checkpoint
    raise CheckpointError(
        f"this checkpoint is a {kind}, not a world model", where=str(path),
        remedy=f"give the path of a {layered.KIND} or {latent.KIND} checkpoint",
    )


def _require_own_period(checkpoint: Checkpoint, embodiment: Embodiment) -> None:
    """Raise CheckpointError for a model of another control period than the embodiment's."""
    require_period(
        checkpoint.info.control_period_s, 1.0 / embodiment.rate_hz, "world model",
        str(checkpoint.path),
    )
