"""Services of a robot's drivers: controllers that must be active, and enabling calls.

The bridge calls them only while nothing moves, and waits for each answer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from hiwm_core.errors import DeviceError
from hiwm_core.robot_config import RobotConfig
from hiwm_robot.activation_checks import controller_problem, order_problem
from hiwm_robot.interface_types import field_value, interface_type, set_fields

LIST_CONTROLLERS = "controller_manager_msgs/srv/ListControllers"
_LIST_TIMEOUT_S = 5.0


class DriverCalls:
    """Calls services one after the other.

    Args:
        node: the bridge; gives context, clock and namespace.
        robot: its controllers, outputs and enabling calls; the calls are checked here.

    Raises:
        ConfigError: an interface package is not installed, or a request does not fit.
    """

    def __init__(self, node: Node, robot: RobotConfig) -> None:
        self._node = node
        self._controllers = robot.controllers
        self._arrays = {
            name: output for name, output in robot.outputs.items()
            if output.adapter == "float64_multi_array"
        }
        where = f"robot {robot.name}"
        self._list_type = (
            interface_type(LIST_CONTROLLERS, f"{where}: controllers") if self._controllers
            else None
        )
        self._requests = {}
        calls = {
            f"enable.{when}[{i}]": call
            for when in ("on_activate", "on_deactivate")
            for i, call in enumerate(getattr(robot.enable, when))
        }
        for place, call in calls.items():
            kind = interface_type(call.type, f"{where}: {place}.type")
            request = set_fields(kind.Request(), call.request, f"{where}: {place}.request")
            set_fields(kind.Response(), call.expect, f"{where}: {place}.expect")
            self._requests[place] = (kind, request, call)

    def controller_problem(self) -> str:
        """Return which required controllers are not active, or an empty string.

        Raises:
            DeviceError: a controller manager does not answer.
        """
        for group in self._controllers:
            with self._caller() as caller:
                assert self._list_type is not None
                answer = caller.call(
                    self._list_type, f"{group.manager}/list_controllers",
                    self._list_type.Request(), _LIST_TIMEOUT_S,
                )
            states = {one.name: one.state for one in answer.controller}
            problem = controller_problem(group.manager, group.required, states)
            if problem:
                return problem
        return ""

    def order_problem(self) -> str:
        """Return which output's array is in another order than its controller's; empty if none.

        A driver that is not a node with the parameter ``joints`` is not asked.

        Raises:
            DeviceError: a controller does not answer.
        """
        services = {name for name, _ in self._node.get_service_names_and_types()}
        for name, output in self._arrays.items():
            controller = self._node.resolve_topic_name(output.topic).rpartition("/")[0]
            service = f"{controller}/get_parameters"
            if service not in services:
                continue
            with self._caller() as caller:
                answer = caller.call(
                    GetParameters, service, GetParameters.Request(names=["joints"]),
                    _LIST_TIMEOUT_S,
                )
            joints = [joint for value in answer.values for joint in value.string_array_value]
            sent = [entry.driver for entry in output.entries]
            problem = order_problem(name, sent, controller, joints)
            if problem:
                return problem
        return ""

    def run(self, prefix: str) -> None:
        """Make the calls whose place in the file starts with a prefix.

        Raises:
            DeviceError: a service does not answer, or not as expected.
        """
        wanted = [one for place, one in self._requests.items() if place.startswith(prefix)]
        if not wanted:
            return
        with self._caller() as caller:
            for kind, request, call in wanted:
                answer = caller.call(kind, call.service, request, call.timeout_s)
                for key, expected in call.expect.items():
                    found = field_value(answer, key)
                    if found != expected:
                        said = getattr(answer, "message", "")
                        raise DeviceError(
                            f"{call.service} answered {key}: {found}, not {expected}"
                            + (f" ({said})" if said else ""), where=prefix,
                            remedy="see the driver's log",
                        )

    @contextmanager
    def _caller(self) -> Iterator["_Caller"]:
        # A node of its own: this runs inside a callback of the bridge's executor.
        node = rclpy.create_node(
            f"{self._node.get_name()}_calls", context=self._node.context,
            namespace=self._node.get_namespace(), start_parameter_services=False,
        )
        executor = SingleThreadedExecutor(context=self._node.context)
        executor.add_node(node)
        try:
            yield _Caller(node, executor)
        finally:
            executor.shutdown()
            node.destroy_node()


class _Caller:
    """Calls services and waits."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self._node = node
        self._executor = executor

    def call(self, kind: Any, service: str, request: Any, timeout_s: float) -> Any:
        """Return the response; raises DeviceError if none comes."""
        client = self._node.create_client(kind, service)
        try:
            if not client.wait_for_service(timeout_s):
                raise DeviceError(
                    f"no service {service}", where="robot file", remedy="start its driver"
                )
            future = client.call_async(request)
            self._executor.spin_until_future_complete(future, timeout_s)
            if not future.done() or future.result() is None:
                raise DeviceError(
                    f"{service} did not answer within {timeout_s:g} s", where="robot file",
                    remedy="see the driver's log",
                )
            return future.result()
        finally:
            self._node.destroy_client(client)
