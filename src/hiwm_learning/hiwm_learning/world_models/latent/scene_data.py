"""What the last stages learn from: the scenes of all frames, and where the robot is in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.finger_grips import by_fingers, telling_fingers
from hiwm_learning.world_models.latent.known_cells import cells_of
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.recorded_scenes import RecordedScenes, scenes_of
from hiwm_learning.world_models.latent.robot_layer import CELL
from hiwm_learning.world_models.latent.scene_error import distance
from hiwm_learning.world_models.latent.shown_grips import shown_grips, while_shut

UNIT_FRAMES, UNIT_STEPS, AT_ONCE = 600, 10, 64


@dataclass(frozen=True, kw_only=True)
class SceneData:
    """Recordings with their scenes."""

    clips: Clips
    recordings: RecordedScenes
    points: Tensor  # [N, C, K, 2] of the robot, at the ticks of `clips`
    shut: Tensor  # [N, hands] whether a gripper is told to be shut; True for hands without one
    grippers: Mapping[int, int]  # of hands that have one, the place of their gripper in the action
    grips: Tensor  # [N, hands] whether a hand holds what lies around it: 1, 0 or NaN, not known

    @property
    def closed(self) -> Tensor:
        """Whether a gripper is told to be shut, [N]; False for a robot without one."""
        return self.shut[:, list(self.grippers)].any(1)

    def points_around(self, rows: Tensor) -> Tensor:
        """Return the points before, at and after ticks [B], [B, 3, C, K, 2]."""
        before = torch.maximum(rows - 1, self.clips.first[rows])
        return torch.stack([self.points[before], self.points[rows], self.points[rows + 1]], dim=1)


def scene_data(
    model: LatentWorldModel, clips: Clips, held_out: Clips, *, seed: int, device: torch.device,
    team: Team = ALONE, on_disk: Path | None = None, report: Callable[[str], None] = print,
) -> tuple[SceneData, SceneData]:
    """Return the scenes of all frames to train on and to measure on.

    The model learns their units, their usual cells and when grippers are shut.

    Args:
        model: on the device; robot, hands and fillers are trained, and are frozen now.
        clips: to train on.
        held_out: to measure on.
        seed: of everything random.
        device: of the model.
        team: the processes that train together.
        on_disk: folder where scenes stay, mapped; None keeps them in memory.
        report: receives lines of progress.
    """
    model.views.eval().requires_grad_(False)
    model.response.eval().requires_grad_(False)
    recordings = scenes_of(model, clips, device, on_disk, report)
    measured = scenes_of(model, held_out, device, on_disk, report)
    set_units(model, clips, recordings, seed, device)
    learn_known_cells(model, recordings, measured, seed, device)
    learn_when_shut(model, clips)
    team.share(model)  # what was found now is the same for all processes
    report("finding out what hands held")
    grippers = {
        hand: place for hand, place in enumerate(model.config.grippers) if place is not None
    }
    telling = telling_fingers(clips, model.shut(clips.actions.to(device)).cpu(), grippers)
    if telling:
        report("fingers that stay open tell it, for hands " + ", ".join(map(str, telling)))
    data = _data(model, clips, recordings, grippers, telling, device)
    model.fingers.learn(clips.proprioception, clips.last, data.grips, data.shut)
    team.share(model.fingers)
    return data, _data(model, held_out, measured, grippers, telling, device)


@torch.no_grad()
def _data(
    model: LatentWorldModel, clips: Clips, recordings: RecordedScenes,
    grippers: Mapping[int, int], telling: Sequence[int], device: torch.device,
) -> SceneData:
    points = torch.cat([
        model.points(part.to(device)).cpu() for part in clips.proprioception.split(4096)
    ])
    shut = model.shut(clips.actions.to(device)).cpu()
    shown = while_shut(shown_grips(clips, recordings, points, shut), clips, shut, list(grippers))
    return SceneData(
        clips=clips, recordings=recordings, points=points, shut=shut, grippers=grippers,
        grips=by_fingers(shown, clips, shut, grippers, telling),
    )


@torch.no_grad()
def learn_when_shut(model: LatentWorldModel, clips: Clips) -> None:
    """Learn below which commands grippers are shut: the lower half of what they are usually told.

    A model that knows it keeps it.
    """
    for hand, place in enumerate(model.config.grippers):
        if place is not None and bool(model.shut_below[hand].isnan()):
            model.shut_below[hand] = clips.halfway(place)


@torch.no_grad()
def set_units(
    model: LatentWorldModel, clips: Clips, recordings: RecordedScenes, seed: int,
    device: torch.device,
) -> None:
    """Set how much cells change where something moves, and how far apart unrelated scenes are.

    A model that knows it keeps it: in other units, what it has learned would mean something else.
    """
    if float(model.distance) != 1.0:
        return
    ahead = min(UNIT_STEPS, int((clips.last - clips.first).max()))
    rows = some_of(clips.rows(ahead), seed)
    squares, apart = [], []
    for part in rows.split(AT_ONCE):
        now, hidden = recordings.at(part, device)
        later, hidden_later = recordings.at(part + ahead, device)
        seen = 1.0 - torch.maximum(hidden, hidden_later)
        squares.append(functional.avg_pool2d((later - now).square().mean(2) * seen, CELL))
        other, masked = recordings.at(part.roll(1), device)
        apart.append(distance(now, other, torch.maximum(hidden, masked)))
    square = torch.cat(squares).double()
    model.dynamics.change.fill_(float(square.square().sum() / square.sum().clamp_min(1e-12)))
    model.dynamics.change.clamp_(min=1e-6)
    model.distance.fill_(float(torch.cat(apart).square().mean().sqrt().clamp_min(1e-3)))


@torch.no_grad()
def learn_known_cells(
    model: LatentWorldModel, recordings: RecordedScenes, held_out: RecordedScenes, seed: int,
    device: torch.device,
) -> None:
    """Learn which cells recorded scenes have."""
    found = []
    for one in (recordings, held_out):
        rows = some_of(torch.arange(len(one.light)), seed)
        found.append(torch.cat([
            cells_of(model.difference(one.at(part, device)[0], one.light[part].to(device)))
            for part in rows.split(AT_ONCE)
        ]))
    model.known.fit(found[0], found[1], torch.Generator().manual_seed(seed))


def some_of(rows: Tensor, seed: int) -> Tensor:
    """Return some of the rows, drawn with replacement."""
    generator = torch.Generator().manual_seed(seed)
    return rows[torch.randint(len(rows), (min(UNIT_FRAMES, len(rows)),), generator=generator)]
