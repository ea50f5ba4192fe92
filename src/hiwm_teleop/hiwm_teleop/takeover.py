"""The start of a takeover: velocity ramps up from standstill, and the latency is measured.

The teleop node scales a device's displacements by `BlendIn`. `TakeoverTimes` records how long the
person waited for the first frame. Both are pure and take the steady clock as an argument.
Tested by ``test_takeover.py``. Devices with absolute targets align in their own way; see their
pages.
"""

from collections import deque

import numpy as np

# Time from standstill to full requested speed, s. Short enough not to delay a correction; long
# enough that a cap or stick already deflected at the takeover causes no jerk.
BLEND_IN_S = 0.3


class BlendIn:
    """The factor on a requested velocity: 0 until in control, then a linear ramp to 1.

    Args:
        seconds: duration of the ramp, s.
    """

    def __init__(self, seconds: float = BLEND_IN_S) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def scale(self, now_s: float, in_control: bool) -> float:
        """Return the factor for the requested velocity, 0..1.

        Args:
            now_s: steady clock, s.
            in_control: whether the arbiter has this device in control.
        """
        if not in_control:
            self._since = None
            return 0.0
        if self._since is None:
            self._since = now_s
        return min((now_s - self._since) / self._seconds, 1.0)


class TakeoverTimes:
    """Times from pressing the deadman to the first frame caused by the person's action.

    Args:
        keep: number of takeovers kept.
    """

    def __init__(self, keep: int = 200) -> None:
        self._pressed_s: float | None = None
        self._times: deque[float] = deque(maxlen=keep)

    def deadman(self, held: bool, in_control: bool, now_s: float) -> None:
        """Take the deadman's level at each read.

        Args:
            held: level.
            in_control: whether the arbiter already has this device in control.
            now_s: steady clock, s.
        """
        if not held:
            self._pressed_s = None
        elif not in_control and self._pressed_s is None:
            self._pressed_s = now_s

    def frame(self, of_person: bool, now_s: float) -> None:
        """Take a complete frame, and whether an action of this device caused it."""
        if of_person and self._pressed_s is not None:
            self._times.append(now_s - self._pressed_s)
            self._pressed_s = None

    def quantile(self, q: float) -> float:
        """Return the q-quantile, q in 0..1, of the takeover times, s; NaN before the first."""
        if not self._times:
            return float("nan")
        return float(np.quantile(list(self._times), q))
