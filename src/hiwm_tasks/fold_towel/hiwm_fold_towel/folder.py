"""Folds a towel in half: the control that the expert and the scripted operator share.

It is a function of what is seen now: where the corners lie, which hands hold one, and where the
hands are. It remembers nothing, so it can start anywhere: after a missed or slipped grasp, with one
corner carried, or from a crooked fold, whose far corners it takes again.
"""

from dataclasses import dataclass

import numpy as np

from hiwm_fold_towel.names import CORNERS_M, LENGTH_M, Array
from hiwm_yam_pair.hands import APPROACH, Hand, hands_of, near_yaw, ramp

# Heights of the tips [m]: above a corner, at it, at the top of the arc, and laid.
_HOVER, _GRASP, _TOP, _LAY = 0.075, 0.013, 0.125, 0.016
_INSIDE_M = 0.006  # a corner is taken this far inside the towel
_SHUT = 0.0
_SHUT_RATIO = 0.2  # below this a gripper has closed
_DOWN, _UP, _LEVER = 0.006, 0.028, 0.02


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What is known of the towel."""

    far: Array  # [2, 2], m, left and right corner of the edge that is carried
    near: Array  # [2, 2], m, the corners that they are laid onto
    held: tuple[bool, bool]  # whether each hand holds its corner

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
    """

    TOP_M = _TOP

    def __init__(self, home: Array, *, top_m: float = TOP_M, speed: float = 1.0) -> None:
        self._home = np.asarray(home, dtype=np.float64).reshape(2, 5)
        self._top, self._speed = top_m, speed

    def targets(self, seen: Sighting, measured: Array) -> Array:
        """Return the next action [10]."""
        hands = hands_of(measured)
        edge = seen.near[0] - seen.near[1]
        along = float(np.arctan2(edge[1], edge[0]))
        low = all(hand.z < 0.035 for hand, held in zip(hands, seen.held, strict=True) if held)
        if seen.folded and low:
            return np.concatenate([
                hand.leaving(home, self._speed)
                for hand, home in zip(hands, self._home, strict=True)
            ])
        if all(seen.held):
            return self._carry(seen, hands, along)
        inward = _unit(edge) * _INSIDE_M
        back = _unit(seen.near.mean(axis=0) - seen.far.mean(axis=0)) * _INSIDE_M
        corners = [seen.far[0] - inward + back, seen.far[1] + inward + back]
        return np.concatenate([
            self._wait(hand) if held else self._take(hand, corner, near_yaw(along, hand.yaw))
            for hand, held, corner in zip(hands, seen.held, corners, strict=True)
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

    def _carry(self, seen: Sighting, hands: list[Hand], along: float) -> Array:
        """Carry both corners in an arc onto the near ones, and lay them down."""
        ways = [np.linalg.norm(near - hand.xy) for near, hand in zip(
            seen.near, hands, strict=True
        )]
        way = float(max(ways))
        if way < 0.012 and all(hand.z < _LAY + 0.006 for hand in hands):
            return np.concatenate([
                self._move(hand, hand.xy, hand.z, hand.yaw, APPROACH) for hand in hands
            ])
        # Half a turn about the fold: low at both ends, highest in the middle.
        share = float(np.clip(way / LENGTH_M, 0.0, 1.0))
        height = _LAY + (self._top - _LAY) * float(np.sin(np.pi * (0.12 + 0.88 * share) * 0.62))
        height = _LAY + (height - _LAY) * ramp(way, 0.006, 0.05)
        return np.concatenate([
            self._move(
                hand, near, height, near_yaw(along, hand.yaw), _SHUT, float(one) / max(way, 1e-6)
            ) for hand, near, one in zip(hands, seen.near, ways, strict=True)
        ])

    def _move(
        self, hand: Hand, xy: Array, z: float, yaw: float, grip: float, share: float = 1.0
    ) -> Array:
        return hand.toward(xy, z, yaw, grip, share=share, speed=self._speed)


def _unit(vector: Array) -> Array:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))
