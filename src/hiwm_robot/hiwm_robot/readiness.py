"""Whether a robot may start to move: interlocks, publishers, clocks, controllers, enabling calls.

The decisions are in `interlocks` and `activation_checks`; this module reads the graph for them.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.lifecycle import LifecycleNode

from hiwm_core.errors import ConfigError, DeviceError
from hiwm_core.robot_config import RobotConfig
from hiwm_core.robots.safety import Controllers
from hiwm_nodes import qos
from hiwm_robot.activation_checks import clock_problem, controller_problem, publisher_problem
from hiwm_robot.driver_calls import DriverCalls
from hiwm_robot.interface_types import field_value, interface_type
from hiwm_robot.interlocks import Interlocks

ACTIVITY = "controller_manager_msgs/msg/ControllerManagerActivity"


class Readiness:
    """Checks before and while a robot moves.

    Args:
        node: the bridge.
        robot: interlocks, controllers, enabling calls and the clock's rule.
        command_topics: topics on which only the bridge may publish.
        lockstep: the driver's time is the time: clocks are not compared.
        on_interlock: called after each value of an interlock.

    Raises:
        ConfigError: an interface package is not installed, or a field or request does not fit.
    """

    def __init__(
        self, node: LifecycleNode, robot: RobotConfig, command_topics: list[str], *,
        lockstep: bool, on_interlock: Callable[[], None],
    ) -> None:
        self._node = node
        self._robot = robot
        self._topics = command_topics
        self._lockstep = lockstep
        self._on_interlock = on_interlock
        self._interlocks = Interlocks(robot.interlocks)
        self._calls = DriverCalls(node, robot)
        self._types = {
            name: self._interlock_type(name) for name in robot.interlocks
        }
        self._inactive: dict[str, str] = {}  # controller manager: why it stops the robot

    def _interlock_type(self, name: str) -> Any:
        lock = self._robot.interlocks[name]
        place = f"robot {self._robot.name}: interlocks.{name}"
        kind = interface_type(lock.type, f"{place}.type")
        try:
            value = field_value(kind(), lock.field)
        except AttributeError:
            raise ConfigError(
                f"{lock.type} has no field {lock.field!r}", where=f"{place}.field",
                remedy=f"use one of {', '.join(kind.get_fields_and_field_types())}",
            ) from None
        if not lock.may_be_fine(value):
            raise ConfigError(
                f"{lock.field} of {lock.type} is {type(value).__name__}, never a fine value",
                where=f"{place}.fine", remedy="list values of this type; a range needs a number",
            )
        return kind

    def connect(self) -> None:
        """Subscribe to the interlocks; only once."""
        for name, lock in self._robot.interlocks.items():
            self._node.create_subscription(
                self._types[name], lock.topic,
                lambda message, name=name: self._receive(name, message),
                qos.LATCHED if lock.latched else qos.SENSOR,
            )
        for group in self._robot.controllers:
            self._node.create_subscription(
                interface_type(ACTIVITY, "controllers"), f"{group.manager}/activity",
                lambda message, group=group: self._receive_activity(group, message), qos.LATCHED,
            )

    def _receive_activity(self, group: Controllers, message: Any) -> None:
        """Stop when a controller ends while the robot moves: its topic swallows every target."""
        states = {one.name: one.state.label for one in message.controllers}
        self._inactive[group.manager] = controller_problem(group.manager, group.required, states)
        self._on_interlock()

    def _receive(self, name: str, message: Any) -> None:
        value = field_value(message, self._robot.interlocks[name].field)
        self._interlocks.receive(name, value, time.monotonic())
        self._on_interlock()

    def interlock_problem(self) -> str:
        """Return which interlocks are not fine, or which controllers ended; empty if none."""
        problems = [self._interlocks.problem(time.monotonic()), *self._inactive.values()]
        return "; ".join(problem for problem in problems if problem)

    def publisher_problem(self) -> str:
        """Return which other nodes publish on command topics, or an empty string."""
        found = {
            topic: [
                (info.node_namespace, info.node_name)
                for info in self._node.get_publishers_info_by_topic(
                    self._node.resolve_topic_name(topic)
                )
            ]
            for topic in self._topics
        }
        return publisher_problem(found, (self._node.get_namespace(), self._node.get_name()))

    def clock_problem(self, stamps_ns: Mapping[str, int]) -> str:
        """Return why the newest stamps do not follow the bridge's clock, or an empty string."""
        if self._lockstep or self._robot.clock == "own":
            return ""
        ages = [self._robot.stale_after_s]
        for streams in (self._robot.joint_states, self._robot.cameras, self._robot.poses):
            ages += [one.stale_after_s or 0.0 for one in streams.values()]
        return clock_problem(
            stamps_ns, int(self._node.get_clock().now().nanoseconds),
            tolerance_s=self._robot.clock_tolerance_s, age_s=max(ages),
            simulated=bool(self._node.get_parameter("use_sim_time").value),
        )

    def enable(self, stamps_ns: Mapping[str, int]) -> str:
        """Check everything and make the enabling calls; return why the robot may not move.

        Args:
            stamps_ns: newest stamp of each stream.
        """
        problem = (
            self.interlock_problem() or self.publisher_problem() or self.clock_problem(stamps_ns)
        )
        if problem:
            return problem
        try:
            problem = self._calls.controller_problem() or self._calls.order_problem()
            if not problem:
                self._calls.run("enable.on_activate")
        except DeviceError as error:
            return str(error)
        return problem

    def disable(self) -> str:
        """Make the calls of deactivation; return what went wrong, or an empty string."""
        try:
            self._calls.run("enable.on_deactivate")
        except DeviceError as error:
            return str(error)
        return ""
