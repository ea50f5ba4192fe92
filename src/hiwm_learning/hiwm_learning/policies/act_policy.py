"""A small ACT, action chunking with transformers (Zhao et al. 2023, arXiv 2304.13705).

A conditional variational autoencoder. In training, a style encoder maps the chunk to a small
latent that describes *how* it was done. Inference uses the prior's mean, zero, so that a plan is a
function of the observation. Chunks run one after the other: the paper's averaging of overlapping
chunks needs one inference per tick.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from hiwm_learning.policies.chunk_policy import Batch, ChunkPolicy, PolicyConfig
from hiwm_learning.policies.networks import ImageTokens, transformer_decoder, transformer_encoder

KIND = "act_policy"


@dataclass(frozen=True, kw_only=True)
class ActPolicyConfig(PolicyConfig):
    """Dimensions of the network, and weights of its loss."""

    kind: ClassVar[str] = KIND
    # full: the paper's transformers, with 1 decoder layer instead of 7, since the published code
    # returns only the first layer's output (tonyzhaozh/act, issue 25).
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {},
        "full": {
            "encoder_width": 96, "features": 512, "heads": 8, "feedforward": 3200,
            "encoder_layers": 4, "style_layers": 4,
        },
    }

    encoder_width: int = 32  # channels of the image network at a quarter of the resolution
    features: int = 128  # length of a token
    heads: int = 4
    feedforward: int = 256
    encoder_layers: int = 2
    decoder_layers: int = 1
    style_layers: int = 1
    latent: int = 32  # length of the style latent; as in the paper
    dropout: float = 0.1  # as in the paper
    # Weight of the KL term, the paper's beta. With demonstrations of one style the latent collapses
    # at this weight, and the policy is a regression of the chunk.
    style_cost: float = 10.0

    @property
    def learning_rate(self) -> float:
        """The peak learning rate; 1e-3 for the tiny network."""
        return 1e-3 * min(1.0, 128 / self.features)


class ActPolicy(ChunkPolicy):
    """Maps observations to chunks of actions; each action attends to the observation."""

    config: ActPolicyConfig

    def __init__(self, config: ActPolicyConfig) -> None:
        super().__init__(config)
        features = config.features
        shape = (features, config.heads, config.feedforward, config.dropout)
        state = config.observation_steps * config.proprio_dim
        self.see = ImageTokens(
            config.observation_steps, config.encoder_width, features, config.height, config.width
        )
        self.feel = nn.Linear(state, features)
        self.styled = nn.Linear(config.latent, features)
        # Embeddings that mark the style token and the proprioception token.
        self.roles = nn.Parameter(torch.randn(2, features) * 0.02)
        self.encoder = transformer_encoder(*shape, layers=config.encoder_layers)
        self.queries = nn.Parameter(torch.randn(config.horizon, features) * 0.02)
        self.decoder = transformer_decoder(*shape, layers=config.decoder_layers)
        self.leave = nn.Linear(features, config.action_dim)
        # Each further camera marks its tokens: their position encodings are those of the first.
        self.see_others = nn.ModuleList(
            ImageTokens(
                config.observation_steps, config.encoder_width, features, one.height, one.width,
                marked=True,
            )
            for one in config.others
        )
        # Input of the style encoder: a summary token, the proprioception, the chunk.
        self.style_state = nn.Linear(state, features)
        self.style_action = nn.Linear(config.action_dim, features)
        self.style_roles = nn.Parameter(torch.randn(2 + config.horizon, features) * 0.02)
        self.style_encoder = transformer_encoder(*shape, layers=config.style_layers)
        self.style_leave = nn.Linear(features, 2 * config.latent)
        # Starts at the prior; otherwise the first hundred steps are spent on reaching it.
        nn.init.zeros_(self.style_leave.weight)
        nn.init.zeros_(self.style_leave.bias)

    def style(self, chunk: Tensor, state: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance [N, latent] of the style of chunks.

        Args:
            chunk: [N, K, A], normalised.
            state: [N, S * P], normalised.
            counts: [N, K] bool; other actions are masked.
        """
        count = len(chunk)
        tokens = torch.cat((
            chunk.new_zeros((count, 1, self.config.features)),
            self.style_state(state)[:, None], self.style_action(chunk),
        ), dim=1) + self.style_roles
        hidden = torch.cat((counts.new_zeros((count, 2)), ~counts), dim=1)
        summary = self.style_encoder(tokens, src_key_padding_mask=hidden)[:, 0]
        mean, log_variance = self.style_leave(summary).chunk(2, dim=-1)
        return mean, log_variance

    def forward(
        self, images: Sequence[Tensor], state: Tensor, latent: Tensor,
        light: Tensor | None = None,
    ) -> Tensor:
        """Return normalised chunks [N, K, A].

        Args:
            images: of each camera, [N, S, H, W, 3] uint8, newest last.
            state: [N, S * P], normalised.
            latent: [N, latent], the style; zeros at inference.
            light: [N, 2], gain and offset of the images in training.
        """
        tokens = torch.stack((self.styled(latent), self.feel(state)), dim=1) + self.roles
        cameras = (self.see, *self.see_others)
        views = [see(image, light) for see, image in zip(cameras, images, strict=True)]
        seen = self.encoder(torch.cat((tokens, *views), dim=1))
        queries = self.queries.expand(len(state), -1, -1)
        return cast(Tensor, self.leave(self.decoder(queries, seen)))

    def loss(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return the mean absolute error of the chunk plus the weighted KL term.

        See `ChunkPolicy`. "kl" is the divergence of the style from a standard normal, in nats.
        """
        chunk, state = self.normal_chunk(batch), self.normal_state(batch.proprio)
        mean, log_variance = self.style(chunk, state, batch.weights > 0)
        noise = torch.from_numpy(rng.standard_normal(mean.shape, dtype=np.float32)).to(mean.device)
        latent = mean + (0.5 * log_variance).exp() * noise
        error = (self(batch.images, state, latent, batch.light) - chunk).abs().mean(-1)
        error = (error * batch.weights).sum() / batch.weights.sum().clamp_min(1e-6)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum(-1)
        shares = batch.weights[:, 0]
        divergence = (divergence * shares).sum() / shares.sum().clamp_min(1e-6)
        return {
            "loss": error + self.config.style_cost * divergence, "l1": error, "kl": divergence,
        }

    @torch.no_grad()
    def sample(
        self, images: Sequence[Tensor], proprio: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the chunks of the zero latent; `generator` is not used. See `ChunkPolicy`."""
        latent = proprio.new_zeros((len(proprio), self.config.latent))
        chunk = self(images, self.normal_state(proprio), latent)
        chunk = torch.minimum(torch.maximum(chunk, self.offset_lower), self.offset_upper)
        return self.actions_of(chunk, proprio)
