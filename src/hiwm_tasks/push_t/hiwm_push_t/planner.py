"""A planner that pushes the T to its goal with two pushers. It needs only poses.

Off-task data uses it for pushes of every kind, and `carrier` for a T whose ends are out of reach.
It picks two contacts on the T's outline whose quasi-static pushes best reduce the pose error,
drives round the T to them, pushes, and picks again. The motion model is the ellipsoidal limit
surface of Lynch and Mason (Stable Pushing, IJRR 1996) for a frictionless contact: force f at r
moves the T along (f, r x f / c^2).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.grid_path import GridPath
from hiwm_push_t import shape
from hiwm_push_t.goal import Goal

Array = NDArray[np.float64]

PUSHER_RADIUS_M = 0.012
# Ratio of the largest friction torque to the largest friction force of the resting T, in units of
# its side: the mean distance of its support corners from the centre of mass.
CHARACTERISTIC_UNITS = 1.93
STANDOFF_M = 0.012  # gap kept between pusher and outline before a push
SPACING_UNITS = 0.5  # between candidate contacts along the outline
STEP_M = 0.011  # largest step of a tick, inside the embodiment's 12 mm
REACH_M = 0.05  # longest single push considered
TRAVEL_WEIGHT = 0.06  # price of driving 1 m, against 1 m of remaining pose error
PATIENCE_TICKS = 60  # of one push, before another is picked


@dataclass
class Push:
    """Contacts chosen for both arms, in the object frame. Row = arm; NaN = arm not used."""

    contact: Array  # [2, 2] point on the outline, m
    normal: Array  # [2, 2] unit vector into the T
    error_m: float  # length of the pose error when it was chosen
    approaching: bool = True
    ticks: int = 0
    paths: list[Array] = field(default_factory=lambda: [np.zeros((0, 2))] * 2)


def contact_candidates(unit_m: float, clearance_m: float) -> tuple[Array, Array]:
    """Return points [N, 2] on the outline a pusher can touch, and inward normals [N, 2].

    Args:
        unit_m: the T's unit.
        clearance_m: radius of the pusher.
    """
    corners = shape.OUTLINE * unit_m
    points, normals = [], []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        length = float(np.linalg.norm(b - a))
        along = (b - a) / length
        inward = np.array([-along[1], along[0]])  # the outline runs counter-clockwise
        count = max(1, round(length / (SPACING_UNITS * unit_m)) - 1)
        for share in (np.arange(count) + 1) / (count + 1):
            points.append(a + share * (b - a))
            normals.append(inward)
    p, n = np.array(points), np.array(normals)
    free = shape.signed_distance(p - n * clearance_m, unit_m) > clearance_m * 0.97
    return p[free], n[free]


class PushPlanner:
    """Targets for both pushers, tick by tick.

    Args:
        goal: gives the T, its goal and the coverage that counts.
        embodiment: two arms, x and y each, absolute targets in m.
        rng_seed: varies which of several good pushes is taken.
        stop_coverage: coverage at which the planner is satisfied; a little above the task's own.
        noise: relative size of the random part in choosing a push.
    """

    def __init__(
        self, goal: Goal, embodiment: Embodiment, rng_seed: int = 0,
        stop_coverage: float | None = None, noise: float = 0.15,
    ) -> None:
        self._goal = np.array(goal.pose)
        self._unit = goal.unit_m
        self._length = CHARACTERISTIC_UNITS * goal.unit_m
        self._lower = embodiment.lower[:2]
        self._upper = embodiment.upper[:2]
        self._home = np.array(embodiment.home).reshape(2, 2)
        self._stop = stop_coverage or min(0.97, goal.success_coverage + 0.05)
        self._noise = noise
        self._rng = np.random.default_rng(rng_seed)
        self._points, self._normals = contact_candidates(self._unit, PUSHER_RADIUS_M)
        cross = (
            self._points[:, 0] * self._normals[:, 1] - self._points[:, 1] * self._normals[:, 0]
        )
        scale = 1.0 / (1.0 + (cross / self._length) ** 2)
        # Twist per metre pushed, rotation as arc at the characteristic length: [N, 3], m.
        self._twists = np.column_stack(
            [self._normals * scale[:, None], cross / self._length * scale]
        )
        self._push: Push | None = None
        self._idle_pushes = 0

    def reset(self) -> None:
        """Forget the push under way."""
        self._push = None
        self._idle_pushes = 0

    def coverage(self, object_pose: Array) -> float:
        """Return the share of the goal a T at a pose [x, y, yaw] covers."""
        return shape.coverage(object_pose, self._goal, self._unit)

    def done(self, object_pose: Array) -> bool:
        """Return whether the T at a pose covers the goal well enough to stop."""
        return self.coverage(object_pose) >= self._stop

    def targets(self, object_pose: Array, pushers: Array) -> Array:
        """Return the next absolute targets of both pushers.

        Args:
            object_pose: [x, y, yaw] of the T, m and rad, table frame.
            pushers: [4] positions left x, left y, right x, right y, m, table frame.

        Returns:
            [4] in the same order, each arm at most `STEP_M` from where it is.
        """
        pushers_xy = np.asarray(pushers, dtype=float).reshape(2, 2)
        if self.done(object_pose):
            return self._retreat(object_pose, pushers_xy).reshape(4)
        for _ in range(2):
            if self._push is None:
                self._push = self._choose(object_pose, pushers_xy)
            moved = self._follow(self._push, object_pose, pushers_xy)
            if moved is not None:
                return np.clip(moved, self._lower, self._upper).reshape(4)
            gained = self._push.error_m - float(np.linalg.norm(self.error(object_pose)))
            # A push that gained nothing would be picked again: look further afield.
            self._idle_pushes = 0 if gained > 0.002 else self._idle_pushes + 1
            self._push = None
        return pushers_xy.reshape(4).copy()

    def error(self, object_pose: Array) -> Array:
        """Return goal minus pose in the object frame, [dx, dy, arc], m."""
        offset = (self._goal[:2] - object_pose[:2]) @ shape.rotation(float(object_pose[2]))
        arc = shape.wrap(float(self._goal[2] - object_pose[2])) * self._length
        return np.array([offset[0], offset[1], arc])

    def _choose(self, pose: Array, pushers_xy: Array) -> Push:
        """Pick the contacts whose push leaves the least error, travel included."""
        error = self.error(pose)
        places = shape.to_table(
            self._points - self._normals * (PUSHER_RADIUS_M + STANDOFF_M), pose
        )
        reachable = ((places >= self._lower) & (places <= self._upper)).all(axis=1)
        index = np.flatnonzero(reachable)
        if len(index) == 0:
            index = np.arange(len(self._points))
        twists, places = self._twists[index], places[index]
        travel = np.linalg.norm(pushers_xy[:, None] - places[None], axis=-1)  # [2, N]
        # A single contact.
        amount = np.clip((twists @ error) / (twists**2).sum(1), 0.0, REACH_M)
        single = np.linalg.norm(error - amount[:, None] * twists, axis=1)
        # Two contacts: least squares in closed form, pairs with a negative amount left out.
        gram = twists @ twists.T
        dot = twists @ error
        square = np.diag(gram)
        det = square[:, None] * square[None] - gram**2
        with np.errstate(divide="ignore", invalid="ignore"):
            first = (square[None] * dot[:, None] - gram * dot[None]) / det
        second = first.T
        valid = (det > 1e-4) & (first > 0.002) & (second > 0.002)
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
        valid &= apart > 2 * PUSHER_RADIUS_M + 0.008
        # A push longer than REACH_M is cut; both amounts shrink alike.
        first, second = np.where(valid, first, 1.0), np.where(valid, second, 1.0)
        cut = np.minimum(1.0, REACH_M / np.maximum(first, second))
        moved = (
            (first * cut)[..., None] * twists[:, None] + (second * cut)[..., None] * twists[None]
        )
        double = np.where(valid, np.linalg.norm(error - moved, axis=-1), np.inf)
        double = double + TRAVEL_WEIGHT * (travel[0][:, None] + travel[1][None])
        lone = single[None] + TRAVEL_WEIGHT * travel
        length = float(np.linalg.norm(error))
        spread = self._noise * length * (0.3 + 1.5 * min(3, self._idle_pushes))
        double = double + self._rng.uniform(0, spread + 1e-12, double.shape)
        lone = lone + self._rng.uniform(0, spread + 1e-12, lone.shape)
        contact = np.full((2, 2), np.nan)
        normal = np.full((2, 2), np.nan)
        if np.min(double) < np.min(lone):
            left, right = np.unravel_index(int(np.argmin(double)), double.shape)
            chosen = [(0, int(left)), (1, int(right))]
        else:
            best_arm, best = np.unravel_index(int(np.argmin(lone)), lone.shape)
            chosen = [(int(best_arm), int(best))]
        for arm, i in chosen:
            contact[arm] = self._points[index[i]]
            normal[arm] = self._normals[index[i]]
        return Push(contact=contact, normal=normal, error_m=length)

    def _follow(self, push: Push, pose: Array, pushers_xy: Array) -> Array | None:
        """Return where both pushers go next, or None once this push has nothing more to give."""
        push.ticks += 1
        if push.ticks > PATIENCE_TICKS:
            return None
        used = [arm for arm in (0, 1) if not np.isnan(push.contact[arm, 0])]
        if push.approaching:
            moved = pushers_xy.copy()
            arrived = True
            for arm in (0, 1):
                if arm in used:
                    place = shape.to_table(
                        (push.contact[arm] - push.normal[arm] * (PUSHER_RADIUS_M + STANDOFF_M))[
                            None
                        ],
                        pose,
                    )[0]
                    arrived &= bool(np.linalg.norm(place - pushers_xy[arm]) < 0.006)
                else:
                    place = self._out_of_the_way(pose, pushers_xy[arm])
                moved[arm] = self._towards(push, arm, place, pose, pushers_xy)
            if not arrived:
                return moved
            push.approaching = False
            push.ticks = 0
        return self._press(push, used, pose, pushers_xy)

    def _press(self, push: Push, used: list[int], pose: Array, pushers_xy: Array) -> Array | None:
        error = self.error(pose)
        turn = shape.rotation(float(pose[2]))
        twists, gaps = [], []
        for arm in used:
            r, n = push.contact[arm], push.normal[arm]
            cross = float(r[0] * n[1] - r[1] * n[0])
            scale = 1.0 / (1.0 + (cross / self._length) ** 2)
            twists.append(np.array([n[0] * scale, n[1] * scale, cross / self._length * scale]))
            place = shape.to_table((r - n * PUSHER_RADIUS_M)[None], pose)[0]
            gaps.append(place - pushers_xy[arm])
        matrix = np.array(twists).T
        amounts = np.linalg.lstsq(matrix, error, rcond=None)[0]
        if len(used) == 2 and amounts.min() < 0:
            # One of the two has done its part: the other goes on alone while it helps.
            k = int(np.argmax(amounts))
            alone = max(0.0, float(matrix[:, k] @ error / (matrix[:, k] @ matrix[:, k])))
            amounts = np.zeros(2)
            amounts[k] = alone
        amounts = np.maximum(amounts, 0.0)
        moved = pushers_xy.copy()
        if amounts.max() < 0.0015:
            return None
        closing = False
        for k, arm in enumerate(used):
            inward = turn @ push.normal[arm]
            gap = float(gaps[k] @ inward)
            sideways = gaps[k] - gap * inward
            if np.linalg.norm(sideways) > 0.02:
                return None  # slid off the contact
            if gap > 0.002:
                closing = True
        for k, arm in enumerate(used):
            inward = turn @ push.normal[arm]
            gap = float(gaps[k] @ inward)
            sideways = gaps[k] - gap * inward
            if closing:
                forward = min(max(gap, 0.0), STEP_M * 0.7) if amounts[k] > 0 else 0.0
            elif amounts[k] > 0:
                share = amounts[k] / amounts.max()
                forward = max(gap, 0.0) + min(share * STEP_M, 0.8 * amounts[k] + 0.0008)
            else:
                forward = -0.004
            step = forward * inward + 0.5 * sideways
            moved[arm] = pushers_xy[arm] + shortened(step, STEP_M)
        for arm in (0, 1):
            if arm not in used:
                place = self._out_of_the_way(pose, pushers_xy[arm])
                moved[arm] = self._towards(push, arm, place, pose, pushers_xy)
        return moved

    def _towards(self, push: Push, arm: int, place: Array, pose: Array, pushers_xy: Array) -> Array:
        """Return the next point on a way to `place` round the T and the other pusher."""
        if push.ticks % 4 == 1 or len(push.paths[arm]) == 0:
            push.paths[arm] = GridPath(self._lower, self._upper).route(
                pushers_xy[arm], place,
                lambda points: self._blocked(points, pose, pushers_xy[1 - arm]),
            )
        path = push.paths[arm]
        while len(path) > 1 and np.linalg.norm(path[0] - pushers_xy[arm]) < 0.006:
            path = path[1:]
        push.paths[arm] = path
        return np.asarray(pushers_xy[arm] + shortened(path[0] - pushers_xy[arm], STEP_M))

    def _blocked(self, points: Array, pose: Array, other: Array) -> NDArray[np.bool_]:
        """Return which table points [N, 2] a pusher's centre must not enter."""
        distance = shape.signed_distance(shape.to_object(points, pose), self._unit)
        near = np.linalg.norm(points - other, axis=1) < 2 * PUSHER_RADIUS_M + 0.004
        blocked: NDArray[np.bool_] = (distance < PUSHER_RADIUS_M + 0.007) | near
        return blocked

    def _out_of_the_way(self, pose: Array, hand: Array) -> Array:
        """Return where an unused arm waits: where it is, a little off the T."""
        distance = shape.signed_distance(shape.to_object(hand[None], pose), self._unit)[0]
        if distance > PUSHER_RADIUS_M + 0.02:
            return hand
        away = hand - pose[:2]
        away = away / max(1e-6, float(np.linalg.norm(away)))
        return np.asarray(np.clip(hand + 0.03 * away, self._lower, self._upper))

    def _retreat(self, pose: Array, pushers_xy: Array) -> Array:
        moved = pushers_xy.copy()
        for arm in (0, 1):
            place = self._out_of_the_way(pose, pushers_xy[arm])
            moved[arm] = pushers_xy[arm] + shortened(place - pushers_xy[arm], STEP_M)
        return moved


def shortened(step: Array, longest: float) -> Array:
    """Return a step [2], shortened to a length where it is longer."""
    length = float(np.linalg.norm(step))
    return step if length <= longest else step * (longest / length)
