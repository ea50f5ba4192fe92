"""Runs a policy for a node: arrays in, chunks out, reproducibly.

`Planner` is the only interface that the policy node uses; ``families.py`` lists what has it.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hiwm_core.control_period import require_period
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.policies.backbones import policy_from_checkpoint

# Images of each camera, by its name.
Images = Mapping[str, NDArray[np.uint8]]
Array = NDArray[np.float32]
# Holds a server's API key. No parameter does: parameters are shown.
API_KEY_VARIABLE = "HIWM_POLICY_API_KEY"


@dataclass(frozen=True, kw_only=True)
class PlannerOptions:
    """What a person says about the policy to use; each family reads what it needs."""

    checkpoint: str = ""  # path
    device: str = "cpu"  # torch's name
    host: str = "127.0.0.1"
    port: int = 8000
    layout: str = "server"  # name of config/policies/NAME.yaml, a path, or server
    api_key: str = ""
    start_timeout_s: float = 30.0  # for a server that must answer at the start, s


@dataclass(frozen=True, kw_only=True)
class PlannerWorld:
    """The world that plans are for."""

    embodiment: Embodiment
    embodiment_hash: str
    period_s: float  # from one action to the next
    instruction: str  # the task in words


class Planner(Protocol):
    """Plans a chunk from the last few observations.

    `fit` comes first; the numbers and shapes are final after it.
    """

    label: str  # name and first 8 digits of the checkpoint's hash, or name and address of a server
    image_shapes: Mapping[str, tuple[int, int, int]]  # [H, W, 3] of each camera that it sees
    proprio_dim: int
    observation_steps: int
    horizon: int
    execute_horizon: int
    rows_at_once: int  # of `plan_many`: as many as take about as long as two single plans

    def fit(self, world: PlannerWorld) -> None:
        """Prepare for a world; called again when its control period changes.

        Raises:
            CheckpointError: trained for another embodiment or control period.
            ConfigError: the world lacks what the policy needs.
        """

    def warm_up(self) -> float:
        """Prepare for the first plan; return the time of a plan in s, 0 if unknown."""

    def idle(self) -> None:
        """Do what is due while nothing is asked; called about once a second."""

    def status(self) -> dict[str, object]:
        """Return values for /diagnostics; called in another thread.

        A server's ``connection`` is ``open``, or says why not.
        """

    def news(self) -> list[str]:
        """Return lines for the log since the last call; called in another thread."""

    def close(self) -> None:
        """Release what it holds."""

    def plan(self, images: Images, proprio: Array, seed: tuple[int, ...]) -> NDArray[np.float64]:
        """Return actions [horizon, A] in the embodiment's units; values may not be finite.

        Args:
            images: of each camera, [S, H, W, 3], newest last; other cameras are ignored.
            proprio: [S, P], newest last.
            seed: determines all randomness.
        """

    def plan_many(
        self, images: Images, proprio: Array, seeds: Sequence[tuple[int, ...]]
    ) -> NDArray[np.float64]:
        """Return actions [N, horizon, A], equal to `plan` for each up to rounding.

        Args:
            images: of each camera, [N, S, H, W, 3].
            proprio: [N, S, P].
            seeds: N seeds.
        """


class PolicyPlanner:
    """A policy of any backbone on one device."""

    # A request of the session waits for at most one such batch.
    rows_at_once = 8

    def __init__(self, path: Path, device: str) -> None:
        checkpoint = load_checkpoint(path)
        try:
            self._device = torch.device(device)
            self._policy = policy_from_checkpoint(checkpoint).to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"cannot use device {device!r}: {error}", where="parameter device of policy",
                remedy="use torch_device:=cpu, or cuda if torch finds a GPU",
            ) from None
        config = self._policy.config
        self._path = path
        self.label = checkpoint.label
        self.info = checkpoint.info
        self.image_shapes: Mapping[str, tuple[int, int, int]] = {
            camera.name: (camera.height, camera.width, 3) for camera in config.cameras
        }
        self.proprio_dim = config.proprio_dim
        self.observation_steps = config.observation_steps
        self.horizon = config.horizon
        self.execute_horizon = config.execute_horizon

    def fit(self, world: PlannerWorld) -> None:
        """Check that the policy was trained for a world; see `Planner`."""
        if world.embodiment_hash != self.info.embodiment_hash:
            raise CheckpointError(
                f"the policy was trained for an embodiment with hash {self.info.embodiment_hash}, "
                f"the world's {world.embodiment.name} has hash {world.embodiment_hash}",
                where=str(self._path),
                remedy="start the world with the policy's embodiment, or train a policy for this "
                "one",
            )
        require_period(
            self.info.control_period_s, world.period_s, "policy", str(self._path)
        )

    def warm_up(self) -> float:
        """Run the network on empty observations; return the duration of the last round in s.

        The first passes allocate memory and choose kernels, and would delay the first tick.
        """
        images = {
            camera: np.zeros((self.observation_steps, *shape), np.uint8)
            for camera, shape in self.image_shapes.items()
        }
        proprio = np.zeros((self.observation_steps, self.proprio_dim), np.float32)
        seconds = 0.0
        for _ in range(3):
            started = time.monotonic()
            self.plan(images, proprio, (0,))
            seconds = time.monotonic() - started
        return seconds

    def idle(self) -> None:
        """Do nothing."""

    def status(self) -> dict[str, object]:
        """Return nothing."""
        return {}

    def news(self) -> list[str]:
        """Return nothing."""
        return []

    def close(self) -> None:
        """Do nothing."""

    def plan(self, images: Images, proprio: Array, seed: tuple[int, ...]) -> NDArray[np.float64]:
        """Return a chunk; see `Planner`."""
        one = {name: frames[None] for name, frames in images.items()}
        chunk: NDArray[np.float64] = self._sampled(one, proprio[None], _generator(seed))[0]
        return chunk

    def plan_many(
        self, images: Images, proprio: Array, seeds: Sequence[tuple[int, ...]]
    ) -> NDArray[np.float64]:
        """Return chunks; see `Planner`."""
        generators = [_generator(seed) for seed in seeds]
        with _NoiseByRow(generators):
            return self._sampled(images, proprio, generators[0])

    def _sampled(
        self, images: Images, proprio: Array, generator: torch.Generator
    ) -> NDArray[np.float64]:
        chunks = self._policy.sample(
            [torch.from_numpy(images[name]).to(self._device) for name in self.image_shapes],
            torch.from_numpy(proprio).to(self._device), generator,
        )
        actions: NDArray[np.float64] = chunks.double().cpu().numpy()
        return actions


class _NoiseByRow(TorchFunctionMode):
    """Makes `torch.randn` draw each row from its own generator.

    A plan then depends only on its own seed, not on the other plans of the batch.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self._generators = generators

    def __torch_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is not torch.randn:
            return function(*args, **(kwargs or {}))
        rows: list[Tensor] = [
            function((1, *args[0][1:]), generator=generator) for generator in self._generators
        ]
        return torch.cat(rows)


def _generator(seed: tuple[int, ...]) -> torch.Generator:
    """Return the generator for all randomness of a plan."""
    words = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0]) >> 1)


def load_planner(path: Path, device: str = "cpu") -> PolicyPlanner:
    """Return the planner for a checkpoint of any backbone.

    Raises:
        CheckpointError: missing, damaged, or not a policy.
        ConfigError: the device cannot be used.
    """
    if path.is_dir():
        raise CheckpointError(
            "a folder, not a checkpoint", where=str(path),
            remedy="give the path of the .safetensors file in it",
        )
    return PolicyPlanner(path, device)
