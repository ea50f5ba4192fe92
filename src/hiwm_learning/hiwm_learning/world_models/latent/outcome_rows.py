"""What the heads learn from: ticks with labels of progress or success."""

import torch
from torch import Tensor
from torch.nn import functional

from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.recorded_scenes import RecordedScenes
from hiwm_learning.world_models.outcome_losses import mean_known

ROWS = 32
# Of half of the rows, progress lies above this quantile: the goal is rare.
NEAR_GOAL = 0.75
NOISE = 0.02  # of brightness, in the pictures


class OutcomeRows:
    """Rows with labels, and the loss of the heads on them."""

    def __init__(self, clips: Clips) -> None:
        progress, success = clips.progress_labels, clips.success_labels
        known = ~(progress.isnan() & success.isnan())
        self._rows = torch.nonzero(known)[:, 0]
        near = torch.nan_to_num(success) > 0.5
        labelled = progress[~progress.isnan()]
        if len(labelled):
            near = near | (torch.nan_to_num(progress) > float(labelled.quantile(NEAR_GOAL)))
        self._near = torch.nonzero(near & known)[:, 0]

    def loss(
        self, model: LatentWorldModel, recordings: RecordedScenes, clips: Clips,
        generator: torch.Generator, device: torch.device,
    ) -> Tensor:
        """Return the loss of some rows; 0 without labels."""
        if not len(self._rows):
            return torch.zeros((), device=device)
        half = ROWS // 2
        rows = self._rows[torch.randint(len(self._rows), (half,), generator=generator)]
        near = self._near if len(self._near) else self._rows
        rows = torch.cat([rows, near[torch.randint(len(near), (half,), generator=generator)]])
        scene, _ = recordings.at(rows, device)
        scene = scene + NOISE * torch.randn(scene.shape, generator=generator).to(device)
        posture = model.posture(clips.proprioception[rows].to(device))
        difference = model.difference(scene, recordings.light[rows].to(device))
        progress, logit = model.outcome(difference, posture)
        wanted, solved = (
            labels[rows].to(device) for labels in (clips.progress_labels, clips.success_labels)
        )
        right = functional.binary_cross_entropy_with_logits(
            logit.float(), torch.nan_to_num(solved), reduction="none"
        )
        return mean_known((progress.float() - wanted).abs(), wanted) + mean_known(right, solved)
