"""Limits every action before it moves a world.

The robot bridge applies the limits as its last step. Imagination applies the same code, so recorded
and imagined actions agree. Tested by ``test_limits.py`` and ``test_limits_of_rotations.py``.

Targets are limited relative to the **last target sent**. Steps from the measured position would
stall a robot that lags or does not move for small errors. There are four bounds, strongest first:

1. *Following error*: a target leads the measured position by at most ``max_following_error``.
   Targets therefore cannot wind up ahead of a blocked arm.
2. *Box*: every entry stays within ``lower`` and ``upper``. An arm measured outside the box may move
   back in, but never further out.
3. *Velocity*: a target is at most ``max_velocity * dt`` away from the last one.
4. *Acceleration*: the step of this tick differs from the previous step by at most
   ``max_acceleration * dt ** 2``. Staying at the last target and returning to the measured position
   are stops, which are always allowed, as is a shorter step in the same direction.

Positions in m of one group form one vector, limited by the smallest limit among them. A 6D rotation
is limited by its angle; it is made orthonormal first, and refused if it is degenerate. A yaw
without limits takes the short way round. Every other entry is limited separately.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.action_parts import Array, Part, parts_of

if TYPE_CHECKING:
    from hiwm_core.embodiment import Embodiment


@dataclass(frozen=True, kw_only=True)
class LimiterState:
    """The complete state of a limiter; saved and restored with a world.

    ``sent``: float64 ``[A]``, the last target sent; NaN before the first.
    ``previous_step``: float64 ``[A]``, its step from the target before, embodiment order and units;
    for a 6D rotation a rotation vector in rad and three zeros.
    """

    sent: NDArray[np.float64]
    previous_step: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LimitResult:
    """The action that may be sent to the controllers.

    ``action``: float64 ``[A]``, finite, embodiment order and units.
    ``state``: input of the next call.
    ``following_limited``, ``velocity_limited``, ``box_limited``, ``acceleration_limited``: the
    bound changed the request.
    ``held``: the request was refused; ``action`` is the measured position.
    ``reason``: why it was held, as text; empty otherwise.
    """

    action: NDArray[np.float64]
    state: LimiterState
    following_limited: bool = False
    velocity_limited: bool = False
    box_limited: bool = False
    acceleration_limited: bool = False
    held: bool = False
    reason: str = ""

    @property
    def limited(self) -> bool:
        """Whether a bound changed the request, or the request was refused."""
        return (
            self.following_limited or self.velocity_limited or self.box_limited
            or self.acceleration_limited or self.held
        )

    @property
    def note(self) -> str:
        """Why the request was changed or held, for the person; empty if it was not."""
        if self.held:
            return f"held: the action {self.reason}"
        bounds = {
            "following error": self.following_limited, "velocity": self.velocity_limited,
            "box": self.box_limited, "acceleration": self.acceleration_limited,
        }
        acted = [name for name, there in bounds.items() if there]
        return f"limited by {', '.join(acted)}" if acted else ""


class Limiter:
    """Limit absolute targets of one embodiment. Stateless."""

    def __init__(self, embodiment: Embodiment) -> None:
        """Read the limits of ``embodiment.actions``; ``dt`` defaults to one tick of its rate."""
        self._names = tuple(entry.name for entry in embodiment.actions)
        self._dt = 1.0 / float(embodiment.rate_hz)
        self._parts: tuple[Part, ...] = parts_of(embodiment)
        # Views instead of copies, where a part's entries lie side by side.
        self._places = tuple(_place(part.entries) for part in self._parts)
        self._refusing = tuple(
            (part, at) for part, at in zip(self._parts, self._places, strict=True)
            if type(part).problem is not Part.problem
        )
        self._bounds = self._squared_bounds(self._dt)

    @property
    def action_dim(self) -> int:
        """Number of entries of an action."""
        return len(self._names)

    def initial_state(self) -> LimiterState:
        """Return the state after a reset, or before the first command: nothing was sent yet."""
        return self.at_rest(np.full(self.action_dim, math.nan))

    def at_rest(self, target: ArrayLike) -> LimiterState:
        """Return the state after ``target`` ``[A]`` was sent without passing through the limits."""
        sent = np.array(target, dtype=np.float64)
        return LimiterState(sent=sent, previous_step=np.zeros(self.action_dim))

    def problem(self, action: ArrayLike) -> str:
        """Return why ``action`` is unusable, as text; empty if it is usable."""
        problem = action_problem(action, self._names)
        if problem:
            return problem
        values = np.asarray(action, dtype=np.float64)
        for part, at in self._refusing:
            problem = part.problem(values[at])
            if problem:
                return problem
        return ""

    def limit(
        self,
        requested: ArrayLike,
        measured: ArrayLike,
        state: LimiterState,
        dt: float | None = None,
    ) -> LimitResult:
        """Limit one absolute target.

        ``requested``: ``[A]``, embodiment order and units, any values. It is refused, which means
        hold, if its length is wrong, an entry is not finite, or a 6D rotation is degenerate.
        ``measured``: ``[A]``, current position of the arms; finite.
        ``dt``: duration of this action, seconds; one tick by default.
        Raises ``ValueError`` for an invalid ``measured`` or ``dt``.
        """
        position = self._measured(measured)
        seconds = self._dt if dt is None else float(dt)
        if not (math.isfinite(seconds) and seconds > 0.0):
            raise ValueError(f"dt {seconds} s (Limiter.limit): pass the positive length of a tick")
        problem = self.problem(requested)
        if problem:
            return self.hold(position, problem)

        wanted = np.asarray(requested, dtype=np.float64)
        action, steps = np.empty_like(wanted), np.zeros_like(wanted)
        following = fast = boxed = sudden = False
        bounds = self._bounds if seconds == self._dt else self._squared_bounds(seconds)
        for part, at, most in zip(self._parts, self._places, bounds, strict=True):
            ask, here, sent = wanted[at], position[at], state.sent[at]
            base = here if math.isnan(sent[0]) else sent
            previous = state.previous_step[at]
            if part.inside(ask, here, base, previous, most):
                action[at], steps[at] = ask, ask - base
                continue
            done = _limited(part, ask, here, sent, previous, seconds)
            action[at], steps[at] = done.target, done.step
            following |= done.following
            fast |= done.fast
            boxed |= done.boxed
            sudden |= done.sudden
        return LimitResult(
            action=action,
            state=LimiterState(sent=action, previous_step=steps),
            following_limited=following,
            velocity_limited=fast,
            box_limited=boxed,
            acceleration_limited=sudden,
        )

    def hold(self, measured: ArrayLike, reason: str) -> LimitResult:
        """Return the measured position, with the reason for holding it."""
        position = self._measured(measured)
        return LimitResult(
            action=position.copy(), state=self.at_rest(position), held=True, reason=reason
        )

    def _squared_bounds(self, seconds: float) -> tuple[Array, ...]:
        return tuple(part.squared_bounds(seconds) for part in self._parts)

    def _measured(self, measured: ArrayLike) -> Array:
        problem = self.problem(measured)
        if problem:
            raise ValueError(
                f"measured position {problem} (Limiter): pass the newest finite joint state"
            )
        return np.asarray(measured, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class _Limited:
    """A limited part: its target, its step from the last target, and the bounds that acted."""

    target: Array
    step: Array  # as `LimiterState.previous_step`
    following: bool
    fast: bool
    boxed: bool
    sudden: bool


def _limited(
    part: Part, wanted: Array, measured: Array, sent: Array, previous: Array, seconds: float
) -> _Limited:
    """Return one part within its bounds.

    Args:
        part: says what its values mean.
        wanted: usable values.
        measured: usable values.
        sent: values of the last target; NaN before the first.
        previous: the step that led to it, as `_Limited.step`.
        seconds: duration of this action.
    """
    error = part.bounds.following_error
    here, asked = part.point(measured), part.point(wanted)
    goal = part.boxed(asked, here)
    base = here if math.isnan(sent[0]) else part.point(sent)
    # An arm that was pushed away takes its last target along.
    lead = part.between(here, base)
    kept = part.shortened(lead, error)
    if kept is not lead:
        base = part.moved(here, kept)
    wish = part.between(base, goal)
    step, fast, sudden = _smooth(part, wish, part.between(base, here), previous, seconds)
    target = goal
    if fast or sudden:
        # Entries that are not limited keep the goal to the last bit.
        target = part.kept(goal, part.boxed(part.moved(base, step), here), step == wish)
    lead = part.between(here, target)
    kept = part.shortened(lead, error)
    following = kept is not lead
    if following:
        target = part.kept(target, part.boxed(part.moved(here, kept), here), kept == lead)
    step = part.between(base, target)
    return _Limited(
        target=wanted if target is asked and part.is_exact(wanted) else part.values(target),
        step=step if len(step) == len(wanted) else np.pad(step, (0, len(wanted) - len(step))),
        following=following, fast=fast, boxed=goal is not asked, sudden=sudden,
    )


def _smooth(
    part: Part, step: Array, to_measured: Array, previous: Array, seconds: float
) -> tuple[Array, bool, bool]:
    """Return a step within velocity and acceleration, and which of them acted."""
    longest, gentlest = part.bounds.velocity * seconds, part.bounds.acceleration * seconds**2
    last = previous[: len(step)]
    stops = (part.norms(step) <= part.tolerance) | (
        part.norms(step - to_measured) <= part.tolerance
    )
    short = part.shortened(step, longest)
    change = short - last
    easy = stops | (part.norms(change) <= gentlest + part.tolerance)
    if not easy.all():
        easy |= _slower(part, short, last)
    if easy.all():
        if short is step or not stops.any():
            return short, short is not step, False
        chosen = np.where(part.spread(stops), step, short)
        return chosen, bool((chosen != step).any()), False
    gentle = part.shortened(last + part.shortened(change, gentlest), longest)
    chosen = np.where(part.spread(stops), step, np.where(part.spread(easy), short, gentle))
    return chosen, bool((np.where(part.spread(stops), step, short) != step).any()), True


def _slower(part: Part, step: Array, previous: Array) -> NDArray[np.bool_]:
    """Return which vectors of a step are shorter than the last one's, in the same direction."""
    before = part.norms(previous)
    moving = before > part.tolerance
    way = previous / part.spread(np.where(moving, before, 1.0))
    length = part.products(step, way)
    straight = part.norms(step - part.spread(length) * way) <= part.tolerance
    slower: NDArray[np.bool_] = moving & (length >= 0.0) & (length <= before) & straight
    return slower


def _place(entries: NDArray[np.int_]) -> slice | NDArray[np.int_]:
    """Return a part's entries as a slice if they lie side by side, else as indices."""
    first, count = int(entries[0]), len(entries)
    together = np.array_equal(entries, np.arange(first, first + count))
    return slice(first, first + count) if together else entries


def action_problem(action: ArrayLike, names: tuple[str, ...]) -> str:
    """Return why ``action`` is not an action with entries ``names``, as text; empty if it is."""
    try:
        values = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError):
        return "is not a list of numbers"
    if values.shape != (len(names),):
        shape = f"{values.size} entries" if values.ndim == 1 else f"shape {list(values.shape)}"
        return f"has {shape} where {len(names)} are expected ({', '.join(names)})"
    if np.isfinite(values).all():
        return ""
    for name, value in zip(names, values, strict=True):
        if not math.isfinite(value):
            return f"has a {name} that is not finite ({value})"
    return ""
