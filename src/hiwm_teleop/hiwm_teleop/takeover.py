"""The first moments of a takeover: a velocity comes in from standstill, and all of it is timed.

The teleop node scales the displacements of a device by `BlendIn`, and asks `TakeoverTimes` how long
the person waited for the first frame. Both are pure, with the steady clock passed in. Held by
``test_takeover.py``. A device of absolute targets aligns in its own way; see its page.
"""

from collections import deque

import numpy as np

# From standstill to the full speed asked for, s. Short, so that the beginning of a correction is
# made and not waited out; long enough that a cap or stick held aside at the takeover is no jerk.
BLEND_IN_S = 0.3


class BlendIn:
    """How much of a wanted velocity is let through: nothing until in control, then rising to all.

    Args:
        seconds: from none to all, s.
    """

    def __init__(self, seconds: float = BLEND_IN_S) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def scale(self, now_s: float, in_control: bool) -> float:
        """Return the factor for the wanted velocity, 0..1.

        Args:
            now_s: steady clock, s.
            in_control: whether the arbiter says that this device moves the world.
        """
        if not in_control:
            self._since = None
            return 0.0
        if self._since is None:
            self._since = now_s
        return min((now_s - self._since) / self._seconds, 1.0)


class TakeoverTimes:
    """From the deadman going down to the first frame that a person's action led to.

    Args:
        keep: takeovers remembered.
    """

    def __init__(self, keep: int = 200) -> None:
        self._pressed_s: float | None = None
        self._times: deque[float] = deque(maxlen=keep)

    def deadman(self, held: bool, in_control: bool, now_s: float) -> None:
        """Take the deadman's level, each time it is read.

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
        """Take a complete frame, and whether an action of this device led to it."""
        if of_person and self._pressed_s is not None:
            self._times.append(now_s - self._pressed_s)
            self._pressed_s = None

    def quantile(self, q: float) -> float:
        """Return the q-quantile, q in 0..1, of the takeover times, s; NaN before any."""
        if not self._times:
            return float("nan")
        return float(np.quantile(list(self._times), q))
