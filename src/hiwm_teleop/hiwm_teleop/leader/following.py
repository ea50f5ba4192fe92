"""How a follower follows a leader without jumping to it. Pure. See ``test_leader_following.py``.

At a takeover the two differ, and resolving the difference must not surprise the person. Moving to
the leader at some speed would move the follower while the person does nothing, through the very
scene to be corrected. So the follower starts at its own position and moves only when the person
moves, in the same direction, at first slightly more or less: each movement of the leader reduces
the difference by a fraction of that movement, `CONVERGE`, until it is zero. From then on the
follower's target is the leader's position.

The guard holds an arm whose leader is too far away until the leader is close: with a large
difference a person steers blind. While the clutch is on, the leader moves without the follower; the
resulting difference is intended, and stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The follower moves at 0.5 to 1.5 times the leader's speed while they converge.
CONVERGE = 0.5
# Longest step in which a delayed node catches up, s.
LONGEST_STEP_S = 0.1


@dataclass(frozen=True, kw_only=True)
class FollowedEntry:
    """One action entry that a leader leads."""

    arm: str  # of the leader; an arm's entries are guarded together
    lower: float
    upper: float
    max_velocity: float
    guard: float  # difference to the leader above which its arm is held; inf = none
    noise: float  # a leader at rest moves no more than this
    vector: str = ""  # entries with the same non-empty name are limited as one vector


class Following:
    """Targets for the entries that a leader leads.

    Args:
        entries: [K]; arrays below are in this order, in the follower's units.
    """

    def __init__(self, entries: Sequence[FollowedEntry]) -> None:
        self._arms = [entry.arm for entry in entries]
        self._lower = np.array([entry.lower for entry in entries])
        self._upper = np.array([entry.upper for entry in entries])
        self._guard = np.array([entry.guard for entry in entries])
        self._noise = np.array([entry.noise for entry in entries])
        names = [entry.vector or str(i) for i, entry in enumerate(entries)]
        self._groups = [
            np.array([i for i, other in enumerate(names) if other == name])
            for name in dict.fromkeys(names)
        ]
        velocity = np.array([entry.max_velocity for entry in entries])
        self._velocity = [float(velocity[group].min()) for group in self._groups]
        self._target: Array | None = None
        self._leader = np.zeros(len(entries))  # when it was last followed
        self._moved_from = np.zeros(len(entries))  # the leader when it last counted as moved
        self._offset = np.zeros(len(entries))  # target minus leader
        self._rest = np.zeros(len(entries))  # what the offset converges to
        self._held = np.zeros(len(entries), dtype=bool)  # arm not yet within the guard
        self._clutched = False

    @property
    def gaps(self) -> list[tuple[int, float]]:
        """Entries beyond their guard in arms still held, with follower minus leader."""
        if self._target is None:
            return []
        gap = self._target - self._leader
        return [
            (int(i), float(gap[i]))
            for i in np.flatnonzero(self._held & (np.abs(gap) > self._guard))
        ]

    def release(self) -> None:
        """Stop following; the next `follow` starts from the follower's position at that time."""
        self._target = None

    def follow(self, leader: Array, measured: Array, dt: float, *, clutch: bool) -> Array:
        """Return the targets, [K].

        Args:
            leader: the leader's values, [K].
            measured: the follower's position, [K]; used only at the start.
            dt: since the last call, s.
            clutch: whether the leader moves without the follower.
        """
        target = self._target
        if target is None:
            target = measured.copy()
            self._moved_from, self._offset = leader.copy(), measured - leader
            self._rest = np.zeros_like(measured)
            self._held[:] = True
            self._clutched = False
        self._leader = leader.copy()
        self._release_near(target, leader)
        idle = self._held | clutch
        apart = target - leader
        if self._clutched and not clutch:
            self._rest = np.where(self._held, self._rest, apart)
        # Idle entries stay where they are, whatever the difference.
        self._offset = np.where(idle | self._clutched, apart, self._offset)
        self._clutched = clutch
        self._converge(leader)
        # A follower outside its limits may move back inside, but is not pushed.
        lower, upper = np.minimum(self._lower, target), np.maximum(self._upper, target)
        step = np.where(idle, 0.0, np.clip(leader + self._offset, lower, upper) - target)
        for group, velocity in zip(self._groups, self._velocity, strict=True):
            length = float(np.linalg.norm(step[group]))
            most = velocity * min(dt, LONGEST_STEP_S)
            if length > most:
                step[group] *= most / length
        self._target = target + step
        return self._target.copy()

    def _converge(self, leader: Array) -> None:
        """Reduce the difference by a fraction of the leader's movement."""
        moved = np.abs(leader - self._moved_from)
        counts = moved > self._noise
        self._moved_from = np.where(counts, leader, self._moved_from)
        most = CONVERGE * np.where(counts, moved, 0.0)
        self._offset = self._offset - np.clip(self._offset - self._rest, -most, most)

    def _release_near(self, target: Array, leader: Array) -> None:
        """Release held arms whose leader is within the guard in every joint."""
        near = np.abs(target - leader) <= self._guard
        for arm in dict.fromkeys(self._arms):
            mine = np.array([name == arm for name in self._arms])
            if near[mine].all():
                self._held[mine] = False
