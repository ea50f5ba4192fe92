"""The scripted operator's perception and control: it finds rope and clips, and routes the rope."""

from collections.abc import Mapping
from typing import cast

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import Image, Sight
from hiwm_route_rope.names import Array, score
from hiwm_route_rope.router import HELD, Router, Sighting
from hiwm_route_rope.shape import CLIP_LENGTH_M, RADIUS_M, crossing
from hiwm_route_rope.vision import look

# A rope this near to the middle of a clip's channel lies in it, unless a hand holds it above [m].
_IN_CHANNEL_M, _HELD_ABOVE_M = 0.008, 0.026
# A clip without rope counts as this much beyond the rope's distance from it [m].
_UNROUTED_M = 0.05


class RopeOperator:
    """Looks at the embodiment's first camera; see `hiwm_core.task_plugin.Operator`.

    Args:
        embodiment: the pair's, Cartesian.
        clips: [2, 3], where the clips are on average, for one that an arm hides; see `clips_of`.
    """

    correction_ticks = 250

    def __init__(self, embodiment: Embodiment, clips: Array) -> None:
        self._clips = clips
        self._home = np.array(embodiment.home)
        self._camera = embodiment.cameras[0].name

    def look(self, images: Mapping[str, Image], measured: Array, *, jumped: bool) -> Sight:
        """Return how far the rope is from lying in both clips."""
        hands = np.asarray(measured).reshape(2, 5)
        holding = (hands[:, 4] > HELD[0]) & (hands[:, 4] < HELD[1])
        # Between two hands that hold it, the rope is about as high as they are.
        height = float(hands[:, 2].mean()) - RADIUS_M if holding.all() else RADIUS_M
        found = look(images[self._camera], max(height, RADIUS_M), self._clips)
        if found.rope is None or found.clips is None:
            return Sight(error_m=np.nan, progress=np.nan, clarity=found.seen_share * 0.4)
        routed = tuple(
            lies_in(found.rope, clip) and not (holds and hand[2] > _HELD_ABOVE_M)
            for clip, hand, holds in zip(found.clips, hands, holding, strict=True)
        )
        ways = [np.linalg.norm(found.rope - clip[:2], axis=1).min() for clip in found.clips]
        error = sum(
            0.0 if held else _UNROUTED_M + float(way)
            for way, held in zip(ways, routed, strict=True)
        )
        seen = Sighting(
            rope=found.rope, clips=found.clips, routed=(routed[0], routed[1]),
            guessed_m=found.guessed_m,
        )
        return Sight(
            error_m=error, clarity=0.5 + 0.5 * found.seen_share, found=seen,
            settled=not holding.any(),
            progress=score(found.rope, found.clips, np.array(routed)),
        )

    def correction(self, seed: int, variety: float) -> "RopeCorrection":
        """Return a correction; other ones grasp farther out, and move more slowly."""
        rng = np.random.default_rng(seed)
        return RopeCorrection(Router(
            self._home, outside_m=Router.OUTSIDE_M + variety * float(rng.uniform(0.0, 0.008)),
            speed=1.0 - variety * float(rng.uniform(0.0, 0.4)),
        ))


def lies_in(rope: Array, clip: Array) -> bool:
    """Return whether a line seen from above [N, 2] runs through the channel of a clip."""
    reach = 0.35 * CLIP_LENGTH_M
    beside = [crossing(rope, clip, along) for along in (-reach, 0.0, reach)]
    return all(np.isfinite(beside)) and max(map(abs, beside)) < _IN_CHANNEL_M


class RopeCorrection:
    """Routes the rope that the operator sees; see `hiwm_core.task_plugin.Correction`."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def done(self, sight: Sight) -> bool:
        """Return whether both clips hold the rope."""
        return all(cast(Sighting, sight.found).routed)

    def targets(self, sight: Sight, measured: Array) -> Array:
        """Return the next targets [10]."""
        return self._router.targets(cast(Sighting, sight.found), measured)
