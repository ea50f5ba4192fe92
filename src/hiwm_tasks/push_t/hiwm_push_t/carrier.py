"""A planner that takes the T between both pushers and carries it to its goal.

The demonstration recorder gives it the stand-in's own pose of the T, the scripted operator the pose
seen in the image. A policy can imitate it from few examples: each arm has its own end of the bar,
and the next target depends only on the T and the pushers, so similar images have similar actions.
If an end of the bar cannot be reached, `planner` pushes the T free first. Only these pushes are
random and depend on the past: a push that has begun is continued.
"""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.grid_path import GridPath
from hiwm_push_t import shape
from hiwm_push_t.goal import Goal
from hiwm_push_t.planner import PUSHER_RADIUS_M, STEP_M, PushPlanner, shortened

Array = NDArray[np.float64]

STANDOFF_M = 0.014  # gap between pusher and end of the bar before both close in
CORRIDOR_M = 0.006  # a pusher this little beside its contact may close in
SLIPPED_M = 0.0165  # one farther from the middle, close to the corner, lets go and comes again
TOUCH_M = 0.0025  # a smaller gap counts as touching
# Targets lie this far inside the bar: the servos' push, which holds the T by friction.
SQUEEZE_M = 0.0035
CARRY_M = 0.007  # longest step of a pusher that carries; what is left of STEP_M squeezes
GAIN = 0.5  # share of the pose error undone in a tick, near the goal
CLEARANCE_M = 0.006  # kept from the T on the way round it ...
VARIED_M = 0.012  # ... and so much more by the most various of continuations
# Above the task's own: what a policy learns ends a little short of what it was shown.
STOP_COVERAGE = 0.96
LOST_M = 0.02  # a pusher seen deeper in the T than that is not holding it: the pose is wrong
CLOSING_M = 0.008  # step with which both close in
NEAR_M = 0.006  # gap of the other arm from which on the last ...
LAST_M = 0.003  # ... of the way is gone, so that both touch within a tick of each other


