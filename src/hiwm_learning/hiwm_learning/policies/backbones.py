"""The table of policy backbones, used by trainer, planner and command line."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hiwm_core.errors import CheckpointError
from hiwm_learning.checkpoints import Checkpoint, load_weights
from hiwm_learning.policies.act_policy import ActPolicy, ActPolicyConfig
from hiwm_learning.policies.chunk_policy import ChunkPolicy, PolicyConfig
from hiwm_learning.policies.diffusion_policy import DiffusionPolicy, DiffusionPolicyConfig


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A kind of policy; its behaviour is that of its `ChunkPolicy`."""

    title: str  # shown on cards
    config: type[PolicyConfig]  # its `kind` is that of the checkpoints
    build: Callable[[Any], ChunkPolicy]  # from a config of that type


BACKBONES = {
    "diffusion": Backbone(
        title="diffusion policy", config=DiffusionPolicyConfig, build=DiffusionPolicy
    ),
    "act": Backbone(
        title="action chunking with transformers", config=ActPolicyConfig, build=ActPolicy
    ),
}
_BY_KIND = {backbone.config.kind: backbone for backbone in BACKBONES.values()}


def backbone_of(config: PolicyConfig) -> Backbone:
    """Return the backbone of a config."""
    return _BY_KIND[config.kind]


def config_from_checkpoint(checkpoint: Checkpoint) -> PolicyConfig:
    """Return a policy checkpoint's config; raises CheckpointError for any other checkpoint."""
    kind = checkpoint.info.kind
    if kind not in _BY_KIND:
        raise CheckpointError(
            f"this checkpoint is a {kind}, not a {' or '.join(_BY_KIND)}",
            where=str(checkpoint.path), remedy="give the path of a policy checkpoint",
        )
    return _BY_KIND[kind].config.from_dict(checkpoint.info.config, str(checkpoint.path))


def policy_from_checkpoint(checkpoint: Checkpoint) -> ChunkPolicy:
    """Return a policy with a checkpoint's weights, ready to sample.

    Raises:
        CheckpointError: not a policy, or its configuration or weights do not fit.
    """
    config = config_from_checkpoint(checkpoint)
    policy = backbone_of(config).build(config)
    load_weights(policy, checkpoint)
    policy.eval()
    policy.requires_grad_(False)
    return policy
