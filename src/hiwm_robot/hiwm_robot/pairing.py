"""Looks again soon for the joint states that an image waits for.

Joint states do not wake the bridge: they are read when an image arrives. Those of the same moment
come up to a period later, when nothing else may wake it. Tested by ``test_pairing.py``.
"""

from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

# A fifth of the period of joint states at 100 Hz.
CHECK_S = 0.002


class PairTimer:
    """Calls a function every `CHECK_S` while an image waits.

    Args:
        node: has the timer.
        look: reads joint states, and says by `wait` if the image still waits.
    """

    def __init__(self, node: Node, look: Callable[[], None]) -> None:
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(CHECK_S, look, clock=steady)
        self._timer.cancel()

    def wait(self, waiting: bool) -> None:
        """Start or stop."""
        if waiting and self._timer.is_canceled():
            self._timer.reset()
        elif not waiting:
            self._timer.cancel()
