"""Joint states of one topic: renaming, gripper ratios, and messages that hold only some joints.

Tested by ``test_joint_source.py``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hiwm_core.robots.sources import JointSource
from hiwm_robot.stream_stamps import Stamped, kind_of

Array = NDArray[np.float64]

# Different lists of names on one topic that are remembered: arms, grippers, a base.
_MOST_LISTS = 16


class JointSourceState:
    """The newest values of a source's joints.

    Args:
        source: of the robot file.

    Attributes:
        names: the embodiment's joints [N].
        position: rad, m or ratio [N]; NaN before the first message.
        velocity: per second [N]; NaN where the driver gives none.
        effort: in the driver's unit [N]; NaN where the driver gives none.
        period_s: time between the last two messages.
        unused: why the last message was not used; empty if it was.
    """

    def __init__(self, source: JointSource) -> None:
        entries = source.entries
        self.names = tuple(entry.joint for entry in entries)
        self._columns = {entry.driver: i for i, entry in enumerate(entries)}
        maps = [entry.gripper for entry in entries]
        self._shut = np.array([0.0 if one is None else one.shut for one in maps])
        self._span = np.array([1.0 if one is None else one.span for one in maps])
        # List of names to places in a message and columns here, or to what is wrong with it.
        self._orders: dict[tuple[str, ...], tuple[list[int], list[int]] | str] = {}
        self.clear()

    def clear(self) -> None:
        """Forget every message."""
        count = len(self.names)
        self.position: Array = np.full(count, np.nan)
        self.velocity: Array = np.full(count, np.nan)
        self.effort: Array = np.full(count, np.nan)
        self._stamps: NDArray[np.int64] = np.zeros(count, np.int64)
        self._arrivals: Array = np.full(count, -np.inf)
        self._newest: tuple[int, float] | None = None
        self.period_s = np.inf
        self.unused = ""

    @property
    def complete(self) -> bool:
        """Whether every joint has been seen."""
        return bool(np.isfinite(self._arrivals).all())

    @property
    def missing(self) -> list[str]:
        """Driver's names of joints that have not been seen."""
        return [name for name, i in self._columns.items() if not np.isfinite(self._arrivals[i])]

    @property
    def stamp_ns(self) -> int:
        """Stamp of the joint that is oldest; 0 before all have been seen."""
        return int(self._stamps.min())

    @property
    def newest_ns(self) -> int:
        """Stamp of the joint that is newest; 0 before the first message."""
        return int(self._stamps.max())

    def age(self, now: float) -> float:
        """Return seconds since the joint that is oldest arrived; infinite before all have."""
        return now - float(self._arrivals.min())

    def message(
        self, names: Sequence[str], positions: Sequence[float], velocities: Sequence[float],
        efforts: Sequence[float], stamp_ns: int, now: float, *, still_shown: bool = False,
    ) -> str:
        """Take a joint state; return why it cannot be used, or an empty string.

        A message without any of the source's joints is another's, and ignored. One with the same
        stamp again is not used; if the driver is waiting, `still_shown`, its joints stay young.
        """
        order = self._order(tuple(names))
        if isinstance(order, str):
            return order
        places, columns = order
        if not places:
            return ""
        if len(positions) != len(names):
            return f"joint state has {len(positions)} positions for {len(names)} names"
        values = (np.asarray(positions, np.float64)[places] - self._shut[columns])
        values /= self._span[columns]
        if not np.isfinite(values).all():
            return "joint state is not finite"
        kind = self._kind(stamp_ns, columns, now)
        self.unused = kind.unused
        if self.unused:
            if kind is Stamped.REPEATED and still_shown:
                self._arrivals[columns] = now
            return ""
        if self._newest is not None:
            self.period_s = now - self._newest[1]
        if self._newest is None or stamp_ns > self._newest[0]:
            self._newest = (stamp_ns, now)
        self.position[columns] = values
        span = self._span[columns]
        self.velocity[columns] = _rest(velocities, len(names), places) / span
        self.effort[columns] = _rest(efforts, len(names), places)
        self._stamps[columns] = stamp_ns
        self._arrivals[columns] = now
        return ""

    def _kind(self, stamp_ns: int, columns: list[int], now: float) -> Stamped:
        """Return what a message is: other joints of the same topic may have the same stamp."""
        if self._newest is not None:
            newest_ns, arrival = self._newest
            if kind_of(stamp_ns, newest_ns, now - arrival) is Stamped.RESTARTED:
                self.clear()
        seen = self._stamps[columns]
        last = int(seen.max())
        return kind_of(stamp_ns, last if last > 0 else None, 0.0)

    def _order(self, names: tuple[str, ...]) -> tuple[list[int], list[int]] | str:
        known = self._orders.get(names)
        if known is None:
            known = self._new_order(names)
            if len(self._orders) >= _MOST_LISTS:
                self._orders.pop(next(iter(self._orders)))
            self._orders[names] = known
        return known

    def _new_order(self, names: tuple[str, ...]) -> tuple[list[int], list[int]] | str:
        places = [i for i, name in enumerate(names) if name in self._columns]
        columns = [self._columns[names[i]] for i in places]
        twice = {names[i] for i in places if names.count(names[i]) > 1}
        if twice:
            return f"joint state names {', '.join(sorted(twice))} twice"
        return places, columns


def _rest(values: Sequence[float], count: int, places: list[int]) -> Array:
    """Return a field that drivers may leave empty."""
    if len(values) != count:
        return np.full(len(places), np.nan)
    return np.asarray(values, np.float64)[places]
