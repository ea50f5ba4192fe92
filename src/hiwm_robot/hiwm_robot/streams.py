"""Data received from a robot's drivers: the newest image of each camera and the joint state.

This module pairs them, tracks their ages, and detects a restarted driver. It keeps stamps, arrival
times and joint positions; the node keeps the messages.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment

Array = NDArray[np.float64]

# An image waits this long for a joint state that is at least as new; robots publish joint states at
# 50 Hz or more.
PAIR_WAIT_S = 0.03
# A joint state further ahead of an image than this is from before a driver's restart.
RESTART_GAP_NS = 1_000_000_000


class Streams:
    """Newest stamps, arrival times (steady clock, s) and positions.

    Args:
        embodiment: gives the joints; its first camera gives the stamps.
        pace: camera or timer, as in the robot's config.
    """

    def __init__(self, embodiment: Embodiment, pace: str = "camera") -> None:
        self._joints = embodiment.joint_names
        self._cameras = tuple(camera.name for camera in embodiment.cameras)
        self._by_camera = pace == "camera"
        self._images: dict[str, tuple[int, float]] = {}  # stamp, arrival
        self._state: tuple[int, float] | None = None
        self._position: Array | None = None
        self._names: Sequence[str] = ()
        self._order: list[int] = []
        self._used_ns: int | None = None
        self._floor_ns = 0

    @property
    def position(self) -> Array | None:
        """Newest measured position [A], embodiment order and units; None before the first."""
        return None if self._position is None else self._position.copy()

    @property
    def image_stamp_ns(self) -> int:
        """Stamp of the newest image of the first camera."""
        return self._images[self._cameras[0]][0]

    def image(self, camera: str, stamp_ns: int, now: float) -> None:
        """Record an image."""
        last = self._images.get(camera)
        if last is not None and stamp_ns < last[0]:
            # The driver restarted: images of the old one will never arrive.
            self._floor_ns = 0
            self._used_ns = None
            if self._state is not None and self._state[0] > stamp_ns + RESTART_GAP_NS:
                self._state = None
        self._images[camera] = (stamp_ns, now)

    def joint_state(
        self, names: Sequence[str], positions: Sequence[float], stamp_ns: int, now: float
    ) -> str:
        """Record a joint state; return why it cannot be used, or an empty string."""
        if names != self._names:
            missing = [joint for joint in self._joints if joint not in names]
            if missing:
                return f"joint state lacks {', '.join(missing)}"
            self._names = list(names)
            self._order = [self._names.index(joint) for joint in self._joints]
        if len(positions) != len(names):
            return f"joint state has {len(positions)} positions for {len(names)} names"
        values = np.asarray(positions, dtype=np.float64)[self._order]
        if not np.isfinite(values).all():
            return "joint state is not finite"
        self._position = values
        self._state = (stamp_ns, now)
        return ""

    def require(self, not_before_ns: int) -> None:
        """Use no image stamped before this for the next tick."""
        self._floor_ns = not_before_ns

    def ready(self, now: float) -> bool:
        """Return whether a complete observation is available that was not used yet."""
        if self._state is None or len(self._images) < len(self._cameras):
            return False
        if any(self._images[camera][0] < self._floor_ns for camera in self._cameras):
            return False
        if not self._by_camera:
            return True
        stamp, arrival = self._images[self._cameras[0]]
        if stamp == self._used_ns:
            return False
        return self._state[0] >= stamp or now - arrival >= PAIR_WAIT_S

    def take(self) -> Array | None:
        """Mark the newest observation as used, and return its position [A]."""
        self._used_ns = self.image_stamp_ns
        return self.position

    def ages(self, now: float) -> dict[str, float]:
        """Return seconds since each stream's last arrival; infinite before the first."""
        ages = {
            f"camera {name}": now - self._images[name][1] if name in self._images else np.inf
            for name in self._cameras
        }
        ages["joint states"] = np.inf if self._state is None else now - self._state[1]
        return ages

    def stale_reason(self, now: float, since: float, stale_after_s: float) -> str:
        """Return which streams are too old, or an empty string.

        Args:
            now: steady clock [s].
            since: earliest time from which age counts, steady clock [s].
            stale_after_s: maximum age.
        """
        late = [
            name for name, age in self.ages(now).items() if min(age, now - since) > stale_after_s
        ]
        return f"no {' and no '.join(late)} for over {stale_after_s:g} s" if late else ""
