"""forward_command_controller, as of ros2_controllers jazzy.

From forward_controllers_base.cpp: the subscription drops non-finite messages, and `update` fails on
a wrong length, whereupon the controller manager deactivates the controller.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class ForwardController:
    """Passes the newest message on, without interpolation and without a time-out."""

    def __init__(self, joints: Sequence[str]) -> None:
        self.joints = tuple(joints)
        self.active = False
        self.failed = False  # deactivated by a message of a wrong length
        self._command: Array | None = None

    def activate(self) -> None:
        """Become active, and forget what arrived before."""
        self.active, self.failed, self._command = True, False, None

    def deactivate(self) -> None:
        """Become inactive; the hardware keeps its last command."""
        self.active = False

    def receive(self, values: ArrayLike) -> str:
        """Take a message; return why it is dropped, or an empty string."""
        command = np.asarray(values, dtype=np.float64)
        if not np.all(np.isfinite(command)):
            return "non-finite value"
        self._command = command
        return ""

    def update(self) -> Array | None:
        """Return the command [J] for the hardware; None if there is none."""
        if not self.active or self._command is None:
            return None
        if self._command.size != len(self.joints):
            self.active, self.failed = False, True
            return None
        return self._command.copy()
