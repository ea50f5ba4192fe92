"""Recent steps of a pool's rollouts: doubt is learned over many of them at once.

How far a scene is off follows from earlier steps. From single steps it is learned badly which of
them count.
"""

import torch
from torch import Tensor

from hiwm_learning.world_models.latent.doubt import Doubt, doubt_error

KEPT, WINDOW = 200, 48  # steps


class DoubtMemory:
    """The last steps of all rollouts of a pool.

    Args:
        rollouts: of the pool, B.
        summary: length of a step's summary, S.
    """

    def __init__(self, rollouts: int, summary: int) -> None:
        # [steps, B, ...], the newest step last
        self._kept = {
            "summary": torch.zeros(0, rollouts, summary, dtype=torch.half),
            "apart": torch.zeros(0, rollouts), "before": torch.zeros(0, rollouts),
            "begins": torch.zeros(0, rollouts, dtype=torch.bool),
        }

    def add(self, *, summary: Tensor, apart: Tensor, begins: Tensor, before: Tensor) -> None:
        """Add a step of all rollouts.

        Args:
            summary: [B, S] of the step.
            apart: [B] true distance after it.
            begins: [B] whether the rollout begins with it.
            before: [B] doubt before it.
        """
        step = {"summary": summary.half(), "apart": apart, "begins": begins, "before": before}
        for name, value in step.items():
            new = value.detach().cpu()[None]
            self._kept[name] = torch.cat([self._kept[name][-KEPT + 1 :], new])

    def error(self, doubts: Doubt, generator: torch.Generator, device: torch.device) -> Tensor:
        """Return the mean error of doubts over consecutive steps, drawn from those kept."""
        count = len(self._kept["apart"])
        first = int(torch.randint(max(1, count - WINDOW + 1), (1,), generator=generator))
        summary, apart, begins, before = (
            self._kept[name][first : first + WINDOW].to(device)
            for name in ("summary", "apart", "begins", "before")
        )
        doubt, errors = before[0], []
        for step in range(len(summary)):
            doubt = doubts(summary[step], doubt.masked_fill(begins[step], 0.0))
            errors.append(doubt_error(doubt, apart[step]).mean())
        return torch.stack(errors).mean()

    def state(self) -> dict[str, Tensor]:
        """Return all that `load_state` needs."""
        return {f"kept_{name}": value for name, value in self._kept.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore a state."""
        self._kept = {name.removeprefix("kept_"): value.clone() for name, value in state.items()}
