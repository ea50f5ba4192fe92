"""The service that sets a robot's tick rate. The embodiment's rate is the highest."""

from collections.abc import Callable

from hiwm_interfaces.srv import SetRate
from rclpy.node import Node

from hiwm_robot.bridge_core import BridgeCore


class TickRate:
    """Serves `world/set_rate`.

    Args:
        node: serves it.
        robot: its name.
        core: keeps the rate.
        highest: the embodiment's rate, ticks/s.
        lockstep: the driver waits for commands.
        on_change: called after a change.
    """

    def __init__(
        self, node: Node, robot: str, core: BridgeCore, highest: float, *, lockstep: bool,
        on_change: Callable[[], None],
    ) -> None:
        self._robot = robot
        self._core = core
        self._highest = highest
        self._lockstep = lockstep
        self._on_change = on_change
        node.create_service(SetRate, "world/set_rate", self._on_set_rate)

    @property
    def in_force(self) -> float:
        """Ticks per second; 0 means as fast as commands arrive."""
        return 0.0 if self._lockstep else self._core.rate

    def _on_set_rate(
        self, request: SetRate.Request, response: SetRate.Response
    ) -> SetRate.Response:
        if self._lockstep:
            response.ok = request.rate == 0.0
            if not response.ok:
                response.message = (
                    "a driver in lock-step runs as fast as commands arrive: use rate 0, or start "
                    "it with fast:=false for real time"
                )
        elif not 0.0 < request.rate <= self._highest:
            response.message = (
                f"rate {request.rate:g} on robot {self._robot}: give ticks per second above 0 "
                f"and at most {self._highest:g}, its embodiment's"
            )
        else:
            response.ok = True
            self._core.rate = float(request.rate)
            self._on_change()
        response.rate = self.in_force
        return response
