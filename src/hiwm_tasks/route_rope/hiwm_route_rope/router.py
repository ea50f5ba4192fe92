"""Lays a rope into two clips: the control that the expert and the scripted operator share.

It is a function of what is seen now: where the rope and the clips lie, which clips hold the rope,
and where the hands are. It remembers nothing, so it can start anywhere, also after a missed or
slipped grasp or with the rope in one clip, and it can be imitated from single observations.

Both hands grasp the rope as far apart as two points just outside the clips, lift it, hold it over
the clips, and lower it into them. With the rope in one clip, the hand on that side keeps it there.
"""

from dataclasses import dataclass

import numpy as np

from hiwm_route_rope.names import Array
from hiwm_route_rope.shape import crossing
from hiwm_yam_pair.hands import APPROACH, LEFT, RIGHT, Hand, hands_of, near_yaw, ramp

# Heights of the tips [m]: above the rope, at it, over the clips, and in them.
_HOVER, _GRASP, _CARRY, _LAY = 0.075, 0.011, 0.062, 0.012
# A rope beside a clip may hang under its lip: it is carried this much higher [m], and beside the
# clip while it is low.
_OVER, _ASIDE = 0.045, 0.03
_SLACK = 1.03  # of the rope between the hands, when it is grasped
# Over the clips it is pulled straight, so that it does not bow out of them: share of its length,
# and the farthest from a clip that a hand goes for it [m].
_STRAIGHT, _FARTHEST_M = 1.004, 0.085
# How far beyond the planned place a hand may take the rope [m]: when high, and more when low.
_FREE_M, _FREE_LOW_M = 0.012, 0.05
# A hand takes the rope at most this far beyond what is seen of it, and turns as the rope does where
# it is seen [m].
_INTO_M, _AHEAD_M = 0.02, 0.03
# Beside a clip, walls are in the fingers' way. So the rope is taken farther out or in by one of
# these [m], this far from the clip's middle; a metre less costs as much as so many of a shift.
_SHIFTS_M = np.linspace(-0.03, 0.08, 23)
_CLEAR_M, _PER_M = 0.036, 4.0
# Gripper ratios: shut, and those that a rope between the fingers leaves.
_SHUT = 0.0
HELD = (0.10, 0.26)
# A hand goes down within the first error [m] and stays up beyond the second; a radian counts as
# `_LEVER`.
_DOWN, _UP, _LEVER = 0.007, 0.028, 0.03


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What is known of the table."""

    rope: Array  # [N, 2], m, from the right end to the left one
    clips: Array  # [2, 3], x, y [m] and yaw [rad] of the left and the right clip
    routed: tuple[bool, bool]  # whether each clip holds the rope
    guessed_m: tuple[float, float] = (0.0, 0.0)  # of the rope's right and left end: not seen


class Router:
    """Targets of both hands.

    Args:
        home: action [10] of both hands at home.
        outside_m: from a clip's middle outwards to the hand.
        speed: share of the full speed.

    Attributes:
        trusting: whether a hand that has shut is believed to hold the rope, also if it is empty.
    """

    # From a clip's middle outwards to the hand: beyond the walls and a finger's half width.
    OUTSIDE_M = 0.050

    def __init__(self, home: Array, *, outside_m: float = OUTSIDE_M, speed: float = 1.0) -> None:
        self._home = np.asarray(home, dtype=np.float64).reshape(2, 5)
        self._outside, self._speed = outside_m, speed
        self.trusting = False

    def targets(self, seen: Sighting, measured: Array) -> Array:
        """Return the next action [10]."""
        hands = hands_of(measured)
        low = all(hand.z < 0.028 for hand in hands if self._holds(hand))
        if all(seen.routed) and low:
            return np.concatenate([
                hand.leaving(home, self._speed)
                for hand, home in zip(hands, self._home, strict=True)
            ])
        places, across = self._places(seen.clips)
        if all(self._holds(hand) for hand in hands):
            return self._carry(seen, hands, self._taut(seen, hands), across)
        grasps = self._grasps(seen, hands, places)
        return np.concatenate([
            self._wait(hand) if self._holds(hand) else self._take(hand, *grasp)
            for hand, grasp in zip(hands, grasps, strict=True)
        ])

    def done(self, seen: Sighting, measured: Array) -> bool:
        """Return whether the rope lies in both clips and both hands have left it."""
        hands = np.asarray(measured).reshape(2, 5)
        return all(seen.routed) and bool((hands[:, 4] > 0.4).all() and (hands[:, 2] > 0.07).all())

    def _holds(self, hand: Hand) -> bool:
        return (self.trusting or hand.grip > HELD[0]) and hand.grip < HELD[1]

    # Where

    def _places(self, clips: Array) -> tuple[Array, float]:
        """Return where the hands lay the rope [2, 2], and the yaw of the fingers there."""
        away = clips[LEFT, :2] - clips[RIGHT, :2]
        away = away / np.linalg.norm(away)
        places = np.stack([
            clips[LEFT, :2] + self._outside * away, clips[RIGHT, :2] - self._outside * away
        ])
        return places, float(np.arctan2(away[1], away[0]) - np.pi / 2)

    def _taut(self, seen: Sighting, hands: list[Hand]) -> Array:
        """Return where the hands lay the rope that they hold, [2, 2], so that it is straight."""
        line = _Line(seen.rope)
        length = abs(line.nearest(hands[LEFT].xy) - line.nearest(hands[RIGHT].xy)) * _STRAIGHT
        clips = seen.clips[:, :2]
        away = clips[LEFT] - clips[RIGHT]
        apart = float(np.linalg.norm(away))
        outside = (length - apart) / 2
        for side, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
            if seen.routed[side] and not seen.routed[other]:
                outside = length - float(np.linalg.norm(hands[side].xy - clips[other]))
        away = away / apart * np.clip(outside, self._outside - 0.006, _FARTHEST_M)
        return np.stack([clips[LEFT] + away, clips[RIGHT] - away])

    def _grasps(
        self, seen: Sighting, hands: list[Hand], places: Array
    ) -> list[tuple[Array, float]]:
        """Return the point [2] and yaw at which each hand takes the rope."""
        line = _Line(seen.rope)
        span = float(np.linalg.norm(places[LEFT] - places[RIGHT])) * _SLACK
        middle = line.length / 2
        arcs = [middle + span / 2, middle - span / 2]
        for side, other, sign in ((LEFT, RIGHT, 1.0), (RIGHT, LEFT, -1.0)):
            if seen.routed[side] and not seen.routed[other]:
                # The clip holds its part of the rope: measure from there.
                clip = line.nearest(seen.clips[side, :2])
                arcs[side] = clip + sign * self._outside
                arcs[other] = arcs[side] - sign * span
        for side, other, sign in ((LEFT, RIGHT, 1.0), (RIGHT, LEFT, -1.0)):
            if self._holds(hands[side]):
                arcs[other] = line.nearest(hands[side].xy) - sign * span
        arcs = [
            self._clear(line, arc, sign, seen) for arc, sign in zip(arcs, (1.0, -1.0), strict=True)
        ]
        found = []
        for arc, hand, sign in zip(arcs, hands, (1.0, -1.0), strict=True):
            # Arms hide the rope's ends, so that the plan shifts while they come near. A hand takes
            # the rope where it comes down: farther out is as good, and the lower the more so.
            out = sign * (line.nearest(hand.xy) - arc)
            free = _FREE_M + _FREE_LOW_M * (1.0 - ramp(hand.z, 0.035, _HOVER))
            arc += sign * float(np.clip(out, -free / 2, free))
            # A guessed end may bend.
            low, high = seen.guessed_m[0] - _INTO_M, line.length - seen.guessed_m[1] + _INTO_M
            arc = float(np.clip(arc, low, max(low, high)))
            straight = line.direction(float(np.clip(arc, low + _AHEAD_M, high - _AHEAD_M)))
            yaw = near_yaw(straight + np.pi / 2, hand.yaw)
            found.append((line.at(arc), yaw))
        return found

    def _clear(self, line: "_Line", arc: float, sign: float, seen: Sighting) -> float:
        """Return the arc length nearest to one at which no clip is in the fingers' way."""
        others = [clip[:2] for clip, held in zip(seen.clips, seen.routed, strict=True) if not held]
        shifts = _SHIFTS_M[np.argsort(np.abs(_SHIFTS_M), kind="stable")]

        def cost(shift: float) -> float:
            place = line.at(arc + sign * shift)
            near = min((float(np.linalg.norm(place - clip)) for clip in others), default=np.inf)
            return abs(shift) + _PER_M * max(0.0, _CLEAR_M - near)

        return arc + sign * float(min(shifts, key=cost))

    # How

    def _take(self, hand: Hand, point: Array, yaw: float) -> Array:
        """Go above the rope, down, and close."""
        error = float(np.linalg.norm(point - hand.xy)) + _LEVER * abs(yaw - hand.yaw)
        if hand.grip < HELD[0]:  # shut on nothing
            return hand.toward(hand.xy, _GRASP + 0.02, hand.yaw, APPROACH, speed=self._speed)
        if hand.z < _GRASP + 0.007 and error < 0.016:
            return hand.toward(hand.xy, _GRASP, hand.yaw, _SHUT, speed=self._speed)
        height = _GRASP + (_HOVER - _GRASP) * ramp(error, _DOWN, _UP)
        return hand.toward(point, height, yaw, APPROACH, speed=self._speed)

    def _wait(self, hand: Hand) -> Array:
        """Keep the rope low until the other hand has it too."""
        return hand.toward(hand.xy, _LAY, hand.yaw, _SHUT, speed=self._speed)

    def _carry(self, seen: Sighting, hands: list[Hand], places: Array, across: float) -> Array:
        """Carry the rope over the clips and lower it; a side that is routed stays down."""
        errors = np.array([
            np.linalg.norm(place - hand.xy) for place, hand in zip(places, hands, strict=True)
        ])
        free = [side for side in (LEFT, RIGHT) if not seen.routed[side]] or [LEFT, RIGHT]
        error = float(errors[free].max())
        aside = np.array([_beside(seen.rope, clip) for clip in seen.clips])
        bowed = float(np.abs(aside[free]).max())
        top = _CARRY + _OVER * ramp(bowed, 0.009, 0.016)
        height = _LAY + (top - _LAY) * ramp(max(error, bowed), 0.007, 0.02)
        if error < 0.010 and all(hands[side].z < _LAY + 0.004 for side in free):
            # Laid beside a clip, or on it: let go, and take it anew.
            return np.concatenate([
                hand.toward(hand.xy, hand.z, hand.yaw, APPROACH, speed=self._speed)
                for hand in hands
            ])
        actions = []
        for side, (hand, place) in enumerate(zip(hands, places, strict=True)):
            if side not in free:
                actions.append(self._wait(hand))
                continue
            yaw = near_yaw(across, hand.yaw)
            share = errors[side] / max(error, 1e-6)  # both arrive together
            low = 1.0 - ramp(hand.z, 0.07, 0.10)
            turn = seen.clips[side, 2]
            away = float(np.clip(aside[side], -_ASIDE, _ASIDE)) * ramp(bowed, 0.009, 0.016) * low
            there = place + away * np.array([np.cos(turn), np.sin(turn)])
            actions.append(hand.toward(
                there, height, yaw, _SHUT, share=max(share, low), speed=self._speed
            ))
        return np.concatenate(actions)


