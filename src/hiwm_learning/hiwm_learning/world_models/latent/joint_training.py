"""First stage: the response of the joints learns on its own rollouts.

A response that is taught single steps from recorded joints drifts, and nothing holds it: the sixth
joint of an arm may turn while its tip stays where it is told to be. So rollouts of the joints are
kept alive, with the measured position computed from the imagined joints as an imagined world does
it, and each step is taught to come back to the recording.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.stage import Pools, Stage

STEPS = 3000
ROLLOUTS = 256
RENEWED = 0.02  # share renewed at random in each step
OLDEST = 100  # steps
STRAYED = 50.0  # usual changes of a step, mean over proprioception
RATE = 2e-3
AHEAD = (10, 50)
MEASURED = 64
_POOL_SEED = 9_176_263  # keeps the rollouts of a step's parts apart


def fit_joints(model: LatentWorldModel, clips: Clips) -> None:
    """Set the scales of the joints, and fit the linear part of their response."""
    rows = clips.rows(1)
    rows = rows[~clips.actions[rows].isnan().any(1)]
    joints = clips.proprioception
    gap, last_gap = clips.gaps(rows)
    before = torch.maximum(rows - 1, clips.first[rows])
    model.response.fit(joints[rows], joints[before], gap, last_gap, joints[rows + 1])


class JointRollouts:
    """Rollouts of the joints under recorded commands.

    Args:
        model: its response is rolled out.
        clips: recorded ticks.
        measure: computes the measured action from proprioception.
        rows: [S] ticks at which they start.
    """

    def __init__(
        self, model: LatentWorldModel, clips: Clips, measure: MeasuredFromProprioception,
        rows: Tensor,
    ) -> None:
        self._model, self._clips, self._measure = model, clips, measure
        self.rows = rows
        self.age = torch.zeros_like(rows)
        self.joints = clips.proprioception[rows]
        self.before = clips.proprioception[torch.maximum(rows - 1, clips.first[rows])]

    def renew(self, chosen: Tensor, rows: Tensor) -> None:
        """Start some rollouts anew, where `chosen` [S], at ticks `rows`."""
        clips = self._clips
        self.rows[chosen], self.age[chosen] = rows, 0
        self.joints[chosen] = clips.proprioception[rows]
        self.before[chosen] = clips.proprioception[torch.maximum(rows - 1, clips.first[rows])]

    def change(self, device: torch.device) -> Tensor:
        """Return the predicted change of proprioception [S, P]."""
        rows, clips = self.rows, self._clips
        measured = measured_of(self._measure, self.joints)
        last = clips.actions[(rows - 1).clamp_min(0)] - measured
        last[rows == clips.first[rows]] = 0.0
        found: Tensor = self._model.response(
            self.joints.to(device), self.before.to(device),
            (clips.actions[rows] - measured).to(device), torch.nan_to_num(last).to(device),
        )
        return found

    def advance(self, change: Tensor) -> None:
        """Move all rollouts on by a change [S, P]."""
        moved = settled(self._measure, self.joints + change.detach().cpu(), self.joints)
        self.joints, self.before = moved, self.joints
        self.rows, self.age = self.rows + 1, self.age + 1

    def state(self) -> dict[str, Tensor]:
        """Return all that `load_state` needs."""
        return {
            "rows": self.rows, "age": self.age, "joints": self.joints, "before": self.before
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore a state."""
        for name, value in state.items():
            setattr(self, name, value.clone())


def measured_of(measure: MeasuredFromProprioception, joints: Tensor) -> Tensor:
    """Return the measured action [S, A] with proprioception [S, P]."""
    return torch.from_numpy(measure.array(joints.double().cpu().numpy())).float()


def settled(measure: MeasuredFromProprioception, after: Tensor, before: Tensor) -> Tensor:
    """Return proprioception [S, P] of a next step in which what follows from joints does so."""
    rows = (joints.double().cpu().numpy() for joints in (after, before))
    return torch.from_numpy(
        np.stack([measure.settled(one, last) for one, last in zip(*rows, strict=True)])
    ).float()


def joint_stage(
    model: LatentWorldModel, clips: Clips, held_out: Clips, measure: MeasuredFromProprioception, *,
    seed: int, device: torch.device, team: Team = ALONE,
) -> Stage:
    """Return the stage that fits a model's joint response in place.

    Args:
        model: on the device; the linear part of its response is fitted.
        clips: to train on.
        held_out: to measure on.
        measure: computes the measured action from proprioception.
        seed: of everything random.
        device: of the model.
        team: the processes that train together; each part of a step has rollouts of its own.
    """
    usable = clips.rows(1)
    usable = usable[~clips.actions[usable].isnan().any(1)]
    pools = [
        JointRollouts(model, clips, measure, clips.draw(
            usable, ROLLOUTS, torch.Generator().manual_seed(seed + _POOL_SEED * part)
        ))
        for part in team.mine
    ]

    def losses(
        rollouts: JointRollouts, generator: torch.Generator, step: int, progress: float
    ) -> dict[str, Tensor]:
        change = rollouts.change(device)
        wanted = (clips.proprioception[rollouts.rows + 1] - rollouts.joints).to(device)
        off = (change - wanted) / model.response.spread
        rollouts.advance(change)
        with torch.no_grad():
            error = off.abs().mean(1).cpu()
        rows = rollouts.rows
        ended = (rows >= clips.last[rows - 1]) | clips.actions[rows].isnan().any(1)
        ended |= (error > STRAYED) | ~error.isfinite() | (rollouts.age >= OLDEST)
        ended |= torch.rand(len(rows), generator=generator) < RENEWED
        rollouts.renew(ended, clips.draw(usable, int(ended.sum()), generator))
        loss = functional.smooth_l1_loss(off, torch.zeros_like(off))
        return {"loss": loss, "age": rollouts.age.float().mean()}

    return Stage(
        model.response, [partial(losses, pool) for pool in pools], rate=RATE, seed=seed,
        device=device, measure=lambda: drift(model, held_out, measure, device),
        remembered=Pools(pools), team=team,
    )


@torch.no_grad()
def drift(
    model: LatentWorldModel, clips: Clips, measure: MeasuredFromProprioception,
    device: torch.device,
) -> dict[str, float]:
    """Return how far joints are off after some steps, in their deviations over the data."""
    rows = clips.rows(min(AHEAD[-1], int((clips.last - clips.first).max())))
    if not len(rows):
        return {}
    rows = rows[torch.linspace(0, len(rows) - 1, min(MEASURED, len(rows))).long()]
    rollouts, found = JointRollouts(model, clips, measure, rows.clone()), {}
    for ahead in range(1, AHEAD[-1] + 1):
        if bool((rollouts.rows >= clips.last[rows]).any()):
            break
        rollouts.advance(rollouts.change(device))
        if ahead in AHEAD:
            off = (rollouts.joints - clips.proprioception[rollouts.rows]).to(device)
            found[f"joints_off_{ahead}"] = float((off / model.response.deviation).abs().mean())
    return found
