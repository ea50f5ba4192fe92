"""The parts of an action that belong together: a vector, an angle, a rotation.

What a difference of two targets is, and how far one leads to the other, is defined here for limits,
handback, deltas and teleoperation alike.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.rotations import (
    matrix_from_6d,
    matrix_from_vector,
    sixd_from_matrix,
    vector_from_matrix,
    wrapped,
)

if TYPE_CHECKING:
    from hiwm_core.embodiment import ActionEntry, Embodiment

Array = NDArray[np.float64]

# Below the resolution of any encoder. With it, a limited action passes a second time unchanged,
# although sums of differences are rounded.
_TOLERANCE = 1e-12
# The same for rotations, whose logarithm and exponential round more.
_TURN_TOLERANCE = 1e-9
# A yaw whose range is a full turn but for this, rad, has no limit and wraps around.
_FULL_TURN = 2.0 * math.pi - 1e-2


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The limits of a part's vectors, [V] each."""

    velocity: Array
    acceleration: Array
    following_error: Array


class Part(ABC):
    """Entries whose differences mean the same, in one or more vectors.

    A point is what their values stand for. A displacement leads from one point to another; it
    consists of vectors, and the length of each is what the bounds limit.

    Args:
        embodiment: has the entries' limits.
        vectors: indices of the entries of each vector; the least of their limits is its limit.
    """

    tolerance = _TOLERANCE

    def __init__(self, embodiment: Embodiment, vectors: Sequence[Sequence[int]]) -> None:
        indices = [i for vector in vectors for i in vector]
        chosen = [embodiment.actions[i] for i in indices]
        self.entries = np.array(indices)
        self.vectors = tuple(np.array(vector) for vector in vectors)  # entries of each
        self._lengths = [len(vector) for vector in vectors]  # of vectors in a displacement
        self._starts = np.cumsum([0, *self._lengths[:-1]])
        self.bounds = Bounds(
            velocity=self.least(np.array([entry.max_velocity for entry in chosen])),
            acceleration=self.least(np.array([entry.max_acceleration for entry in chosen])),
            following_error=self.least(np.array([entry.max_following_error for entry in chosen])),
        )
        self._lower = np.array([entry.lower for entry in chosen])
        self._upper = np.array([entry.upper for entry in chosen])
        self._names = ", ".join(entry.name for entry in chosen)

    @property
    def free(self) -> int:
        """Length of a displacement."""
        return sum(self._lengths)

    def norms(self, displacement: Array) -> Array:
        """Return the length of each vector of a displacement, [V]."""
        if len(self._lengths) == len(displacement):
            return np.abs(displacement)
        # Scaled, since squares of tiny or huge entries under- or overflow.
        largest = np.maximum.reduceat(np.abs(displacement), self._starts)
        scaled = displacement / self.spread(np.where(largest > 0.0, largest, 1.0))
        return largest * np.sqrt(np.add.reduceat(scaled * scaled, self._starts))

    def products(self, one: Array, other: Array) -> Array:
        """Return the inner product of each vector of two displacements, [V]."""
        products: Array = np.add.reduceat(one * other, self._starts)
        return products

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one value for each vector, [V], as one for each entry of a displacement."""
        return values if len(self._lengths) == self.free else np.repeat(values, self._lengths)

    def least(self, limits: Array) -> Array:
        """Return the least of each vector's limits, [V], of limits of the part's entries."""
        least: Array = np.minimum.reduceat(limits, self._starts)
        return least

    def shortened(self, displacement: Array, longest: Array) -> Array:
        """Return a displacement whose vectors have at most lengths [V].

        The same object if none was too long.
        """
        lengths = self.norms(displacement)
        long = lengths > longest + self.tolerance
        if not long.any():
            return displacement
        factors = np.where(long, longest / np.where(long, lengths, 1.0), 1.0)
        shortened: Array = displacement * self.spread(factors)
        return shortened

    @abstractmethod
    def between(self, start: Array, end: Array) -> Array:
        """Return the displacement from one point to another."""

    @abstractmethod
    def moved(self, start: Array, displacement: Array) -> Array:
        """Return the point that a displacement leads to."""

    def in_frame(self, point: Array, displacement: Array) -> Array:
        """Return a displacement about the axes of the tip at a point as one about the frame's."""
        return displacement

    def in_tip(self, point: Array, displacement: Array) -> Array:
        """Return a displacement about the frame's axes as one about those of the tip."""
        return displacement

    def inside(
        self, wanted: Array, measured: Array, sent: Array, previous: Array, bounds: Array
    ) -> bool:
        """Return whether a target clearly exceeds no bound.

        False may also mean that it is close to one, or that the numbers are extreme.

        Args:
            wanted: the target [n].
            measured: position [n].
            sent: the last target [n].
            previous: the step [n] that led to it.
            bounds: `squared_bounds` of the duration.
        """
        return False

    def squared_bounds(self, seconds: float) -> Array:
        """Return the squares [4, V] of the bounds on the gaps in `inside`, a little smaller."""
        bounds = self.bounds
        longest = np.array([
            bounds.following_error, bounds.velocity * seconds,
            bounds.acceleration * seconds**2, bounds.following_error,
        ])
        squares: Array = (longest * (1.0 - 1e-9)) ** 2
        return squares

    def problem(self, values: Array) -> str:
        """Return why finite values are unusable, as text; empty if they are usable."""
        return ""

    def point(self, values: Array) -> Array:
        """Return the point of usable values."""
        return values

    def values(self, point: Array) -> Array:
        """Return the values of a point."""
        return point

    def boxed(self, point: Array, measured: Array) -> Array:
        """Return the nearest point in the box, extended to include an arm already outside."""
        return point

    def kept(self, point: Array, other: Array, same: NDArray[np.bool_]) -> Array:
        """Return the other point, but with the entries of a point where they are the same."""
        return np.where(same, point, other)

    def is_exact(self, values: Array) -> bool:
        """Return whether usable values are those of their point."""
        return True

    def interpolated(self, at: Array, times: Array, values: Array) -> Array:
        """Return values [K, n] at times [K] within those of values [T, n], ascending."""
        return np.stack([np.interp(at, times, column) for column in values.T], axis=1)


