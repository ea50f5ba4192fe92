"""The layered family, as the registry of families wants it."""

from hiwm_core.embodiment import Embodiment
from hiwm_core.workspace_check import WorkspaceCheck
from hiwm_learning.checkpoints import Checkpoint
from hiwm_learning.world_models.layered.model import restored_model, trained_heads
from hiwm_learning.world_models.layered.simulator import Simulator
from hiwm_learning.world_models.layered.train import add_options, train

__all__ = ["add_options", "simulator", "train"]


def simulator(
    checkpoint: Checkpoint, embodiment: Embodiment, device: str, workspace: WorkspaceCheck | None
) -> Simulator:
    """Return a simulator; the layered model runs on the CPU whatever the device."""
    model = restored_model(checkpoint)
    return Simulator(model, embodiment, trained_heads(model, checkpoint.info), workspace)
