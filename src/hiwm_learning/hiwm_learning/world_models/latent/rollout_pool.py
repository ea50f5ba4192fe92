"""A pool of the model's own rollouts, kept alive between training steps.

Each step trains on the present, imperfect latents of every rollout, with the true next latents as
target, and then moves the rollout on, detached. That costs no more than training on single steps,
and shows the model what its own errors lead to. A rollout is renewed from data when it reaches an
age, when its recording ends, or when it has strayed too far.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hiwm_learning.world_models.latent.clips import Clips

RENEWED = 0.02  # share renewed at random in each step
WARPED = 0.25  # share of new rollouts that start from warped frames
# Shares of those that start from latents with a ghost of an earlier frame, and from faded ones:
# what an imagination does to a thin thing that it is unsure of. What was there can still be told.
GHOSTS, FADED = 0.125, 0.125
WORN = 0.5  # share of the ghost, or of what has faded, at most
GHOST_STEPS = 12  # between a frame and its ghost, at most
AGE_GROWS_UNTIL = 0.5  # progress at which the age limit is reached


@dataclass(frozen=True, kw_only=True)
class LatentRecordings:
    """The latents of all ticks of some clips."""

    clean: Tensor  # [N, C, Z, h, w] float16
    warped: Tensor  # the same, of warped frames; empty without
    hidden: Tensor  # [N, C, h, w] float16, share of each cell that the robot hides


class RolloutPool:
    """Rollouts at different ages, one after the other in a batch.

    Args:
        clips: recorded ticks.
        recordings: their latents.
        size: number of rollouts.
        context: latents in a window.
        oldest: age limit, steps.
        strayed: mean squared error of latents beyond which a rollout is renewed.
        seed: of the first rollouts.
    """

    def __init__(
        self, clips: Clips, recordings: LatentRecordings, *, size: int, context: int, oldest: int,
        strayed: float, seed: int,
    ) -> None:
        self._clips, self._recordings = clips, recordings
        self._context, self._oldest, self._strayed = context, oldest, strayed
        usable = clips.rows(1)
        self._usable = usable[~clips.actions[usable].isnan().any(1)]
        shape = recordings.clean.shape[1:]
        self.rows = torch.zeros(size, dtype=torch.long)
        self.windows = torch.zeros(size, context, *shape, dtype=torch.float16)
        self.reference = torch.zeros(size, *shape, dtype=torch.float16)
        self.doubt = torch.zeros(size)
        self.age = torch.zeros(size, dtype=torch.long)
        self._renew(torch.ones(size, dtype=torch.bool), torch.Generator().manual_seed(seed))

    def advance(
        self, latents: Tensor, error: Tensor, doubt: Tensor, progress: float,
        generator: torch.Generator,
    ) -> None:
        """Move all rollouts on, and renew those that have ended.

        Args:
            latents: [S, C, Z, h, w] predicted.
            error: [S] mean squared error of the latents.
            doubt: [S] predicted.
            progress: of the training, 0..1.
            generator: of this step.
        """
        moved = latents[:, None].to(self.windows.dtype)
        self.windows = torch.cat([self.windows[:, 1:], moved], dim=1)
        self.rows, self.age, self.doubt = self.rows + 1, self.age + 1, doubt.clone()
        within = min(1.0, progress / AGE_GROWS_UNTIL)
        limit = 1 + int((self._oldest - 1) * within)
        ended = self.rows >= self._clips.last[self.rows - 1]
        unknown = self._clips.actions[self.rows].isnan().any(1)
        chance = torch.rand(len(self.rows), generator=generator) < RENEWED
        strayed = (error > self._strayed) | ~error.isfinite()
        self._renew(ended | unknown | (self.age >= limit) | strayed | chance, generator)

    def state(self) -> dict[str, Tensor]:
        """Return all that `load_state` needs."""
        return {
            "rows": self.rows, "windows": self.windows, "reference": self.reference,
            "doubt": self.doubt, "age": self.age,
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore a state."""
        for name, value in state.items():
            setattr(self, name, value.clone())

    def _renew(self, chosen: Tensor, generator: torch.Generator) -> None:
        count = int(chosen.sum())
        if not count:
            return
        clips, found = self._clips, self._recordings
        rows = clips.draw(self._usable, count, generator)
        recent = clips.recent(rows, self._context)
        windows = found.clean[recent]
        kind, worn = (torch.rand(count, generator=generator) for _ in range(2))
        worn = (WORN * worn)[:, None, None, None, None, None]
        if len(found.warped):
            last = kind < WARPED / 2  # only the present is warped
            windows[last, -1] = found.warped[rows[last]]
            every = (kind >= WARPED / 2) & (kind < WARPED)
            windows[every] = found.warped[recent[every]]
        steps = torch.randint(1, GHOST_STEPS + 1, (count,), generator=generator)
        ghosts = found.clean[torch.maximum(rows - steps, clips.first[rows])][:, None]
        ghostly = (kind >= WARPED) & (kind < WARPED + GHOSTS)
        mixed = windows + worn * (ghosts - windows)
        windows[ghostly] = mixed[ghostly].half()
        faded = (kind >= WARPED + GHOSTS) & (kind < WARPED + GHOSTS + FADED)
        windows[faded] = (windows * (1.0 - worn))[faded].half()
        # A clean frame of the same run, from its start to the present.
        back = torch.rand(count, generator=generator) * (rows - clips.first[rows] + 1)
        self.rows[chosen], self.age[chosen] = rows, 0
        self.windows[chosen] = windows
        self.reference[chosen] = found.clean[rows - back.long()]
        self.doubt[chosen] = 0.0
