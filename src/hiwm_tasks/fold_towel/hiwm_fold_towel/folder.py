"""Folds a towel in half: the control that the expert and the scripted operator share.

It is a function of what is seen now: where the corners lie, which hands hold one, and where the
hands are. It remembers nothing, so it can start anywhere: after a missed or slipped grasp, with one
corner carried, or from a crooked fold, whose far corners it takes again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_fold_towel.names import CORNERS_M, LENGTH_M, Array
from hiwm_yam_pair.hands import APPROACH, Hand, hands_of, near_yaw, ramp

# Heights of the tips [m]: above a corner, at it, at the top of the arc, and laid.
_HOVER, _GRASP, _TOP, _LAY = 0.075, 0.013, 0.125, 0.016
_ASIDE_M = (0.03, 0.06)  # a corner this far aside is not folded at once
_TURNED_M = 0.08  # a far corner that is farther ahead of its near one is not folded
_SHUT = 0.0
_SHUT_RATIO = 0.2  # below this a gripper has closed
_DOWN, _UP, _LEVER = 0.006, 0.028, 0.02


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What is known of the towel."""

    far: Array  # [2, 2], m, left and right corner of the edge that is carried
    near: Array  # [2, 2], m, the corners that they are laid onto
    held: tuple[bool, bool]  # whether each hand holds its corner
    laid: tuple[bool, bool] = (False, False)  # whether a far corner stays where it is
    # How far ahead of the near corners the far ones are let go, as the fold springs back [m].
    beyond: tuple[float, float] = (0.0, 0.0)
    known: bool = True  # whether the corners have been seen; where not, hands go home

    @property
    def folded(self) -> bool:
        """Whether the far corners lie on the near ones, with a margin."""
        return bool((np.linalg.norm(self.far - self.near, axis=1) < 0.8 * CORNERS_M).all())


class Folder:
    """Targets of both hands.

    Args:
        home: action [10] of both hands at home.
        top_m: height of the arc.
        speed: share of the full speed.
        inside_m: how far inside the towel corners are taken, along both edges.
    """

    TOP_M = _TOP

    def __init__(
        self, home: Array, *, top_m: float = TOP_M, speed: float = 1.0, inside_m: float = 0.006
    ) -> None:
        self._home = np.asarray(home, dtype=np.float64).reshape(2, 5)
        self._top, self._speed, self._inside = top_m, speed, inside_m

    def targets(self, seen: Sighting, measured: Array) -> Array:
        """Return the next action [10]."""
        hands = hands_of(measured)
        edge = seen.near[0] - seen.near[1]
        along = float(np.arctan2(edge[1], edge[0]))
        low = all(hand.z < 0.035 for hand, held in zip(hands, seen.held, strict=True) if held)
        if not seen.known or (seen.folded and low):
            return np.concatenate([
                hand.leaving(home, self._speed)
                for hand, home in zip(hands, self._home, strict=True)
            ])
        held = np.array(seen.held)
        laid = np.array(seen.laid) & ~held
        leaving = [
            hand.leaving(home, self._speed) for hand, home in zip(hands, self._home, strict=True)
        ]
        if (laid | held).all():
            carried = self._carry(seen, hands, along, held)
            return np.concatenate([
                away if one else target
                for one, away, target in zip(laid, leaving, carried, strict=True)
            ])
        inward, ahead = _unit(edge), np.array([edge[1], -edge[0]]) / np.linalg.norm(edge)
        # The towel lies behind the far edge, and ahead of it once it is folded.
        way = (seen.far - seen.near) @ ahead
        behind = np.clip((way - _TURNED_M) / _TURNED_M, -1.0, 1.0)[:, None]
        corners = seen.far + self._inside * (np.array([[-1.0], [1.0]]) * inward - behind * ahead)
        return np.concatenate([
            self._wait(hand) if holds
            else away if one
            else self._take(hand, corner, near_yaw(along, hand.yaw))
            for hand, holds, one, away, corner in zip(
                hands, held, laid, leaving, corners, strict=True
            )
        ])

    def done(self, seen: Sighting, measured: Array) -> bool:
        """Return whether the towel is folded and both hands have left it."""
        return seen.folded and all(
            hand.grip > 0.4 and hand.z > 0.07 for hand in hands_of(measured)
        )

    def _take(self, hand: Hand, corner: Array, yaw: float) -> Array:
        """Go above the corner, down, and close; open if the fingers closed on nothing."""
        error = float(np.linalg.norm(corner - hand.xy)) + _LEVER * abs(yaw - hand.yaw)
        if hand.grip < _SHUT_RATIO:
            return self._move(hand, hand.xy, _HOVER, hand.yaw, APPROACH)
        if hand.z < _GRASP + 0.006 and error < 0.010:
            return self._move(hand, hand.xy, _GRASP, hand.yaw, _SHUT)
        height = _GRASP + (_HOVER - _GRASP) * ramp(error, _DOWN, _UP)
        return self._move(hand, corner, height, yaw, APPROACH)

    def _wait(self, hand: Hand) -> Array:
        """Keep the corner low until the other hand has its own."""
        return self._move(hand, hand.xy, _LAY, hand.yaw, _SHUT)

    def _carry(
        self, seen: Sighting, hands: list[Hand], along: float, held: NDArray[np.bool_]
    ) -> list[Array]:
        """Carry corners in an arc onto the near ones, and lay them down; targets of both hands."""
        edge = _unit(seen.near[0] - seen.near[1])
        ahead = np.array([edge[1], -edge[0]])
        ends = seen.near + np.outer(seen.beyond, ahead)
        # A corner that lies aside first comes in front of its place, which stretches the side.
        offsets = np.array([hand.xy for hand in hands]) - ends
        front, aside = offsets @ ahead, np.abs(offsets @ edge)
        first = [ramp(value, *_ASIDE_M) * max(way, 0.0) for value, way in zip(
            aside, front, strict=True
        )]
        ends = ends + np.array(first)[:, None] * ahead
        ways = [np.linalg.norm(end - hand.xy) + one for end, hand, one in zip(
            ends, hands, first, strict=True
        )]
        way = float(np.max(ways, where=held, initial=0.0))
        low = np.array([hand.z < _LAY + 0.006 for hand in hands])
        if way < 0.012 and (low | ~held).all():
            return [self._move(hand, hand.xy, hand.z, hand.yaw, APPROACH) for hand in hands]
        # Half a turn about the fold: low at both ends, highest in the middle.
        share = float(np.clip(way / LENGTH_M, 0.0, 1.0))
        height = _LAY + (self._top - _LAY) * float(np.sin(np.pi * (0.12 + 0.88 * share) * 0.62))
        height = _LAY + (height - _LAY) * ramp(way, 0.006, 0.05)
        return [
            self._move(
                hand, end, height, near_yaw(along, hand.yaw), _SHUT, float(one) / max(way, 1e-6)
            ) for hand, end, one in zip(hands, ends, ways, strict=True)
        ]

    def _move(
        self, hand: Hand, xy: Array, z: float, yaw: float, grip: float, share: float = 1.0
    ) -> Array:
        return hand.toward(xy, z, yaw, grip, share=share, speed=self._speed)


def _unit(vector: Array) -> Array:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))
