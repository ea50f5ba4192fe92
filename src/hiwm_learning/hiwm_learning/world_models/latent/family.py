"""The latent family, as the registry of families wants it."""

from hiwm_core.embodiment import Embodiment
from hiwm_core.workspace_check import WorkspaceCheck
from hiwm_learning.checkpoints import Checkpoint
from hiwm_learning.world_models.latent.model import restored_model
from hiwm_learning.world_models.latent.simulator import LatentSimulator
from hiwm_learning.world_models.latent.train import add_options, train

__all__ = ["add_options", "simulator", "train"]


def simulator(
    checkpoint: Checkpoint, embodiment: Embodiment, device: str, workspace: WorkspaceCheck | None
) -> LatentSimulator:
    """Return a simulator on the device; a checkpoint without a list of trained heads has none."""
    model = restored_model(checkpoint, device)
    return LatentSimulator(model, embodiment, checkpoint.info.heads or (), device, workspace)
