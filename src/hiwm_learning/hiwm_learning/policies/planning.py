"""A policy as a node runs it: arrays in, one chunk out, reproducibly.

The seam between the policy node and whatever plans: the node knows `Planner` alone.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.policies.backbones import policy_from_checkpoint

Images = NDArray[np.uint8]
Array = NDArray[np.float32]


class Planner(Protocol):
    """Plans a chunk from the last few observations."""

    label: str  # name and first 8 digits of the checkpoint's hash
    embodiment_hash: str
    camera: str
    image_shape: tuple[int, int, int]
    proprio_dim: int
    observation_steps: int
    horizon: int
    execute_horizon: int

    def plan(self, images: Images, proprio: Array, seed: tuple[int, ...]) -> NDArray[np.float64]:
        """Return actions [horizon, A] in the embodiment's units; they may be not finite.

        Args:
            images: [S, H, W, 3], newest last.
            proprio: [S, P], newest last.
            seed: numbers from which all randomness is drawn.
        """


class PolicyPlanner:
    """A policy of any backbone on one device."""

    def __init__(self, path: Path, device: str) -> None:
        checkpoint = load_checkpoint(path)
        try:
            self._device = torch.device(device)
            self._policy = policy_from_checkpoint(checkpoint).to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"cannot use device {device!r}: {error}", where="parameter device",
                remedy="use cpu, or cuda where torch finds one",
            ) from None
        config = self._policy.config
        self.label = checkpoint.label
        self.info = checkpoint.info
        self.embodiment_hash = checkpoint.info.embodiment_hash
        self.camera = config.camera
        self.image_shape = (config.height, config.width, 3)
        self.proprio_dim = config.proprio_dim
        self.observation_steps = config.observation_steps
        self.horizon = config.horizon
        self.execute_horizon = config.execute_horizon

    def plan(self, images: Images, proprio: Array, seed: tuple[int, ...]) -> NDArray[np.float64]:
        """Return a chunk; see `Planner`."""
        generator = torch.Generator()
        words = np.random.SeedSequence(seed).generate_state(1, np.uint64)
        generator.manual_seed(int(words[0]) >> 1)
        chunk = self._policy.sample(
            torch.from_numpy(images)[None].to(self._device),
            torch.from_numpy(proprio)[None].to(self._device), generator,
        )
        actions: NDArray[np.float64] = chunk[0].double().cpu().numpy()
        return actions


def load_planner(path: Path, device: str = "cpu") -> Planner:
    """Return the planner of a checkpoint, whatever its backbone.

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