def _beside(rope: Array, clip: Array) -> float:
    """Return how far beside the middle of a clip's channel the rope is [m], by sign.

    A rope that does not pass the clip is on the arms' side of it.
    """
    places = [crossing(rope, clip, along) for along in (-0.008, 0.008)]
    return float(np.nan_to_num(max(places, key=abs), nan=-1.0))


class _Line:
    """A polyline by its arc length."""

    def __init__(self, points: Array) -> None:
        self._points = points[:, :2]
        steps = np.linalg.norm(np.diff(self._points, axis=0), axis=1)
        self._arcs = np.concatenate([[0.0], np.cumsum(steps)])
        self.length = float(self._arcs[-1])

    def at(self, arc: float) -> Array:
        """Return the point [2] at an arc length [m]; 15 mm from an end at least."""
        arc = float(np.clip(arc, 0.015, max(self.length - 0.015, 0.015)))
        return np.array([np.interp(arc, self._arcs, column) for column in self._points.T])

    def direction(self, arc: float) -> float:
        """Return the direction at an arc length, rad."""
        ahead = self.at(arc + 0.02) - self.at(arc - 0.02)
        return float(np.arctan2(ahead[1], ahead[0]))

    def nearest(self, point: Array) -> float:
        """Return the arc length of the place nearest to a point."""
        fine = np.linspace(0.0, self.length, 200)
        places = np.stack([np.interp(fine, self._arcs, c) for c in self._points.T], axis=1)
        return float(fine[np.linalg.norm(places - point, axis=1).argmin()])
