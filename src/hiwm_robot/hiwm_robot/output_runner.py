"""What one output sends, and when: interpolation between targets, and its rule for silence.

Values are one output's entries of the action array, [N], embodiment units. Times are steady-clock
seconds. The node samples an output with a rate at that rate. Tested by ``test_output_runner.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from hiwm_core.robots.outputs import GOALS_PER_S, Output

Array = NDArray[np.float64]

# A gripper that moves by less than this share of its range keeps its goal.
SAME_GOAL = 1e-3


class Mode(Enum):
    """What the samples are."""

    IDLE = auto()  # nothing is sent
    MOVING = auto()  # between two targets, or at the last one
    HOLDING = auto()  # one value, again and again
    STOPPED = auto()  # nothing is sent, until the next target
    ZERO = auto()  # zero, again and again


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Values to send."""

    values: Array  # [N]
    zero: bool = False  # twists: send zero speed, whatever the values


class OutputRunner:
    """Samples of one output.

    Args:
        output: of the robot file.
        period_s: time from one target to the next; may be changed between targets.
        between: returns the values at a share of the way from a start to a goal.
        lockstep: the driver waits for a message with every target: a gripper is sent its goal
            again and again, and in simulated time no goal comes too soon.
    """

    def __init__(
        self, output: Output, period_s: float, between: Callable[[Array, Array, float], Array], *,
        lockstep: bool = False,
    ) -> None:
        self.period_s = period_s
        self.mode = Mode.IDLE
        self._between = between
        self._silence = output.silence
        self._silence_after_s = output.silence_after_s
        self._rated = output.rate_hz is not None and not lockstep
        self._interpolated = output.interpolated
        self._on_change = output.drives == "gripper" and not lockstep
        self._goal_gap_s = 1.0 / (output.rate_hz or GOALS_PER_S)
        self._start: Array = np.zeros(0)
        self._goal: Array = np.zeros(0)
        self._begun = 0.0  # when the segment from start to goal began
        self._heard = 0.0  # when the last target or hold came
        self._max_step = output.max_step
        self._shown: Array = np.zeros(0)  # with a largest step: the last values sent, or measured
        self._sent: Array | None = None  # on change: the last goal
        self._sent_at = -np.inf

    def stop(self) -> None:
        """Send nothing until the next target; that one starts at the measured values."""
        self.mode = Mode.IDLE
        self._sent = None

    def forget_goal(self) -> None:
        """Send the goal again later: nobody has received it."""
        self._sent = None

    def target(self, values: Array, measured: Array, now: float) -> Sample | None:
        """Take a new target [N]; return what must be sent at once.

        Args:
            values: limited target.
            measured: where the output's entries are.
            now: steady clock.
        """
        moving = self.mode in (Mode.MOVING, Mode.HOLDING)
        if not moving:
            self._shown = measured
        self._begin(self._value(now) if moving else measured, values, now)
        self.mode = Mode.MOVING
        return self._at_once(now)

    def hold(self, values: Array, now: float) -> Sample | None:
        """Apply the rule for silence; return what must be sent at once.

        Args:
            values: the last target or the measured position, as the rule demands [N].
            now: steady clock.
        """
        if self._silence == "stop_sending":
            self.mode = Mode.STOPPED
            return None
        if self._silence == "zero":
            self._begin(values, values, now)
            self.mode = Mode.ZERO
        elif self._silence == "hold_last" and self.mode is Mode.MOVING:
            # The last target is approached to its end, no further.
            self._heard = now
            self.mode = Mode.HOLDING
        else:
            if self.mode in (Mode.IDLE, Mode.STOPPED):
                self._shown = values
            self._begin(values, values, now)
            self.mode = Mode.HOLDING
        return self._at_once(now)

    def sample(self, now: float, measured: Array) -> Sample | None:
        """Return what an output with a rate sends now; None is nothing.

        Args:
            now: steady clock.
            measured: where the output's entries are [N].
        """
        if self.mode is Mode.MOVING and now - self._heard > self._silence_after_s:
            self.hold(measured, now)
        if self.mode in (Mode.IDLE, Mode.STOPPED):
            return None
        return self._sample(now)

    def _begin(self, start: Array, goal: Array, now: float) -> None:
        self._start, self._goal = start, goal
        self._begun = self._heard = now

    def _value(self, now: float) -> Array:
        """Return the value between the targets [N]; never beyond the newer one."""
        if not self._interpolated:
            return self._goal
        share = (now - self._begun) / self.period_s
        if share >= 1.0:
            return self._goal
        return self._between(self._start, self._goal, max(0.0, share))

    def _at_once(self, now: float) -> Sample | None:
        return self._sample(now) if self._on_change or not self._rated else None

    def _sample(self, now: float) -> Sample | None:
        if not self._on_change:
            values = self._value(now)
            if self._max_step is not None:
                step = np.clip(values - self._shown, -self._max_step, self._max_step)
                values = self._shown = self._shown + step
            return Sample(values=values, zero=self.mode is Mode.ZERO)
        # A goal that was held back is sent by a later sample.
        same = self._sent is not None and bool(np.all(np.abs(self._goal - self._sent) < SAME_GOAL))
        if same or now - self._sent_at < self._goal_gap_s:
            return None
        self._sent, self._sent_at = self._goal, now
        return Sample(values=self._goal)
