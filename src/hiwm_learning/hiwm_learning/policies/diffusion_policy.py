"""A small Diffusion Policy (Chi et al. 2023, arXiv 2303.04137) on images and proprioception.

Actions are learnt as offsets from where the arms are measured to be when the chunk is planned,
each entry of the chunk at its own scale. With few demonstrations that is the better half of the
choice: the first action of every chunk starts where the arm is, whatever the image encoder thinks
of its absolute place, and an error of the network is one of some share of a step, not of the
table's width.
"""

from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError
from hiwm_learning.checkpoints import Checkpoint, load_weights
from hiwm_learning.policies.networks import ChunkDenoiser, ImageEncoder
from hiwm_learning.policies.noise_schedule import NoiseSchedule

KIND = "diffusion_policy"
# Entry of `anchors` for an action without a measured position, which is learnt as it is.
ABSOLUTE = -1


@dataclass(frozen=True, kw_only=True)
class DiffusionPolicyConfig:
    """Everything that shapes the network; travels in the checkpoint."""

    camera: str  # the one camera it looks through
    height: int  # [px]
    width: int  # [px]
    action_dim: int
    proprio_dim: int
    anchors: tuple[int, ...]  # per action: index of its measured position in the proprioception
    observation_steps: int = 2  # frames and proprioceptions it sees, newest last
    horizon: int = 16  # actions in a chunk
    execute_horizon: int = 8  # of them meant to run before the next chunk
    encoder_width: int = 32
    keypoints: int = 24
    features: int = 192
    denoiser_width: int = 256
    denoiser_blocks: int = 3
    noise_levels: int = 100
    sample_steps: int = 8

    @classmethod
    def for_embodiment(cls, embodiment: Embodiment, **changes: Any) -> "DiffusionPolicyConfig":
        """Return the default network for an embodiment, looking through its first camera."""
        camera = embodiment.cameras[0]
        return cls(
            camera=camera.name, height=camera.height, width=camera.width,
            action_dim=embodiment.action_dim, proprio_dim=embodiment.proprio_dim,
            anchors=action_anchors(embodiment), **changes,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str) -> "DiffusionPolicyConfig":
        """Return the config of a checkpoint; raises CheckpointError where it does not fit."""
        try:
            return cls(**{**data, "anchors": tuple(data["anchors"])})
        except (TypeError, KeyError) as error:
            raise CheckpointError(
                f"not the configuration of a {KIND}: {error}", where=where,
                remedy="use the version that trained it, or train again",
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values that `from_dict` reads."""
        return {**asdict(self), "anchors": list(self.anchors)}


def action_anchors(embodiment: Embodiment) -> tuple[int, ...]:
    """Return per action the index of its joint's measured position, or `ABSOLUTE`."""
    measured = {
        entry.joint: index for index, entry in enumerate(embodiment.proprioception)
        if entry.field == "position"
    }
    return tuple(measured.get(entry.joint, ABSOLUTE) for entry in embodiment.actions)


class DiffusionPolicy(nn.Module):
    """Observations to chunks of actions."""

    proprio_centre: Tensor  # [P]
    proprio_scale: Tensor  # [P]
    offset_centre: Tensor  # [K, A]
    offset_scale: Tensor  # [K, A]
    offset_lower: Tensor  # [K, A], normalised
    offset_upper: Tensor  # [K, A], normalised

    def __init__(self, config: DiffusionPolicyConfig) -> None:
        super().__init__()
        self.config = config
        size = config.horizon * config.action_dim
        self.encoder = ImageEncoder(
            config.observation_steps, config.encoder_width, config.keypoints, config.features
        )
        self.join = nn.Sequential(
            nn.Linear(config.features + config.observation_steps * config.proprio_dim,
                      config.features),
            nn.SiLU(),
            nn.Linear(config.features, config.features),
        )
        self.denoiser = ChunkDenoiser(
            size, config.features, config.denoiser_width, config.denoiser_blocks
        )
        self.schedule = NoiseSchedule(config.noise_levels)
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

    def fit_scales(self, proprio: NDArray[np.float32], offsets: NDArray[np.float32]) -> None:
        """Set the normalisation from training data: proprio [N, P], chunk offsets [N, K, A]."""
        low, high = proprio.min(0), proprio.max(0)
        self.proprio_centre.copy_(torch.from_numpy((low + high) / 2))
        self.proprio_scale.copy_(torch.from_numpy(np.maximum((high - low) / 2, 1e-6)))
        centre = offsets.mean(0)
        scale = np.maximum(offsets.std(0), 1e-6)
        self.offset_centre.copy_(torch.from_numpy(centre))
        self.offset_scale.copy_(torch.from_numpy(scale))
        self.offset_lower.copy_(torch.from_numpy((offsets.min(0) - centre) / scale))
        self.offset_upper.copy_(torch.from_numpy((offsets.max(0) - centre) / scale))

    def anchor(self, proprio: Tensor) -> Tensor:
        """Return [N, A], what offsets count from, for the newest proprioception [N, P]."""
        known = torch.tensor(
            [index != ABSOLUTE for index in self.config.anchors], device=proprio.device
        )
        index = torch.tensor([max(0, i) for i in self.config.anchors], device=proprio.device)
        return torch.where(known, proprio[:, index], torch.zeros((), device=proprio.device))

    def observe(self, images: Tensor, proprio: Tensor, light: Tensor | None = None) -> Tensor:
        """Return [N, features] of images [N, S, H, W, 3] uint8 and proprioception [N, S, P].

        `light` [N, 2] varies gain and offset in training.
        """
        normal = (proprio - self.proprio_centre) / self.proprio_scale
        # Older steps as differences, magnified: a step is a small share of the range.
        motion = (normal[:, :-1] - normal[:, -1:]) * 10.0
        state = torch.cat((normal[:, -1], motion.flatten(1)), dim=-1)
        return cast(Tensor, self.join(torch.cat((self.encoder(images, light), state), dim=-1)))

    def loss(
        self, images: Tensor, proprio: Tensor, actions: Tensor, weights: Tensor, noise: Tensor,
        level: Tensor, light: Tensor | None = None,
    ) -> Tensor:
        """Return the mean squared error of the predicted velocity.

        Args:
            images: [N, S, H, W, 3] uint8, newest last.
            proprio: [N, S, P] in the embodiment's units.
            actions: [N, K, A] in the embodiment's units, the first answering the newest image.
            weights: [N, K], how much each action counts.
            noise: [N * R, K * A] standard normal; each observation is used R times, since its
                encoding costs far more than a pass of the denoiser.
            level: [N * R] noise levels.
            light: [N, 2], gain and offset of the images.
        """
        offsets = actions - self.anchor(proprio[:, -1])[:, None]
        repeats = noise.shape[0] // images.shape[0]
        clean = ((offsets - self.offset_centre) / self.offset_scale).flatten(1)
        clean = clean.repeat_interleave(repeats, 0)
        condition = self.observe(images, proprio, light).repeat_interleave(repeats, 0)
        predicted = self.denoiser(
            self.schedule.add_noise(clean, noise, level), level / self.schedule.levels, condition
        )
        error = (predicted - self.schedule.velocity(clean, noise, level)) ** 2
        error = error.reshape(-1, self.config.horizon, self.config.action_dim).mean(-1)
        shares = weights.repeat_interleave(repeats, 0)
        return cast(Tensor, (error * shares).sum() / shares.sum().clamp_min(1e-6))

    @torch.no_grad()
    def sample(self, images: Tensor, proprio: Tensor, generator: torch.Generator) -> Tensor:
        """Return chunks [N, K, A] in the embodiment's units.

        Args:
            images: [N, S, H, W, 3] uint8, newest last.
            proprio: [N, S, P] in the embodiment's units.
            generator: of the CPU, where the sampling noise is drawn on every device.
        """
        config = self.config
        condition = self.observe(images, proprio)
        noise = torch.randn(
            (images.shape[0], config.horizon * config.action_dim), generator=generator
        ).to(condition.device)
        chunk = self.schedule.sample(
            lambda noisy, level: self.denoiser(noisy, level / self.schedule.levels, condition),
            noise, config.sample_steps, self.offset_lower.flatten(), self.offset_upper.flatten(),
        ).reshape(-1, config.horizon, config.action_dim)
        offsets = chunk * self.offset_scale + self.offset_centre
        return offsets + self.anchor(proprio[:, -1])[:, None]


def policy_from_checkpoint(checkpoint: Checkpoint) -> DiffusionPolicy:
    """Return a policy with a checkpoint's weights, ready to sample.

    Raises:
        CheckpointError: the configuration or the weights do not fit.
    """
    config = DiffusionPolicyConfig.from_dict(checkpoint.info.config, str(checkpoint.path))
    policy = DiffusionPolicy(config)
    load_weights(policy, checkpoint)
    policy.eval()
    policy.requires_grad_(False)
    return policy
