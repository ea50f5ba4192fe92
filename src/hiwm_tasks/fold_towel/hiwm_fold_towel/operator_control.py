"""The scripted operator's perception and control: it finds the towel's corners, and folds it.

Nothing moves the towel but a shut hand. So the operator keeps what it last saw with no arm above
the towel, and looks anew after a hand has let go. It goes home where it has not seen enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import Image, Sight
from hiwm_fold_towel.folder import Folder, Sighting
from hiwm_fold_towel.names import LENGTH_M, ROWS, Array, score
from hiwm_fold_towel.vision import TowelSight, hidden_share, look, same_around, shows_towel
from hiwm_yam_pair.hands import Hand, hands_of

# A hand that shuts within this of a far corner takes it [m].
_AT_HAND_M = 0.035
_SHUT_RATIO = 0.2
_CLEAR = 0.012  # arms hide no more than this share of what is around the towel
# A hand that is this far from where its corner lay has missed it if nothing changed there [m].
_AWAY_M = 0.06
_LAID_M, _ALONE_M = 0.03, 0.10
_REACHED_M = 0.008  # a corner this much too near is still taken
_HOME_M = 0.04  # a hand this near to home hides nothing that it could uncover
# The fold springs back, most where the way was short: ways ahead, and how far ahead to let go [m].
_WAYS_M, _BEYOND_M = (-0.03, 0.0, 0.02, 0.08, 0.14), (0.03, 0.0, -0.02, -0.02, -0.01)


@dataclass
class _Seen:
    """The towel with few arms above it."""

    found: TowelSight
    image: Image
    hidden: float


class TowelOperator:
    """Looks at the embodiment's first camera; see `hiwm_core.task_plugin.Operator`."""

    correction_ticks = 250

    def __init__(self, embodiment: Embodiment) -> None:
        self._home = np.array(embodiment.home)
        self._nearest = embodiment.lower.reshape(2, 5)[:, 0]  # x that each hand reaches [2], m
        self._camera = embodiment.cameras[0].name
        self._seen: _Seen | None = None
        self._near: Array | None = None  # near corners as last seen [2, 2], m
        self._held = [False, False]
        self._shut = [False, False]

    def look(self, images: Mapping[str, Image], measured: Array, *, jumped: bool) -> Sight:
        """Return how far the far corners are from the near ones."""
        hands, image = hands_of(measured), images[self._camera]
        shut = [hand.grip < _SHUT_RATIO for hand in hands]
        if jumped:
            self._seen, self._near, self._held, self._shut = None, None, [False] * 2, shut
        if self._opened(shut):
            self._seen, self._held = None, [False, False]
        if not any(shut):
            self._remember(image, hands)
        elif self._seen is not None:
            self._take(image, hands, shut, self._seen)
        self._shut = shut
        seen = self._seen
        found = look(image) if seen is None else seen.found
        # A towel that has gone is not there, even if it was seen.
        if found is None or not shows_towel(image):
            return Sight(error_m=np.nan, progress=np.nan, clarity=0.2)
        taken, places = self._task(found)
        taken = np.stack([
            hand.xy if held else corner
            for hand, held, corner in zip(hands, self._held, taken, strict=True)
        ])
        far = taken if found.task[0] is found.far else found.far
        height = max([max(hand.z - 0.01, 0.0) for hand, held in zip(
            hands, self._held, strict=True
        ) if held] or [0.0])
        gaps = np.linalg.norm(far - found.near, axis=1)
        left, right = self._held
        return Sight(
            error_m=float(gaps.mean()), clarity=1.0, settled=not any(shut),
            progress=score(gaps, found.covered, height, left or right),
            found=Sighting(
                far=taken, near=places, held=(left, right), known=seen is not None,
                beyond=_beyond(found), laid=_laid(found),
            ),
        )

    def _task(self, found: TowelSight) -> tuple[Array, Array]:
        """Return places to be taken, and where to lay them: beside a corner that is out of reach.

        It comes within reach by that, and is taken later.
        """
        corners, places = found.task
        out = corners[:, 0] < self._nearest - _REACHED_M
        beside = corners + out[:, None] * np.array([LENGTH_M / (ROWS - 1), 0.0])
        within = np.column_stack([np.maximum(places[:, 0], self._nearest), places[:, 1]])
        return beside, within

    def _opened(self, shut: list[bool]) -> bool:
        """Return whether a hand has opened since the last look: what it held lies elsewhere."""
        return any(before and not now for before, now in zip(self._shut, shut, strict=True))

    def _remember(self, image: Image, hands: list[Hand]) -> None:
        """Keep a picture that shows the towel at least as well as the last one that was kept."""
        found = look(image)
        if found is None:
            return
        hidden = hidden_share(image, found.arms)
        at_home = all(
            float(np.linalg.norm(hand.xy - home[:2])) < _HOME_M
            for hand, home in zip(hands, self._home.reshape(2, 5), strict=True)
        )
        limit = _CLEAR if self._seen is None else self._seen.hidden
        if hidden > limit and not (at_home and self._seen is None):
            return
        # Near corners seldom move, and the flap hides them.
        near = found.near if found.near_seen or self._near is None else self._near
        self._seen, self._near = _Seen(replace(found, near=near), image, hidden), near

    def _take(
        self, image: Image, hands: list[Hand], shut: list[bool], seen: _Seen
    ) -> None:
        """Say which hands hold their corners: they shut beside them, and these are gone since."""
        for i, (hand, corner) in enumerate(zip(hands, self._task(seen.found)[0], strict=True)):
            away = float(np.linalg.norm(hand.xy - corner))
            if not shut[i]:
                self._held[i] = False
            elif not self._shut[i]:
                self._held[i] = away < _AT_HAND_M
            elif self._held[i] and away > _AWAY_M and same_around(seen.image, image, corner):
                self._seen, self._held = None, [False, False]
                return

    def correction(self, seed: int, variety: float) -> "TowelCorrection":
        """Return a correction; other ones carry higher or lower, and more slowly."""
        rng = np.random.default_rng(seed)
        return TowelCorrection(Folder(
            self._home, top_m=Folder.TOP_M - variety * float(rng.uniform(0.0, 0.03)),
            speed=1.0 - variety * float(rng.uniform(0.0, 0.4)), inside_m=0.0,
        ))


def _beyond(found: TowelSight) -> tuple[float, float]:
    """Return how far ahead of its place each corner is to be released, m: it springs back."""
    corners, places = found.task
    edge = (places[0] - places[1]) / np.linalg.norm(places[0] - places[1])
    ways = (corners - places) @ np.array([edge[1], -edge[0]])
    left, right = np.interp(ways, _WAYS_M, _BEYOND_M)
    return float(left), float(right)


def _laid(found: TowelSight) -> tuple[bool, bool]:
    """Return which corners stay in place while the distant one is folded.

    Where both are near their places, both are taken, so that the edge between them stays straight.
    """
    corners, places = found.task
    left, right = np.linalg.norm(corners - places, axis=1).tolist()
    return left < _LAID_M and right > _ALONE_M, right < _LAID_M and left > _ALONE_M


class TowelCorrection:
    """Folds the towel that the operator sees; see `hiwm_core.task_plugin.Correction`."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def done(self, sight: Sight) -> bool:
        """Return whether the towel lies folded and nothing holds it."""
        seen = cast(Sighting, sight.found)
        return seen.known and seen.folded and not any(seen.held)

    def targets(self, sight: Sight, measured: Array) -> Array:
        """Return the next targets [10]."""
        return self._folder.targets(cast(Sighting, sight.found), measured)
