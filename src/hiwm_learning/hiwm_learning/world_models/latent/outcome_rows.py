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
MEASURED = 1000  # ticks


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
        """Return the loss of some recorded rows; 0 without labels."""
        if not len(self._rows):
            return torch.zeros((), device=device)
        half = ROWS // 2
        rows = self._rows[torch.randint(len(self._rows), (half,), generator=generator)]
        near = self._near if len(self._near) else self._rows
        rows = torch.cat([rows, near[torch.randint(len(near), (half,), generator=generator)]])
        scene, _ = recordings.at(rows, device)
        scene = scene + NOISE * torch.randn(scene.shape, generator=generator).to(device)
        return self._loss(model, scene, recordings.light[rows].to(device), clips, rows)

    def loss_of(
        self, model: LatentWorldModel, scene: Tensor, light: Tensor, clips: Clips, rows: Tensor
    ) -> Tensor:
        """Return the loss of scenes [B, C, 3, H, W] that show ticks [B]; 0 without labels."""
        if not len(self._rows) or not len(rows):
            return scene.new_zeros(())
        return self._loss(model, scene, light, clips, rows)

    @torch.no_grad()
    def scores(
        self, model: LatentWorldModel, recordings: RecordedScenes, clips: Clips,
        device: torch.device,
    ) -> dict[str, float]:
        """Return how far progress is off, and how often success is said rightly where it is."""
        if not len(self._rows):
            return {}
        rows = self._rows[torch.linspace(0, len(self._rows) - 1, MEASURED).long().unique()]
        found = []
        for part in rows.split(64):
            scene, _ = recordings.at(part, device)
            found.append(
                self._judged(model, scene, recordings.light[part].to(device), clips, part)
            )
        progress, logit, wanted, solved = (torch.cat(each) for each in zip(*found, strict=True))
        off, said = (progress - wanted).abs(), (logit > 0.0).float()
        named = {
            "progress_off": off[~off.isnan()], "success_seen": said[solved == 1.0],
            "success_false": said[solved == 0.0],
        }
        return {name: float(each.mean()) for name, each in named.items() if len(each)}

    def _loss(
        self, model: LatentWorldModel, scene: Tensor, light: Tensor, clips: Clips, rows: Tensor
    ) -> Tensor:
        progress, logit, wanted, solved = self._judged(model, scene, light, clips, rows)
        right = functional.binary_cross_entropy_with_logits(
            logit, torch.nan_to_num(solved), reduction="none"
        )
        return mean_known((progress - wanted).abs(), wanted) + mean_known(right, solved)

    def _judged(
        self, model: LatentWorldModel, scene: Tensor, light: Tensor, clips: Clips, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return progress, logit of success, and both labels of ticks that scenes show, [B]."""
        posture = model.posture(clips.proprioception[rows].to(scene.device))
        progress, logit = model.outcome(model.difference(scene, light), posture)
        wanted, solved = (
            labels[rows].to(scene.device)
            for labels in (clips.progress_labels, clips.success_labels)
        )
        return progress.float(), logit.float(), wanted, solved
