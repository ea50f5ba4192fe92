"""A pool of the model's own rollouts, kept alive between training steps.

Each step trains on the present, imperfect scene of every rollout, with the true next scene as
target, and then moves the rollout on, detached. That costs no more than training on single steps,
and shows the model what its own errors lead to. A rollout is renewed from data when it reaches an
age, when its recording ends, or when it has strayed too far.
"""

import torch
from torch import Tensor
from torch.nn import functional

from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.model import quantised
from hiwm_learning.world_models.latent.recorded_scenes import RecordedScenes

RENEWED = 0.02  # share renewed at random in each step
MOVING = 0.7  # share of new rollouts that start where something moves
# Share that starts up to so many ticks before a gripper closes: what it takes is decided there, on
# what was seen before the hand hid it.
CLOSINGS, BEFORE_CLOSING = 0.3, 30
# Share of these in which the hand is told that it holds nothing, whatever it took when recorded.
# What is told and what it looks like hardly ever differ in recordings, so the dynamics would ignore
# what it is told and go by the looks.
EMPTY_HANDED = 0.33
# Shares of those that start from scenes with a ghost of an earlier frame, and from faded ones:
# what an imagination does to a thin thing that it is unsure of. What was there can still be told.
GHOSTS, FADED = 0.1, 0.1
WORN = 0.4  # share of the ghost, or of what has faded, at most
GHOST_STEPS = 12  # between a frame and its ghost, at most
# Progress at which rollouts begin to get older than a step, and at which they reach the age limit.
AGE_GROWS_FROM, AGE_GROWS_UNTIL = 0.15, 0.6


class RolloutPool:
    """Rollouts at different ages, one after the other in a batch.

    Args:
        clips: recorded ticks.
        recordings: their scenes.
        size: number of rollouts.
        oldest: age limit, steps.
        strayed: error of a scene beyond which a rollout is renewed.
        hands: number of hands.
        grown: whether rollouts may have any age from the first step on.
        closings: ticks [M] at which a gripper begins to close.
        closed: [N] whether a gripper is shut; None: never.
        seed: of the first rollouts.
    """

    def __init__(
        self, clips: Clips, recordings: RecordedScenes, *, size: int, oldest: int, strayed: float,
        hands: int, seed: int, grown: bool = False, closings: Tensor | None = None,
        closed: Tensor | None = None,
    ) -> None:
        self._clips, self._recordings = clips, recordings
        self._oldest, self._strayed, self._grown = oldest, strayed, grown
        usable = clips.rows(1)
        self._usable = usable[~clips.actions[usable].isnan().any(1)]
        self._moving = self._usable[recordings.moving[self._usable]]
        self._closings = usable[:0] if closings is None else closings
        self._closings = self._closings[torch.isin(self._closings, self._usable)]
        self._closed = torch.zeros(len(clips), dtype=torch.bool) if closed is None else closed
        self.empty_handed = torch.zeros(size, dtype=torch.bool)
        self.rows = torch.zeros(size, dtype=torch.long)
        self.pictures = torch.zeros(size, *recordings.pictures.shape[1:], dtype=torch.uint8)
        self.light = torch.zeros(size, *recordings.light.shape[1:])
        self.doubt = torch.zeros(size)
        self.evidence = torch.zeros(size, hands)  # of what hands hold
        self.age = torch.zeros(size, dtype=torch.long)
        self._renew(torch.ones(size, dtype=torch.bool), torch.Generator().manual_seed(seed))

    def advance(
        self, scenes: Tensor, error: Tensor, doubt: Tensor, evidence: Tensor, progress: float,
        generator: torch.Generator,
    ) -> None:
        """Move all rollouts on, and renew those that have ended.

        Args:
            scenes: [S, C, 3, H, W] predicted, in 0..1.
            error: [S] of the scenes.
            doubt: [S] predicted.
            evidence: [S, hands] of what hands hold.
            progress: of the training, 0..1.
            generator: of this step.
        """
        self.pictures = quantised(scenes)
        self.rows, self.age = self.rows + 1, self.age + 1
        self.doubt, self.evidence = doubt.clone(), evidence.clone()
        within = (progress - AGE_GROWS_FROM) / (AGE_GROWS_UNTIL - AGE_GROWS_FROM)
        limit = 1 + int((self._oldest - 1) * (1.0 if self._grown else min(1.0, max(0.0, within))))
        ended = self.rows >= self._clips.last[self.rows - 1]
        unknown = self._clips.actions[self.rows].isnan().any(1)
        # From here on the recording does not fit: it lets go of what it was told it does not hold.
        opened = self.empty_handed & self._closed[self.rows - 1] & ~self._closed[self.rows]
        chance = torch.rand(len(self.rows), generator=generator) < RENEWED
        strayed = (error > self._strayed) | ~error.isfinite()
        self._renew(ended | opened | unknown | (self.age >= limit) | strayed | chance, generator)

    def state(self) -> dict[str, Tensor]:
        """Return all that `load_state` needs."""
        return {
            "rows": self.rows, "pictures": self.pictures, "light": self.light,
            "doubt": self.doubt, "evidence": self.evidence, "age": self.age,
            "empty_handed": self.empty_handed,
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
        if len(self._moving):
            moves = torch.rand(count, generator=generator) < MOVING
            rows = torch.where(moves, clips.draw(self._moving, count, generator), rows)
        if len(self._closings):
            grasps = torch.rand(count, generator=generator) < CLOSINGS
            closing = clips.draw(self._closings, count, generator)
            before = torch.randint(BEFORE_CLOSING + 1, (count,), generator=generator)
            before = torch.maximum(closing - before, clips.first[closing])
            rows = torch.where(grasps, before, rows)
            empty = torch.rand(count, generator=generator) < EMPTY_HANDED
            self.empty_handed[chosen] = grasps & empty & ~self._closed[before]
        scenes = found.pictures[rows].float()
        kind, worn = (torch.rand(count, generator=generator) for _ in range(2))
        worn = (WORN * worn)[:, None, None, None, None]
        steps = torch.randint(1, GHOST_STEPS + 1, (count,), generator=generator)
        ghosts = found.pictures[torch.maximum(rows - steps, clips.first[rows])].float()
        ghostly = kind < GHOSTS
        scenes[ghostly] = torch.lerp(scenes, ghosts, worn.expand_as(scenes))[ghostly]
        faded = (kind >= GHOSTS) & (kind < GHOSTS + FADED)
        scenes[faded] = torch.lerp(scenes, _blurred(scenes), 2.0 * worn.expand_as(scenes))[faded]
        self.rows[chosen], self.age[chosen] = rows, 0
        self.pictures[chosen] = quantised(scenes / 255.0)
        self.light[chosen] = found.light[rows]
        self.doubt[chosen], self.evidence[chosen] = 0.0, 0.0


def _blurred(scenes: Tensor) -> Tensor:
    """Return scenes [B, C, 3, H, W] with each pixel the mean of its surroundings."""
    edged = functional.pad(scenes.flatten(0, 1), (1, 1, 1, 1), mode="replicate")
    found: Tensor = functional.avg_pool2d(edged, 3, 1).unflatten(0, scenes.shape[:2])
    return found
