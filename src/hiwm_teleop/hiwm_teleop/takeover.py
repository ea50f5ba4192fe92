"""The first moments of a takeover: nothing jumps, nothing a person does is lost, all is timed.

A device that gives velocities blends in: the teleop node scales its displacements by `BlendIn`. A
device that gives absolute targets aligns: it owns an `Alignment`, which follows every movement of
the person from the first one on while the difference it began with fades. `TakeoverTimes` says how
long the person waited to see it. All are pure, with the steady clock passed in. Held by
``test_takeover.py``.
"""

from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

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

    def share(self, now_s: float, in_control: bool) -> float:
        """Return the share, 0..1.

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


class Alignment:
    """Leads a follower from where it is to where an absolute device points.

    The first target is the present one; from there each target moves by what the person moved plus
    at most ``rate * dt`` towards the device, so the follower never jumps to the leader.

    Args:
        rate: how fast the difference fades, [A], unit/s of each entry.
    """

    def __init__(self, rate: ArrayLike) -> None:
        self._rate = np.array(rate, dtype=np.float64)
        self._offset: Array | None = None
        self._at = 0.0

    @property
    def aligned(self) -> bool:
        """Whether targets are the device's own; False before `begin`."""
        return self._offset is not None and not np.any(self._offset)

    def begin(self, present: ArrayLike, wanted: ArrayLike, now_s: float) -> None:
        """Begin at a takeover.

        Args:
            present: target in force, [A].
            wanted: where the device points, [A], same order and units.
            now_s: steady clock, s.
        """
        self._offset = np.subtract(present, wanted).astype(np.float64)
        self._at = now_s

    def follow(self, wanted: ArrayLike, now_s: float) -> Array:
        """Return the target [A] for where the device points now, [A].

        Before `begin` it is the device's own.
        """
        target = np.array(wanted, dtype=np.float64)
        if self._offset is None:
            return target
        fade = self._rate * max(0.0, now_s - self._at)
        self._at = now_s
        self._offset -= np.clip(self._offset, -fade, fade)
        return target + self._offset


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

    def share(self, share: float) -> float:
        """Return the time within which a share of the takeovers was seen, s; NaN before any."""
        if not self._times:
            return float("nan")
        return float(np.quantile(list(self._times), share))
