"""A small Diffusion Policy (Chi et al. 2023, arXiv 2303.04137) on images and proprioception."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from hiwm_learning.policies.chunk_policy import Batch, ChunkPolicy, PolicyConfig
from hiwm_learning.policies.networks import ChunkDenoiser, ImageEncoder
from hiwm_learning.policies.noise_schedule import NoiseSchedule

KIND = "diffusion_policy"
# Noise levels per encoded observation: encoding costs far more than a pass of the denoiser.
NOISE_REPEATS = 8


@dataclass(frozen=True, kw_only=True)
class DiffusionPolicyConfig(PolicyConfig):
    """Dimensions of the network, and noise levels."""

    kind: ClassVar[str] = KIND
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {},
        "full": {
            "encoder_width": 96, "keypoints": 64, "features": 768, "denoiser_width": 1024,
            "denoiser_blocks": 6, "sample_steps": 16,
        },
    }

    encoder_width: int = 32
    keypoints: int = 24
    features: int = 192
    denoiser_width: int = 256
    denoiser_blocks: int = 3
    noise_levels: int = 100
    sample_steps: int = 8

    @property
    def learning_rate(self) -> float:
        """The peak learning rate; 1e-3 for the tiny network."""
        return 1e-3 * min(1.0, 192 / self.features)


class DiffusionPolicy(ChunkPolicy):
    """Maps observations to chunks of actions by removing noise from a chunk."""

    config: DiffusionPolicyConfig

    def __init__(self, config: DiffusionPolicyConfig) -> None:
        super().__init__(config)
        shape = (
            config.observation_steps, config.encoder_width, config.keypoints, config.features
        )
        self.encoder = ImageEncoder(*shape)
        self.other_encoders = nn.ModuleList(ImageEncoder(*shape) for _ in config.others)
        self.join = nn.Sequential(
            nn.Linear(len(config.cameras) * config.features
                      + config.observation_steps * config.proprio_dim, config.features),
            nn.SiLU(),
            nn.Linear(config.features, config.features),
        )
        self.denoiser = ChunkDenoiser(
            config.horizon * config.action_dim, config.features, config.denoiser_width,
            config.denoiser_blocks,
        )
        self.schedule = NoiseSchedule(config.noise_levels)

    def observe(
        self, images: Sequence[Tensor], proprio: Tensor, light: Tensor | None = None
    ) -> Tensor:
        """Return [N, features] for images [N, S, H, W, 3] uint8 of each camera, and proprioception.

        Proprioception is [N, S, P]; `light` [N, 2] varies gain and offset in training.
        """
        encoders = (self.encoder, *self.other_encoders)
        seen = [see(image, light) for see, image in zip(encoders, images, strict=True)]
        return cast(Tensor, self.join(torch.cat((*seen, self.normal_state(proprio)), dim=-1)))

    def loss(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return the mean squared error of the predicted velocity; see `ChunkPolicy`."""
        config = self.config
        rows = len(batch.proprio) * NOISE_REPEATS
        device = batch.actions.device
        noise = torch.from_numpy(rng.standard_normal(
            (rows, config.horizon * config.action_dim), dtype=np.float32
        )).to(device)
        level = torch.from_numpy(rng.integers(0, config.noise_levels, rows)).to(device)
        clean = self.normal_chunk(batch).flatten(1).repeat_interleave(NOISE_REPEATS, 0)
        condition = self.observe(batch.images, batch.proprio, batch.light)
        predicted = self.denoiser(
            self.schedule.add_noise(clean, noise, level), level / self.schedule.levels,
            condition.repeat_interleave(NOISE_REPEATS, 0),
        )
        error = (predicted - self.schedule.velocity(clean, noise, level)) ** 2
        error = error.reshape(-1, config.horizon, config.action_dim).mean(-1)
        shares = batch.weights.repeat_interleave(NOISE_REPEATS, 0)
        return {"loss": (error * shares).sum() / shares.sum().clamp_min(1e-6)}

    @torch.no_grad()
    def sample(
        self, images: Sequence[Tensor], proprio: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return chunks; see `ChunkPolicy`."""
        config = self.config
        condition = self.observe(images, proprio)
        noise = torch.randn(
            (proprio.shape[0], config.horizon * config.action_dim), generator=generator
        ).to(condition.device)
        chunk = self.schedule.sample(
            lambda noisy, level: self.denoiser(noisy, level / self.schedule.levels, condition),
            noise, config.sample_steps, self.offset_lower.flatten(), self.offset_upper.flatten(),
        ).reshape(-1, config.horizon, config.action_dim)
        return self.actions_of(chunk, proprio)
