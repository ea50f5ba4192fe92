"""joint_trajectory_controller, as of ros2_controllers jazzy (4.42).

From joint_trajectory_controller.cpp (`validate_trajectory_msg`, `topic_callback`, `update`) and
trajectory.cpp (`sample`). Positions only: linear segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a trajectory."""

    positions: tuple[float, ...]
    seconds: float  # time_from_start [s]
    velocities: tuple[float, ...] = ()
    effort: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """What a message says."""

    joints: tuple[str, ...]
    points: tuple[Point, ...]
    stamp: float = 0.0  # 0 starts at the next update [s]


class TrajectoryController:
    """Holds on activation, then follows the newest accepted trajectory.

    Args:
        joints: in the order of the controller's parameter.
        period_s: of the update loop.
        from_desired: `interpolate_from_desired_state`: a new trajectory starts at the last command
            instead of the measured state.
        partial: `allow_partial_joints_goal`.
        nonzero_end: `allow_nonzero_velocity_at_trajectory_end`.
        tolerance: of each joint while it moves; beyond it the measured state is held. 0: none.
    """

    def __init__(
        self, joints: Sequence[str], *, period_s: float, from_desired: bool = False,
        partial: bool = False, nonzero_end: bool = False, tolerance: float = 0.0,
    ) -> None:
        self.joints = tuple(joints)
        self.active = False
        self.holding = False  # not following a message
        self._period_s = period_s
        self._from_desired, self._partial, self._nonzero_end = from_desired, partial, nonzero_end
        self._tolerance = tolerance
        self._last: Array = np.zeros(len(self.joints))  # last command
        self._last_time: float | None = None
        self._points: list[tuple[float, Array]] = []  # time from start, positions
        self._stamp = 0.0
        self._start: float | None = None  # of the trajectory; None before its first sample
        self._before: tuple[float, Array] = (0.0, self._last)
        self._time = 0.0

    def activate(self, measured: Array) -> None:
        """Become active, and hold the measured state."""
        self.active = True
        self._last, self._last_time = measured.copy(), None
        self._hold(measured)

    def deactivate(self) -> None:
        """Become inactive. The subscription stays: messages vanish, and a publisher sees it."""
        self.active = False

    def receive(self, message: Trajectory, now: float) -> str:
        """Take a message; return why it is rejected, or an empty string.

        An inactive controller accepts a valid message and does nothing with it.
        """
        problem = self._problem(message, now)
        if not problem and self.active:
            order = [self.joints.index(name) for name in message.joints]
            self._points = []
            for point in message.points:
                positions = self._last.copy()  # of joints that a partial goal leaves out
                positions[order] = point.positions
                self._points.append((point.seconds, positions))
            self._stamp, self._start, self.holding = message.stamp, None, False
        return problem

    def update(
        self, now: float, dt: float, measured: Array, scaling: float = 1.0
    ) -> Array | None:
        """Return the next command [J] for the hardware; None while inactive.

        Args:
            now: the controller's clock [s].
            dt: since the previous update [s].
            measured: positions [J].
            scaling: of speed; 0 freezes the trajectory.
        """
        if not self.active:
            return None
        if self._start is None:
            self._time = now
            self._start = self._stamp or now
            known = self._from_desired and self._last_time is not None
            self._before = (
                (self._last_time or now, self._last) if known
                else (now, (self._last if self._from_desired else measured).copy())
            )
        else:
            self._time += dt * scaling
        desired = self._sample(self._time)
        moving = self._time < self._start + self._points[-1][0]
        if desired is not None and moving and not self.holding and self._tolerance > 0.0 and np.any(
            np.abs(desired - measured) > self._tolerance
        ):
            self._hold(measured)
            return self._last.copy()
        command = self._sample(self._time + self._period_s)
        if command is not None:
            self._last, self._last_time = command, now
        return self._last.copy()

    def _hold(self, measured: Array) -> None:
        self._points, self._stamp, self._start = [(0.0, measured.copy())], 0.0, None
        self.holding = True

    def _sample(self, time: float) -> Array | None:
        """Return the positions at a time; None before the trajectory's own start."""
        assert self._start is not None
        if time < self._before[0]:
            return None
        times = [self._before[0], *(self._start + seconds for seconds, _ in self._points)]
        values = [self._before[1], *(positions for _, positions in self._points)]
        for i in range(len(self._points)):
            if time < times[i + 1]:
                share = (time - times[i]) / (times[i + 1] - times[i])
                return np.asarray(values[i] + share * (values[i + 1] - values[i]))
        return values[-1].copy()

    def _problem(self, message: Trajectory, now: float) -> str:
        names, points = message.joints, message.points
        if not self._partial and len(names) != len(self.joints):
            return "joints do not match the controller's"
        if not names:
            return "no joint names"
        if not points:
            return "empty trajectory"
        unknown = [name for name in names if name not in self.joints]
        if unknown:
            return f"unknown joint {unknown[0]}"
        if not self._nonzero_end and any(abs(value) > 1e-7 for value in points[-1].velocities):
            return "last velocity is not zero"
        if message.stamp != 0.0 and message.stamp + points[-1].seconds < now:
            return "ends in the past"
        for i, point in enumerate(points):
            if i and point.seconds <= points[i - 1].seconds:
                return "time is not strictly increasing"
            if len(point.positions) != len(names) or len(point.velocities) not in (0, len(names)):
                return "size mismatch"
            if point.effort:
                return "effort is not accepted"
        return ""