class CarryPlanner:
    """Targets for both pushers, tick by tick.

    Args:
        goal: gives the T, its goal and the coverage that counts.
        embodiment: two arms, x and y each, absolute targets in m.
        rng_seed: of the pushes that free a T whose ends are out of reach.
        variety: 0..1, how far a way round the T keeps from it, and with it where it leads.
    """

    def __init__(
        self, goal: Goal, embodiment: Embodiment, rng_seed: int = 0, variety: float = 0.0
    ) -> None:
        self._goal = np.array(goal.pose)
        self._unit = goal.unit_m
        self._lower, self._upper = embodiment.lower[:2], embodiment.upper[:2]
        self._clearance = CLEARANCE_M + VARIED_M * variety
        self._freeing = PushPlanner(goal, embodiment, rng_seed, STOP_COVERAGE)
        x0, x1, y0, y1 = shape.BAR
        middle = (y0 + y1) / 2
        self._ends = np.array([(x0, middle), (x1, middle)]) * self._unit  # [2, 2] object frame
        self._inward = np.array([(1.0, 0.0), (-1.0, 0.0)])
        self._grid = GridPath(self._lower, self._upper)

    def done(self, object_pose: Array) -> bool:
        """Return whether the T at a pose [x, y, yaw] covers the goal well enough to stop."""
        return self._freeing.done(object_pose)

    def targets(self, object_pose: Array, pushers: Array) -> Array:
        """Return the next absolute targets [4] of both pushers, as `PushPlanner.targets` does."""
        pushers_xy = np.asarray(pushers, dtype=float).reshape(2, 2)
        if self.done(object_pose):
            return pushers_xy.reshape(4).copy()
        touching = self._ends - self._inward * PUSHER_RADIUS_M
        if not self._within(shape.to_table(touching, object_pose)).all():
            return self._freeing.targets(object_pose, pushers)
        self._freeing.reset()
        # Seen from its end of the bar: gap to it, and how far beside its middle.
        local = shape.to_object(pushers_xy, object_pose) - touching
        gap = -(local * self._inward).sum(1)
        beside = local[:, 1]
        held = (gap < TOUCH_M) & (gap > -LOST_M) & (np.abs(beside) < SLIPPED_M)
        if held.all():
            moved = self._carry(object_pose, beside)
        else:
            moved = self._come(object_pose, pushers_xy, gap, beside)
        steps = [shortened(moved[arm] - pushers_xy[arm], STEP_M) for arm in (0, 1)]
        clipped: Array = np.clip(pushers_xy + np.array(steps), self._lower, self._upper)
        return clipped.reshape(4)

    def _within(self, points: Array) -> NDArray[np.bool_]:
        inside = (points >= self._lower) & (points <= self._upper)
        return np.asarray(inside.all(axis=1))

    def _carry(self, pose: Array, beside: Array) -> Array:
        """Return targets that move the T towards the goal, held where it is held."""
        way = self._goal - pose
        way[2] = shape.wrap(float(way[2]))
        place = self._ends - self._inward * PUSHER_RADIUS_M
        place[:, 1] += beside
        now = shape.to_table(place, pose)
        share = GAIN
        for _ in range(3):  # the farther pusher's way is not quite linear in the share
            longest = np.linalg.norm(shape.to_table(place, pose + share * way) - now, axis=1).max()
            share *= min(1.0, CARRY_M / max(longest, 1e-9))
        return shape.to_table(place + self._inward * SQUEEZE_M, pose + share * way)

    def _come(self, pose: Array, pushers_xy: Array, gap: Array, beside: Array) -> Array:
        """Return targets on the way to the ends of the bar; the arm that is there first waits."""
        # A pusher does not turn, so it rolls along its end while the T turns between the two:
        # they begin on one side of the middle and end as far on the other.
        turn = shape.wrap(float(self._goal[2] - pose[2]))
        contact = PUSHER_RADIUS_M * np.clip(turn, -1.6, 1.6) / 2 * np.array([-1.0, 1.0])
        ready = (np.abs(beside - contact) < CORRIDOR_M) & (gap > -SQUEEZE_M)
        ready &= gap < STANDOFF_M + NEAR_M
        moved = np.zeros((2, 2))
        for arm in (0, 1):
            inward = self._inward[arm]
            place = self._ends[arm] - inward * PUSHER_RADIUS_M + np.array([0.0, contact[arm]])
            if ready.all():
                # Both touch at once, so that neither pushes the T away from the other.
                least = max(gap[arm] - CLOSING_M, 0.0 if gap[1 - arm] < NEAR_M else LAST_M)
                ahead = least if least > 0 else -SQUEEZE_M * 0.5
            else:
                ahead = STANDOFF_M
            aim = shape.to_table((place - inward * ahead)[None], pose)[0]
            aim = np.clip(aim, self._lower, self._upper)
            moved[arm] = aim if ready[arm] else self._towards(pushers_xy, arm, aim, pose)
        return moved

    def _towards(self, pushers_xy: Array, arm: int, aim: Array, pose: Array) -> Array:
        """Return the farthest point in a straight line on the way to `aim` round the T."""
        hand, other = pushers_xy[arm], pushers_xy[1 - arm]

        def blocked(points: Array) -> NDArray[np.bool_]:
            distance = shape.signed_distance(shape.to_object(points, pose), self._unit)
            near = np.linalg.norm(points - other, axis=1) < 2 * PUSHER_RADIUS_M + 0.004
            shut: NDArray[np.bool_] = (distance < PUSHER_RADIUS_M + self._clearance) | near
            return shut

        way = self._grid.route(hand, aim, blocked)
        straight = np.linspace(0, 1, 16)[1:, None]
        for point in way[::-1]:
            if not blocked(hand + straight * (point - hand)).any():
                return np.asarray(point)
        return np.asarray(way[0])
