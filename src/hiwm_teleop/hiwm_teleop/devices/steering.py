"""Frame and speed of a device that moves tips: chosen with its buttons or keys while driving.

Pure. Tested by ``test_steering.py``.
"""

from hiwm_core.embodiment import Embodiment
from hiwm_core.tips import BASE, tip_frames

# Shares of a device's full speed, in the order in which a button goes through them.
SPEEDS = (1.0, 0.5, 0.25)


class Steering:
    """The frame along whose axes tips move, and the share of full speed."""

    def __init__(self) -> None:
        self._robot: Embodiment | None = None
        self._frames: tuple[str, ...] = ()
        self._at = 0
        self._speed = 0

    def meet(self, robot: Embodiment) -> None:
        """Set the robot; a new one starts with the first of its frames."""
        if self._robot is None or self._robot.hash != robot.hash:
            self._robot, self._frames, self._at = robot, tip_frames(robot), 0

    @property
    def frame(self) -> str:
        """The chosen frame."""
        return self._frames[self._at] if self._frames else BASE

    @property
    def speed(self) -> float:
        """The chosen share of full speed."""
        return SPEEDS[self._speed]

    @property
    def text(self) -> str:
        """Both, for the person."""
        speed = f"{100 * self.speed:.0f} % speed"
        return f"{self.frame} frame, {speed}" if self._frames else speed

    def change(self, frames: int, speeds: int) -> str:
        """Go to the next frames and speeds; return a line for the person, or nothing."""
        if not frames and not speeds:
            return ""
        if self._frames:
            self._at = (self._at + frames) % len(self._frames)
        self._speed = (self._speed + speeds) % len(SPEEDS)
        return self.text
