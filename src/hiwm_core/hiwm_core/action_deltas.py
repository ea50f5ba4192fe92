"""The only conversion between absolute targets and displacements.

Values on topics are absolute. Devices, and policies that predict displacements, use this module;
so do blends from one target to another. A displacement ``[A]`` has the action's order and units. A
6D rotation's has the rotation vector in rad, in its first three entries, and three zeros. Tested by
``test_action_deltas.py``.
"""

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.action_parts import parts_of
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError

Array = NDArray[np.float64]


class ActionDeltas:
    """Adds displacements to targets, and finds them between targets.

    Args:
        embodiment: what its groups' values mean.
        turning: about whose axes rotation vectors turn: those of the group's frame, or those of the
            tip.
    """

    def __init__(
        self, embodiment: Embodiment, turning: Literal["frame", "tip"] = "frame"
    ) -> None:
        self._parts = parts_of(embodiment)
        self._tip = turning == "tip"
        self._size = embodiment.action_dim

    def moved(self, start: ArrayLike, displacement: ArrayLike) -> Array:
        """Return the target [A] that a displacement [A] leads to from a target [A].

        Raises:
            ValueError: a 6D rotation of the start is degenerate.
        """
        before, change = self._array(start), self._array(displacement)
        after = np.empty_like(before)
        for part in self._parts:
            at = part.entries
            point = part.point(before[at])
            step = change[at][: part.free]
            step = part.in_frame(point, step) if self._tip else step
            after[at] = part.values(part.moved(point, step))
        return after

    def between(self, start: ArrayLike, end: ArrayLike) -> Array:
        """Return the displacement [A] from one target [A] to another.

        Raises:
            ValueError: a 6D rotation is degenerate.
        """
        before, after = self._array(start), self._array(end)
        change = np.zeros_like(before)
        for part in self._parts:
            at = part.entries
            point = part.point(before[at])
            step = part.between(point, part.point(after[at]))
            change[at[: part.free]] = part.in_tip(point, step) if self._tip else step
        return change

    def interpolated(self, at: ArrayLike, times: ArrayLike, targets: ArrayLike) -> Array:
        """Return targets [K, A] at times [K] between those of targets [T, A]; rotations turn.

        Raises:
            ValueError: a 6D rotation is degenerate.
        """
        wanted, known = np.asarray(at, np.float64), np.asarray(times, np.float64)
        given = np.asarray(targets, dtype=np.float64)
        out = np.empty((len(wanted), self._size))
        for part in self._parts:
            out[:, part.entries] = part.interpolated(wanted, known, given[:, part.entries])
        return out

    def shortened(self, displacement: ArrayLike, longest: ArrayLike) -> Array:
        """Return a displacement [A] of which no part is longer than the least of its limits [A]."""
        change, limits = self._array(displacement).copy(), self._array(longest)
        for part in self._parts:
            at = part.entries[: part.free]
            # The limits of a vector's entries; of a rotation all are the same.
            change[at] = part.shortened(change[at], part.least(limits[part.entries]))
        return change

    def _array(self, values: ArrayLike) -> Array:
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (self._size,):
            raise ValueError(f"shape {array.shape} instead of [{self._size}] (ActionDeltas)")
        return array


class DeltaBase:
    """Chooses what displacements start from, for each group.

    The last target is the default: it keeps a gripper shut on an object that holds it open, and
    does not lose what a lagging arm has not covered yet. A policy that was trained with
    displacements from the measured position needs those groups named.

    Args:
        embodiment: the groups.
        from_measured: names of groups whose displacements start from the measured position.

    Raises:
        ConfigError: no group of that name.
    """

    def __init__(self, embodiment: Embodiment, from_measured: Collection[str] = ()) -> None:
        known: Sequence[str] = [group.name for group in embodiment.groups]
        for name in from_measured:
            if name not in known:
                raise ConfigError(
                    f"no group {name!r}", where=f"embodiment {embodiment.name}",
                    remedy=f"use some of {', '.join(known)}",
                )
        self._measured = np.zeros(embodiment.action_dim, dtype=bool)
        for group in embodiment.groups:
            self._measured[group.slice] = group.name in from_measured

    def start(self, sent: ArrayLike, measured: ArrayLike) -> Array:
        """Return where displacements start, [A].

        Args:
            sent: last target, [A]; empty before the first.
            measured: measured counterpart, [A].
        """
        here = np.asarray(measured, dtype=np.float64)
        if not np.size(sent):
            return here.copy()
        start: Array = np.where(self._measured, here, np.asarray(sent, dtype=np.float64))
        return start
