"""Third stage: where each arm's hand is in the picture.

The hand is where the robot's layer changes when a gripper opens and shuts. An arm without a
gripper has another entry whose changes show in a small place: the last joint, or all that a small
robot has. So each arm's entries are tried, in large steps and in small ones, and the one with the
smallest place of change is taken. A small network learns this place from the joints.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.world_models.latent.camera_view import CameraView
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.robot_drawing import cell_centres
from hiwm_learning.world_models.latent.stage import Stage

STEPS = 2000
RATE = 3e-3
BATCH = 256
LOOKED_AT = 2400  # postures, of each arm
TRIED_ON = 48  # postures, of each entry of an arm
DRAWN_AT_ONCE = 48
# A change is seen where it is at least half as strong as at its strongest, and if it is this strong
# anywhere and covers so many pixels.
STRONG, PIXELS = 0.1, 6
SEEN = 0.3  # share of the postures in which an entry's changes must be seen
SCATTERED = 2.0  # medians; a wider place of change is not one hand, but two
SMALL_STEP = 0.25  # deviations
_LARGE = (0.05, 0.95)  # quantiles between which a large step goes


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Where something changes in B pictures."""

    middle: Tensor  # [B, 2] x and y in -1..1
    spread: Tensor  # [B] deviation from the middle, of the half height
    seen: Tensor  # [B] whether anything changes


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """The hands of one camera, as they were found."""

    posture: Tensor  # [N, P]
    places: Tensor  # [N, arms, 2]
    seen: Tensor  # [N, arms] 0 or 1


def hand_stage(
    model: LatentWorldModel, clips: Clips, *, seed: int, device: torch.device, team: Team = ALONE,
) -> Stage:
    """Return the stage that fits where the hands are in place.

    Args:
        model: on the device; its robot is drawn already.
        clips: whose postures are looked at.
        seed: of everything random.
        device: of the model.
        team: the processes that train together.
    """
    views = [view for view in model.camera_views() if bool(view.still)]
    looked: list[_Looked] = []  # filled at the first step: a finished stage is resumed at once

    def losses(generator: torch.Generator, step: int, progress: float) -> dict[str, Tensor]:
        if not looked and views:
            rows = torch.randint(
                len(clips), (LOOKED_AT,), generator=torch.Generator().manual_seed(seed)
            )
            posture = model.posture(clips.proprioception[rows].to(device))
            every = model.posture(clips.proprioception.to(device))
            looked.extend(_looked_at(view, model.config.arms, posture, every) for view in views)
        loss = torch.zeros((), device=device)
        rows = torch.randint(LOOKED_AT, (BATCH,), generator=generator)
        for view, found in zip(views, looked, strict=True):
            off = (view.hands(found.posture[rows]) - found.places[rows]).abs().sum(-1)
            loss = loss + (off * found.seen[rows]).sum() / found.seen[rows].sum().clamp_min(1.0)
        return {"loss": loss}

    def measure() -> dict[str, float]:
        if not looked:
            return {}
        half = torch.tensor([0.5 * model.config.width, 0.5 * model.config.height], device=device)
        off = [
            ((view.hands(one.posture) - one.places) * half).norm(dim=-1)[one.seen > 0.0]
            for view, one in zip(views, looked, strict=True)
        ]
        return {
            "hands_off_px": float(torch.cat(off).median()),
            "hands_seen": float(torch.stack([one.seen.mean() for one in looked]).mean()),
        }

    hands = nn.ModuleList(view.hands for view in model.camera_views())
    return Stage(
        hands, [losses] * len(team.mine), rate=RATE, seed=seed, device=device, measure=measure,
        team=team,
    )


@torch.no_grad()
def _looked_at(
    view: CameraView, arms: tuple[tuple[int, ...], ...], posture: Tensor, every: Tensor
) -> _Looked:
    """Return where the hands of all arms are in postures [N, P]; `every` [M, P] gives ranges."""
    places, seen = [], []
    for arm in arms:
        best, smallest = None, torch.inf
        for entry in arm:
            for large in (True, False):
                step = _Step(entry, large, every)
                found = _changes(view, posture[:TRIED_ON], step)
                if found.seen.float().mean() < SEEN:
                    continue
                spread = float(found.spread[found.seen].median())
                if spread < smallest:
                    best, smallest = step, spread
        if best is None:  # nothing of this arm is ever seen
            places.append(posture.new_zeros(len(posture), 2))
            seen.append(posture.new_zeros(len(posture)))
            continue
        found = _changes(view, posture, best)
        places.append(found.middle)
        seen.append((found.seen & (found.spread < SCATTERED * smallest)).float())
    return _Looked(
        posture=posture, places=torch.stack(places, dim=1), seen=torch.stack(seen, dim=1)
    )


class _Step:
    """A step of one entry of the posture, to either side."""

    def __init__(self, entry: int, large: bool, every: Tensor) -> None:
        self._entry = entry
        low, high = every[:, entry].quantile(every.new_tensor(_LARGE)).tolist()
        self._low, self._high, self._large = low, high, large

    def ends(self, posture: Tensor) -> tuple[Tensor, Tensor]:
        """Return the postures [B, P] at both ends of the step."""
        ends = posture.clone(), posture.clone()
        for end, side in zip(ends, (-1.0, 1.0), strict=True):
            if self._large:
                end[:, self._entry] = self._low if side < 0.0 else self._high
            else:
                end[:, self._entry] += side * SMALL_STEP
        return ends


def _changes(view: CameraView, posture: Tensor, step: _Step) -> _Places:
    """Return where the robot's layer changes in a step from postures [N, P]."""
    found = []
    for part in posture.split(DRAWN_AT_ONCE):
        layers = [view.robot(end) for end in step.ends(part)]
        one, other = (
            torch.cat([layer.colours * layer.cover, layer.cover], dim=1) for layer in layers
        )
        found.append(_place((other - one).abs().amax(1)))
    return _Places(
        middle=torch.cat([place.middle for place in found]),
        spread=torch.cat([place.spread for place in found]),
        seen=torch.cat([place.seen for place in found]),
    )


def _place(change: Tensor) -> _Places:
    """Return where pictures change, by [B, H, W]."""
    most = change.flatten(1).amax(1)
    weight = (change - 0.5 * most[:, None, None]).clamp_min(0.0) ** 2
    total = weight.sum((1, 2)).clamp_min(1e-9)
    centres = cell_centres((change.shape[1], change.shape[2]), change)
    middle = (weight[..., None] * centres).sum((1, 2)) / total[:, None]
    wide = change.new_tensor([change.shape[2] / change.shape[1], 1.0])
    square = (((centres - middle[:, None, None]) * wide) ** 2).sum(-1)
    pixels = (weight > 0.0).sum((1, 2))
    return _Places(
        middle=middle, spread=((weight * square).sum((1, 2)) / total).sqrt(),
        seen=(most > STRONG) & (pixels >= PIXELS),
    )