class _Vectors(Part):
    """Positions in a box."""

    def __init__(self, embodiment: Embodiment, vectors: Sequence[Sequence[int]]) -> None:
        super().__init__(embodiment, vectors)
        # [n, V]: which entries are in which vector.
        self._members = np.repeat(np.eye(len(self._lengths)), self._lengths, axis=0)

    def inside(
        self, wanted: Array, measured: Array, sent: Array, previous: Array, bounds: Array
    ) -> bool:
        if not ((self._lower <= wanted) & (wanted <= self._upper)).all():
            return False
        gaps = np.array([sent - measured, wanted - sent, wanted - sent, wanted - measured])
        gaps[2] -= previous
        return bool((gaps * gaps @ self._members < bounds).all())

    def between(self, start: Array, end: Array) -> Array:
        return end - start

    def moved(self, start: Array, displacement: Array) -> Array:
        return start + displacement

    def boxed(self, point: Array, measured: Array) -> Array:
        lower, upper = np.minimum(self._lower, measured), np.maximum(self._upper, measured)
        inside = np.minimum(np.maximum(point, lower), upper)
        return point if (inside == point).all() else inside


class _Angle(Part):
    """A yaw without limits, which takes the short way round."""

    def between(self, start: Array, end: Array) -> Array:
        return np.array([wrapped(float(end[0] - start[0]))])

    def moved(self, start: Array, displacement: Array) -> Array:
        return start + displacement

    def values(self, point: Array) -> Array:
        return np.array([wrapped(float(point[0]))])

    def is_exact(self, values: Array) -> bool:
        return bool(abs(values[0]) <= math.pi)

    def interpolated(self, at: Array, times: Array, values: Array) -> Array:
        turned = super().interpolated(at, times, np.unwrap(values, axis=0))
        return np.array([self.values(row) for row in turned])


class _Turn(Part):
    """A 6D rotation; points are rotation matrices, displacements are rotation vectors in rad."""

    tolerance = _TURN_TOLERANCE

    def __init__(self, embodiment: Embodiment, vectors: Sequence[Sequence[int]]) -> None:
        super().__init__(embodiment, vectors)
        self._lengths = [3]  # a rotation vector

    def in_frame(self, point: Array, displacement: Array) -> Array:
        return point @ displacement

    def in_tip(self, point: Array, displacement: Array) -> Array:
        return point.T @ displacement

    def between(self, start: Array, end: Array) -> Array:
        return vector_from_matrix(end @ start.T)

    def moved(self, start: Array, displacement: Array) -> Array:
        return matrix_from_vector(displacement) @ start

    def problem(self, values: Array) -> str:
        try:
            _matrix(values.tobytes())
        except ValueError as error:
            return f"has a rotation {self._names} that is degenerate: {error}"
        return ""

    def point(self, values: Array) -> Array:
        return _matrix(values.tobytes())

    def values(self, point: Array) -> Array:
        return sixd_from_matrix(point)

    def kept(self, point: Array, other: Array, same: NDArray[np.bool_]) -> Array:
        return point if same.all() else other

    def interpolated(self, at: Array, times: Array, values: Array) -> Array:
        points = [self.point(row) for row in values]
        if len(points) == 1:
            return np.repeat(values, len(at), axis=0)
        first = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
        shares = np.clip((at - times[first]) / (times[first + 1] - times[first]), 0.0, 1.0)
        return np.array([
            self.values(self.moved(
                points[i], share * self.between(points[i], points[i + 1])
            ))
            for i, share in zip(first, shares, strict=True)
        ])

    def is_exact(self, values: Array) -> bool:
        return bool(
            np.abs(values - sixd_from_matrix(self.point(values))).max() <= self.tolerance
        )


@lru_cache(maxsize=16)
def _matrix(values: bytes) -> Array:
    """Return the rotation matrix of the bytes of a 6D form; a tick asks for each several times."""
    matrix = matrix_from_6d(np.frombuffer(values))
    matrix.setflags(write=False)
    return matrix


def turns_freely(entry: ActionEntry) -> bool:
    """Return whether a yaw has no limit, so that it takes the short way round."""
    return entry.upper - entry.lower >= _FULL_TURN


def parts_of(embodiment: Embodiment) -> tuple[Part, ...]:
    """Return the parts of an embodiment's action array, covering every entry once."""
    vectors: list[list[int]] = []
    turns: list[Part] = []
    for group in embodiment.groups:
        turning = range(group.rotation_slice.start, group.rotation_slice.stop)
        indices = [i for i in range(group.start, group.start + group.size) if i not in turning]
        together = [i for i in indices if embodiment.actions[i].unit == "m"]
        vectors += [together] if together else []
        vectors += [[i] for i in indices if i not in together]
        if group.rotation == "6d":
            turns.append(_Turn(embodiment, [turning]))
        elif group.rotation == "yaw":
            entry = embodiment.actions[turning[0]]
            if turns_freely(entry):
                turns.append(_Angle(embodiment, [turning]))
            else:
                vectors.append(list(turning))
    return (_Vectors(embodiment, vectors), *turns)
