"""Limits every action before it moves a world.

The robot bridge applies the limits as its last step. Imagination applies the same code, so recorded
and imagined actions agree. Tested by ``test_limits.py``.

There are three bounds, strongest first:

1. *Leash* (velocity): a target is at most ``max_velocity * dt`` away from the **measured** position
   of the arm. Targets therefore cannot wind up ahead of a blocked arm.
2. *Box*: every entry stays within ``lower`` and ``upper``. An arm measured outside the box may move
   back in along the leash, but never further out.
3. *Acceleration*: the step of this tick differs from the previous step by at most
   ``max_acceleration * dt ** 2``. The other two bounds and a hold take precedence: stopping is
   always allowed.

The entries of one arm with unit ``m`` form one vector. Its Euclidean norm is limited by the
smallest limit among them. Every other entry is limited separately.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from hiwm_core.embodiment import Embodiment

# Below the resolution of any encoder. With it, a limited action passes a second time unchanged,
# although measured + (action - measured) is rounded.
_TOLERANCE = 1e-12


@dataclass(frozen=True, kw_only=True)
class LimiterState:
    """The complete state of a limiter; saved and restored with a world.

    ``previous_step``: float64 ``[A]``, last applied target minus the position measured at that
    time, embodiment order and units. Zeros after a reset or a hold.
    """

    previous_step: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LimitResult:
    """The action that may be sent to the controllers.

    ``action``: float64 ``[A]``, finite, embodiment order and units.
    ``state``: input of the next call.
    ``velocity_limited``, ``box_limited``, ``acceleration_limited``: the bound changed the request.
    ``held``: the request was refused; ``action`` is the measured position.
    ``reason``: why it was held, as text; empty otherwise.
    """

    action: NDArray[np.float64]
    state: LimiterState
    velocity_limited: bool = False
    box_limited: bool = False
    acceleration_limited: bool = False
    held: bool = False
    reason: str = ""

    @property
    def limited(self) -> bool:
        """Whether a bound changed the request, or the request was refused."""
        return self.velocity_limited or self.box_limited or self.acceleration_limited or self.held


class Limiter:
    """Limit absolute targets of one embodiment. Stateless."""

    def __init__(self, embodiment: Embodiment) -> None:
        """Read the limits of ``embodiment.actions``; ``dt`` defaults to one tick of its rate."""
        self._names = tuple(entry.name for entry in embodiment.actions)
        self._lower = np.asarray(embodiment.lower, dtype=np.float64)
        self._upper = np.asarray(embodiment.upper, dtype=np.float64)
        self._dt = 1.0 / float(embodiment.rate_hz)
        velocity = np.asarray(embodiment.max_velocity, dtype=np.float64)
        acceleration = np.asarray(embodiment.max_acceleration, dtype=np.float64)
        groups: dict[str, list[int]] = {}
        for index, entry in enumerate(embodiment.actions):
            key = f"{entry.arm} in m" if entry.unit == "m" else f"entry {index}"
            groups.setdefault(key, []).append(index)
        self._groups = tuple(np.asarray(indices) for indices in groups.values())
        self._velocity = tuple(float(velocity[group].min()) for group in self._groups)
        self._acceleration = tuple(float(acceleration[group].min()) for group in self._groups)

    @property
    def action_dim(self) -> int:
        """Number of entries of an action."""
        return len(self._names)

    def initial_state(self) -> LimiterState:
        """Return the state of an arm at rest: after a reset, or before the first command."""
        return LimiterState(previous_step=np.zeros(self.action_dim))

    def problem(self, action: ArrayLike) -> str:
        """Return why ``action`` is unusable, as text; empty if it is usable."""
        return action_problem(action, self._names)

    def limit(
        self,
        requested: ArrayLike,
        measured: ArrayLike,
        state: LimiterState,
        dt: float | None = None,
    ) -> LimitResult:
        """Limit one absolute target.

        ``requested``: ``[A]``, embodiment order and units, any values. It is refused, which means
        hold, if its length is wrong or an entry is not finite.
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

        # The box, extended to include an arm that is already outside.
        lowest = np.minimum(self._lower, position)
        highest = np.maximum(self._upper, position)
        wanted = np.asarray(requested, dtype=np.float64)
        target = np.clip(wanted, lowest, highest)
        boxed = bool(np.any(target != wanted))

        step = target - position
        within_leash = self._within(step, self._velocity, seconds)
        fast = within_leash is not step
        change = within_leash - state.previous_step
        gentle = self._within(change, self._acceleration, seconds**2)
        sudden = gentle is not change
        if sudden:
            # The previous step may exceed the leash (another dt) or the box: limit again.
            bounded = self._within(state.previous_step + gentle, self._velocity, seconds)
            target = np.clip(position + bounded, lowest, highest)
        elif fast:
            target = np.clip(position + within_leash, lowest, highest)
        return LimitResult(
            action=target,
            state=LimiterState(previous_step=target - position),
            velocity_limited=fast,
            box_limited=boxed,
            acceleration_limited=sudden,
        )

    def hold(self, measured: ArrayLike, reason: str) -> LimitResult:
        """Return the measured position, with the reason for holding it."""
        position = self._measured(measured)
        return LimitResult(
            action=position.copy(), state=self.initial_state(), held=True, reason=reason
        )

    def _measured(self, measured: ArrayLike) -> NDArray[np.float64]:
        problem = self.problem(measured)
        if problem:
            raise ValueError(
                f"measured position {problem} (Limiter): pass the newest finite joint state"
            )
        return np.asarray(measured, dtype=np.float64)

    def _within(
        self, vector: NDArray[np.float64], limits: tuple[float, ...], scale: float
    ) -> NDArray[np.float64]:
        """Shorten each group of ``vector`` to its limit; the same object if none is too long."""
        shortened = vector
        for group, limit in zip(self._groups, limits, strict=True):
            longest = limit * scale
            # hypot, since squares of tiny or huge entries under- or overflow.
            length = math.hypot(*vector[group])
            if length > longest + _TOLERANCE:
                if shortened is vector:
                    shortened = vector.copy()
                shortened[group] = vector[group] / length * longest
        return shortened


def action_problem(action: ArrayLike, names: tuple[str, ...]) -> str:
    """Return why ``action`` is not an action with entries ``names``, as text; empty if it is."""
    try:
        values = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError):
        return "is not a list of numbers"
    if values.shape != (len(names),):
        shape = f"{values.size} entries" if values.ndim == 1 else f"shape {list(values.shape)}"
        return f"has {shape} where {len(names)} are expected ({', '.join(names)})"
    for name, value in zip(names, values, strict=True):
        if not math.isfinite(value):
            return f"has a {name} that is not finite ({value})"
    return ""
