"""The scripted operator's perception and control: it finds the towel's corners, and folds it."""

from collections.abc import Mapping
from typing import cast

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import Image, Sight
from hiwm_fold_towel.folder import Folder, Sighting
from hiwm_fold_towel.names import Array, score
from hiwm_fold_towel.vision import look
from hiwm_yam_pair.hands import hands_of

# A shut hand holds its corner, unless the corner rests this far from it [m].
_AT_HAND_M = 0.045
_SHUT_RATIO = 0.2


class TowelOperator:
    """Looks at the embodiment's first camera; see `hiwm_core.task_plugin.Operator`."""

    def __init__(self, embodiment: Embodiment) -> None:
        self._home = np.array(embodiment.home)
        self._camera = embodiment.cameras[0].name

    def look(self, images: Mapping[str, Image], measured: Array, *, jumped: bool) -> Sight:
        """Return how far the far corners are from the near ones."""
        hands = hands_of(measured)
        shut = [hand.grip < _SHUT_RATIO for hand in hands]
        height = max([hand.z - 0.01 for hand, one in zip(hands, shut, strict=True) if one] or [0.0])
        found = look(images[self._camera], max(height, 0.0))
        if found is None:
            return Sight(error_m=np.nan, progress=np.nan, clarity=0.2)
        held = tuple(
            one and not (rests and float(np.linalg.norm(hand.xy - corner)) > _AT_HAND_M)
            for hand, one, corner, rests in zip(
                hands, shut, found.far, found.resting, strict=True
            )
        )
        far = np.stack([
            hand.xy if one else corner
            for hand, one, corner in zip(hands, held, found.far, strict=True)
        ])
        seen = Sighting(far=far, near=found.near, held=(held[0], held[1]))
        gaps = np.linalg.norm(far - found.near, axis=1)
        return Sight(
            error_m=float(gaps.mean()), clarity=1.0, found=seen,
            progress=score(gaps, found.covered, height, any(held)),
        )

    def correction(self, seed: int, variety: float) -> "TowelCorrection":
        """Return a correction; other ones carry higher or lower, and more slowly."""
        rng = np.random.default_rng(seed)
        return TowelCorrection(Folder(
            self._home, top_m=Folder.TOP_M - variety * float(rng.uniform(0.0, 0.03)),
            speed=1.0 - variety * float(rng.uniform(0.0, 0.4)),
        ))


class TowelCorrection:
    """Folds the towel that the operator sees; see `hiwm_core.task_plugin.Correction`."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def done(self, sight: Sight) -> bool:
        """Return whether the towel lies folded and nothing holds it."""
        seen = cast(Sighting, sight.found)
        return seen.folded and not any(seen.held)

    def targets(self, sight: Sight, measured: Array) -> Array:
        """Return the next targets [10]."""
        return self._folder.targets(cast(Sighting, sight.found), measured)
