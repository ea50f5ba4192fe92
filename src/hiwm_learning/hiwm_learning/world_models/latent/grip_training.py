"""Fifth stage: small networks learn what hands hold, and when they lose it.

They learn by themselves, before the dynamics. Taught together with it, the first was right less
often in imagination.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.grip_rows import grip_rows, held_rows
from hiwm_learning.world_models.latent.grip_scores import grip_scores, slip_scores
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.open_loop import worlds_at
from hiwm_learning.world_models.latent.scene_data import SceneData
from hiwm_learning.world_models.latent.shown_grips import grip_error
from hiwm_learning.world_models.latent.stage import Stage

STEPS = 4000
RATE = 1.5e-3
BATCH = 256
# What hands see is computed so often, in earlier scenes that are drawn anew, each time for all rows
# or as many as a share of ROWS, and for so many at once.
TIMES, ROWS, AT_ONCE = 4, 24_000, 256


class _Grips(nn.Module):
    """The parts of a model that this stage trains."""

    def __init__(self, model: LatentWorldModel) -> None:
        super().__init__()
        self.grips, self.slips = model.dynamics.grips, model.dynamics.slips


def grip_stage(
    model: LatentWorldModel, data: SceneData, held_out: SceneData,
    measure: MeasuredFromProprioception, *, seed: int, device: torch.device,
    team: Team = ALONE,
) -> Stage:
    """Return the stage that fits grips and slips in place.

    Args:
        model: on the device; its robot, hands and fillers are trained.
        data: to train on.
        held_out: to measure on.
        measure: computes the measured action from proprioception.
        seed: of everything random.
        device: of the model.
        team: the processes that train together.
    """
    # At the first step: a finished stage has none.
    looked: list[tuple[Tensor, Tensor, Tensor]] = []
    held: list[tuple[Tensor, Tensor, Tensor]] = []

    def losses(generator: torch.Generator, step: int, progress: float) -> dict[str, Tensor]:
        if not looked:
            looked.append(_looked_at(model, data, seed, device))
            held.append(moves_while_held(model, data, seed, device))
        seen, robot, labels = looked[0]
        taken = slipped = torch.zeros((), device=device)
        if len(seen):
            rows = torch.randint(len(seen), (BATCH,), generator=generator)
            said = model.dynamics.grips(seen[rows].to(device).float(), robot[rows].to(device))
            taken = grip_error(said, labels[rows].to(device))
        moves, hands, slips = held[0]
        if slips.any():  # else it says as before that nothing does
            rows = torch.randint(len(moves), (BATCH,), generator=generator)
            logits = model.dynamics.slips(moves[rows].to(device))
            slipped = functional.binary_cross_entropy_with_logits(
                logits.gather(1, hands[rows, None].to(device))[:, 0].float(),
                slips[rows].to(device),
            )
        return {"loss": taken + slipped, "taken": taken, "slipped": slipped}

    return Stage(
        _Grips(model), [losses] * len(team.mine), rate=RATE, seed=seed, device=device,
        measure=lambda: {
            **grip_scores(model, held_out, measure, device),
            **slip_scores(model, *moves_while_held(model, held_out, seed, device)),
        },
        team=team,
    )


@torch.no_grad()
def moves_while_held(
    model: LatentWorldModel, data: SceneData, seed: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how arms move while hands hold something, [N, M], the hand [N], and slips [N].

    Of many ticks some are drawn, slips as rarely as they are: a chance is learned.
    """
    ticks, hands, slips = held_rows(data)
    if len(ticks) > ROWS:
        chosen = torch.randperm(len(ticks), generator=torch.Generator().manual_seed(seed))[:ROWS]
        ticks, hands, slips = ticks[chosen], hands[chosen], slips[chosen]
    moves = [torch.zeros(0, model.dynamics.moving)]
    none = torch.zeros(AT_ONCE, 0)
    for part in ticks.split(AT_ONCE) if len(ticks) else ():
        worlds = worlds_at(data.clips, part, none, none, none, device)
        moves.append(model.moves(worlds).cpu())
    return torch.cat(moves), hands, slips


@torch.no_grad()
def _looked_at(
    model: LatentWorldModel, data: SceneData, seed: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what hands see [N, C * hands, S], the robot [N, G], and labels [N, hands]."""
    rows, generator = grip_rows(data), torch.Generator().manual_seed(seed)
    found: list[Sequence[Tensor]] = []
    for _ in range(TIMES if len(rows) else 0):
        chosen = data.clips.draw_places(rows.ticks, min(len(rows), ROWS // TIMES), generator)
        for part in chosen.split(AT_ONCE):
            ticks, scenes = rows.ticks[part], rows.seen(part, generator)
            worlds = worlds_at(
                data.clips, ticks, data.recordings.at(scenes, device)[0],
                data.recordings.light[scenes], torch.zeros(len(ticks), data.grips.shape[1]), device,
            )
            seen, robot = model.around_hands(worlds, data.points_around(ticks).to(device))
            found.append((seen.cpu().half(), robot.cpu(), rows.labels(data.grips, part)))
    if not found:
        empty = torch.zeros(0)
        return empty, empty, empty
    seen, robot, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return seen, robot, labels
